//! Kernel functions a program calls by their BTF id, by name.
//!
//! As with helpers, what is not here stops the run with its name.  `object`,
//! `iter`, `text` and `section` mirror kernel/bpf/helpers.c and bpf_iter.c,
//! `mask` kernel/bpf/cpumask.c, `arena` kernel/bpf/arena.c, `dynptr` what
//! net/core/filter.c adds to it.

mod arena;
mod dynptr;
mod iter;
mod mask;
mod object;
mod section;
mod text;

use super::Helper;

/// Every kernel function modelled.
pub(super) const TABLES: [&[(&str, Helper)]; 7] = [
    object::TABLE,
    iter::TABLE,
    text::TABLE,
    section::TABLE,
    mask::TABLE,
    arena::TABLE,
    dynptr::TABLE,
];
