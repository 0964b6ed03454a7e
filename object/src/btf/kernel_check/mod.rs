//! Whether the kernel takes a program's BTF (`kernel/bpf/btf.c`: `btf_parse`).
//!
//! Libbpf goes on without BTF where the kernel does not, and a program without BTF is another program to the
//! verifier: no function info, no source lines, no global functions.  Two passes as in the kernel: every record by
//! itself ([`meta`]), then every reference ([`resolve`]); then the order of type tags.
//!
//! Not looked at: the kernel's table of special fields (`btf_parse_struct_metas`), which belongs to whoever knows
//! those fields.

mod meta;
mod resolve;

use super::kind::{BtfKind, Type};
use super::Btf;

/// `BTF_MAX_SIZE`, `BTF_MAX_TYPE`, `BTF_MAX_NAME_OFFSET`, `KSYM_NAME_LEN`.
const MAX_SIZE: usize = 16 << 20;
const MAX_TYPE: u32 = 0x000f_ffff;
const MAX_NAME_OFFSET: u32 = 0x00ff_ffff;
const KSYM_NAME_LEN: usize = 512;
/// Hops of one chain of qualifiers and tags.
const TAG_CHAIN: usize = 32;

/// A refusal by the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelRefusal {
    /// The type its log ends with; 0 where it names none.
    pub type_id: u32,
    /// The kernel's reason, as in its log.
    pub reason: String,
}

impl std::fmt::Display for KernelRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.type_id {
            0 => f.write_str(&self.reason),
            id => write!(f, "type [{id}]: {}", self.reason),
        }
    }
}

fn refuse<T>(t: Type<'_>, reason: impl Into<String>) -> Result<T, KernelRefusal> {
    Err(KernelRefusal { type_id: t.id(), reason: reason.into() })
}

impl Btf {
    /// What BPF_BTF_LOAD would say.
    pub fn kernel_check(&self) -> Result<(), KernelRefusal> {
        let whole = |reason: &str| Err(KernelRefusal { type_id: 0, reason: reason.to_string() });
        if self.words.len() * 4 + self.strs.len() + super::parse::HEADER_LEN as usize > MAX_SIZE {
            return whole("BTF is larger than 16 MiB");
        }
        if self.base.is_none() && self.offs.is_empty() {
            return whole("No type found");
        }
        for t in self.own_types() {
            if t.id() > MAX_TYPE {
                return refuse(t, "too many types");
            }
            meta::check(t)?;
        }
        resolve::check_all(self)?;
        self.check_type_tags()
    }

    /// Tags come before qualifiers, and chains end.
    fn check_type_tags(&self) -> Result<(), KernelRefusal> {
        let mut good = self.start_id - 1;
        for first in self.own_types().filter(|t| is_modifier(*t)) {
            let mut t = first;
            let mut in_tags = t.kind() == BtfKind::TypeTag;
            let mut left = TAG_CHAIN;
            while is_modifier(t) {
                if left == 0 {
                    return refuse(first, "Max chain length or cycle detected");
                }
                left -= 1;
                if t.kind() == BtfKind::TypeTag {
                    if !in_tags {
                        return refuse(first, "Type tags don't precede modifiers");
                    }
                } else {
                    in_tags = false;
                }
                if t.id() <= good {
                    break;
                }
                match t.target() {
                    Some(next) => t = next,
                    None => return refuse(first, "Invalid type_id"),
                }
            }
            good = first.id();
        }
        Ok(())
    }
}

/// The kernel's modifiers include typedefs.
fn is_modifier(t: Type<'_>) -> bool {
    t.kind().is_modifier() || t.kind() == BtfKind::Typedef
}
