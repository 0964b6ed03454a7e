//! Words of the log for types and numbers (`reg_type_str`, `dynptr_type_str`, `verbose_snum` in `kernel/bpf/log.c`).

use std::fmt;

use bpfassay_spec::{Features, RegBase, RegType, TypeFlags};

use crate::domain::reg::{DynptrType, IterState};
use crate::domain::tnum::Tnum;

/// Unsigned: decimal to 65535, else hexadecimal (`verbose_unum`).
pub struct Unum(pub u64);

/// Signed: decimal within 16 bits, else hexadecimal of all 64 (`verbose_snum`).
pub struct Snum(pub i64);

impl fmt::Display for Unum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 <= u16::MAX as u64 {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// True if the log prints this number in decimal (`is_snum_decimal`).
pub fn is_snum_decimal(n: i64) -> bool {
    (i16::MIN as i64..=i16::MAX as i64).contains(&n)
}

impl fmt::Display for Snum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_snum_decimal(self.0) {
            write!(f, "{}", self.0)
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

impl fmt::Display for Tnum {
    /// A constant as a number, else `(value; mask)` (`tnum_strn`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_const() {
            write!(f, "{}", Unum(self.value))
        } else {
            write!(f, "({}; {})", AltHex(self.value), AltHex(self.mask))
        }
    }
}

/// A tnum in a kernel's words: constants as numbers, or as every other before 6.8.
pub struct TnumText {
    pub tnum: Tnum,
    pub as_pair: bool,
}

impl fmt::Display for TnumText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.as_pair {
            write!(f, "({}; {})", AltHex(self.tnum.value), AltHex(self.tnum.mask))
        } else {
            self.tnum.fmt(f)
        }
    }
}

/// C's `%#llx`: zero has no prefix.
pub struct AltHex(pub u64);

impl fmt::Display for AltHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("0x0")
        } else {
            write!(f, "{:#x}", self.0)
        }
    }
}

/// How a release names register types.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TypeWords {
    /// Prefixes, base name and what may be NULL, put together.
    #[default]
    Composed,
    /// The same, with reserved ring buffer memory as `alloc_mem` (5.18 to 6.1).
    Alloc,
    /// One name for each type, scalars as `inv`.
    Whole,
}

impl TypeWords {
    pub fn of(features: &Features) -> TypeWords {
        match (features.type_names_composed, features.ringbuf_memory_named) {
            (true, true) => TypeWords::Composed,
            (true, false) => TypeWords::Alloc,
            (false, _) => TypeWords::Whole,
        }
    }

    pub fn name(self, ty: RegType) -> RegTypeName {
        RegTypeName { ty, words: self }
    }
}

/// A register type in the log's words (`reg_type_str`), e.g. `map_value_or_null`.
pub struct RegTypeName {
    ty: RegType,
    words: TypeWords,
}

impl RegTypeName {
    fn prefixes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIXES: [(TypeFlags, &str); 7] = [
            (TypeFlags::MEM_RDONLY, "rdonly_"),
            (TypeFlags::MEM_RINGBUF, "ringbuf_"),
            (TypeFlags::MEM_USER, "user_"),
            (TypeFlags::MEM_PERCPU, "percpu_"),
            (TypeFlags::MEM_RCU, "rcu_"),
            (TypeFlags::PTR_UNTRUSTED, "untrusted_"),
            (TypeFlags::PTR_TRUSTED, "trusted_"),
        ];
        let t = self.ty;
        match self.words {
            TypeWords::Composed => {
                PREFIXES.iter().filter(|p| t.has(p.0)).try_for_each(|p| f.write_str(p.1))
            }
            TypeWords::Alloc => PREFIXES.iter().filter(|p| t.has(p.0)).try_for_each(|p| {
                f.write_str(if p.0 == TypeFlags::MEM_RINGBUF { "alloc_" } else { p.1 })
            }),
            TypeWords::Whole if t.base() == RegBase::Buf => {
                f.write_str(if t.has(TypeFlags::MEM_RDONLY) { "rdonly_" } else { "rdwr_" })
            }
            TypeWords::Whole if t.has(TypeFlags::MEM_PERCPU) => f.write_str("percpu_"),
            TypeWords::Whole => Ok(()),
        }
    }
}

