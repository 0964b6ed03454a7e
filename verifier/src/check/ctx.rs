//! Context access (`check_ctx_access`) over the tables of `spec`.
