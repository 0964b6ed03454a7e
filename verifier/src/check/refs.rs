//! References and locks held by a path (`acquire_reference`, `release_reference`, `check_resource_leak`).
