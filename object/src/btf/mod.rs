//! BTF: the type graph of programs and kernels (`include/uapi/linux/btf.h`, `Documentation/bpf/btf.rst`).

/// A parsed BTF blob.
#[derive(Debug, Default)]
pub struct Btf {}
