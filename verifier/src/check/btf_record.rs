//! Special fields of map values and allocated objects (`btf_parse_fields`, `struct btf_record`).

/// Fields by offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BtfRecord {}