impl fmt::Display for RegTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.ty;
        self.prefixes(f)?;
        let whole = self.words == TypeWords::Whole;
        f.write_str(match t.base() {
            RegBase::Scalar if whole => "inv",
            base => base_name(base),
        })?;
        match (t.may_be_null(), t.base()) {
            (false, _) => Ok(()),
            (true, RegBase::BtfId) => f.write_str("or_null_"),
            (true, _) => f.write_str("_or_null"),
        }
    }
}

fn base_name(base: RegBase) -> &'static str {
    match base {
        RegBase::NotInit => "?",
        RegBase::Scalar => "scalar",
        RegBase::Ctx => "ctx",
        RegBase::ConstMapPtr => "map_ptr",
        RegBase::MapValue => "map_value",
        RegBase::MapKey => "map_key",
        RegBase::Stack => "fp",
        RegBase::Packet => "pkt",
        RegBase::PacketMeta => "pkt_meta",
        RegBase::PacketEnd => "pkt_end",
        RegBase::FlowKeys => "flow_keys",
        RegBase::Socket => "sock",
        RegBase::SockCommon => "sock_common",
        RegBase::TcpSock => "tcp_sock",
        RegBase::TpBuffer => "tp_buffer",
        RegBase::XdpSock => "xdp_sock",
        RegBase::BtfId => "ptr_",
        RegBase::Mem => "mem",
        RegBase::Arena => "arena",
        RegBase::Buf => "buf",
        RegBase::Func => "func",
        RegBase::ConstDynptr => "dynptr_ptr",
        RegBase::Insn => "insn",
    }
}

/// `dynptr_type_str`.
pub fn dynptr_type_name(t: DynptrType) -> &'static str {
    match t {
        DynptrType::Local => "local",
        DynptrType::Ringbuf => "ringbuf",
        DynptrType::Skb => "skb",
        DynptrType::Xdp => "xdp",
        DynptrType::SkbMeta => "skb_meta",
        DynptrType::File => "file",
        DynptrType::Invalid => "<invalid>",
    }
}

/// `iter_state_str`.
pub fn iter_state_name(s: IterState) -> &'static str {
    match s {
        IterState::Active => "active",
        IterState::Drained => "drained",
        IterState::Invalid => "<invalid>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_switch_to_hex_where_the_kernel_does() {
        assert_eq!(Snum(-32768).to_string(), "-32768");
        assert_eq!(Snum(-32769).to_string(), "0xffffffffffff7fff");
        assert_eq!(Unum(65535).to_string(), "65535");
        assert_eq!(Unum(65536).to_string(), "0x10000");
        assert_eq!(Tnum { value: 0, mask: 0xff }.to_string(), "(0x0; 0xff)");
    }

    #[test]
    fn type_names_carry_their_flags() {
        let t = RegType::with(RegBase::BtfId, TypeFlags::PTR_TRUSTED | TypeFlags::PTR_MAYBE_NULL);
        assert_eq!(TypeWords::Composed.name(t).to_string(), "trusted_ptr_or_null_");
        let t = RegType::with(RegBase::Mem, TypeFlags::MEM_RINGBUF | TypeFlags::PTR_MAYBE_NULL);
        assert_eq!(TypeWords::Composed.name(t).to_string(), "ringbuf_mem_or_null");
        assert_eq!(TypeWords::Alloc.name(t).to_string(), "alloc_mem_or_null");
        assert_eq!(TypeWords::Whole.name(t).to_string(), "mem_or_null");
        let t = RegType::of(RegBase::Buf);
        assert_eq!(TypeWords::Whole.name(t).to_string(), "rdwr_buf");
    }
}
