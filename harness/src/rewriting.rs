//! A program as we rewrite it beside what a kernel shows of it (`BPF_OBJ_GET_INFO_BY_FD`).
//!
//! Numbers of the boot are not compared: ids of maps, addresses, numbers of subprograms.  Functions that are called
//! are compared by symbol, where the kernel tells its addresses.

use std::collections::BTreeMap;

use bpfassay_isa::disasm::{NoNames, Text};
use bpfassay_isa::opcode::{PSEUDO_CALL, PSEUDO_FUNC, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;
use bpfassay_verifier::rewrite::{verify_and_rewrite, Slot, Unknown};
use bpfassay_verifier::Config;

use crate::kernel::{KernelError, Session};

/// What came of comparing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewriting {
    Equal {
        /// It holds barriers against speculation, or masks of pointer arithmetic.
        is_sanitised: bool,
    },
    /// We do not know how it is rewritten.
    NotKnown(Unknown),
    Differs(Difference),
}

/// The first slot that differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    pub slot: usize,
    pub ours: String,
    pub kernels: String,
    /// The kernel's program holds barriers against speculation, or masks of pointer arithmetic.
    pub is_sanitised: bool,
}

/// Addresses of the running kernel, by symbol; of one address every name.
#[derive(Default)]
pub struct Addresses {
    symbols: BTreeMap<String, u64>,
    /// What the numbers of calls count from.
    base: Option<u64>,
}

impl Addresses {
    /// Of symbols as `/proc/kallsyms` lists them.
    pub fn new(symbols: BTreeMap<String, u64>) -> Addresses {
        let base = symbols.get("__bpf_call_base").copied().filter(|a| *a != 0);
        Addresses { symbols, base }
    }

    /// The call of this number is not of that function; false where addresses are hidden or it has none.
    fn contradicts(&self, symbol: &str, number: i32) -> bool {
        let (Some(base), Some(address)) = (self.base, self.symbols.get(symbol)) else {
            return false;
        };
        base.wrapping_add(number as i64 as u64) != *address
    }
}

/// Loads the program as the session does, and compares; None where either does not accept it.
pub fn beside(
    program: &Program,
    config: &Config<'_>,
    session: &mut Session,
    addresses: &Addresses,
) -> Result<Option<Rewriting>, KernelError> {
    let Some(kernels) = session.xlated(program)? else { return Ok(None) };
    let (_, ours) = verify_and_rewrite(program, config);
    Ok(match ours {
        Err(Unknown::NotAccepted) => None,
        Err(why) => Some(Rewriting::NotKnown(why)),
        Ok(ours) => Some(match difference(&ours, &kernels, addresses) {
            Some(d) => Rewriting::Differs(d),
            None => Rewriting::Equal { is_sanitised: is_sanitised(&kernels) },
        }),
    })
}

/// A barrier, or the shift that makes a mask in the register only the kernel writes to (`fixup_bpf_calls`).
fn is_sanitised(insns: &[RawInsn]) -> bool {
    const NOSPEC: u8 = 0xc2;
    const ARSH64: u8 = 0xc7;
    let masks = |i: &RawInsn| i.code == ARSH64 && i.dst > 10 && i.imm == 63;
    insns.iter().any(|i| i.code == NOSPEC || masks(i))
}

/// The first slot in which a program of ours is not the kernel's.
pub fn difference(ours: &[Slot], kernels: &[RawInsn], addresses: &Addresses) -> Option<Difference> {
    let mut second = Mask::default();
    for (i, (o, k)) in ours.iter().zip(kernels).enumerate() {
        let (mask, next) = masks(o, second);
        second = next;
        let same = mask.of(o.insn) == mask.of(*k);
        let is_call = o.insn.is_call() && o.insn.src != PSEUDO_CALL;
        let symbol = o.symbol.as_deref().filter(|_| is_call && same);
        if same && !symbol.is_some_and(|s| addresses.contradicts(s, k.imm)) {
            continue;
        }
        return Some(Difference {
            slot: i,
            ours: text(o.insn, ours.get(i + 1).map(|s| s.insn), o.symbol.as_deref()),
            kernels: text(*k, kernels.get(i + 1).copied(), None),
            is_sanitised: is_sanitised(kernels),
        });
    }
    let (slots, theirs) = (ours.len(), kernels.len());
    (slots != theirs).then(|| Difference {
        slot: slots.min(theirs),
        ours: format!("{slots} slots"),
        kernels: format!("{theirs} slots"),
        is_sanitised: is_sanitised(kernels),
    })
}

/// What of a slot is the boot's own.
#[derive(Clone, Copy, Default)]
struct Mask {
    imm: bool,
}

impl Mask {
    fn of(self, insn: RawInsn) -> RawInsn {
        if self.imm {
            RawInsn { imm: 0, ..insn }
        } else {
            insn
        }
    }
}

/// The mask of a slot, and the one of the slot behind a wide load.
fn masks(slot: &Slot, second: Mask) -> (Mask, Mask) {
    let insn = slot.insn;
    if insn.is_ld_imm64() {
        let map = matches!(insn.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE);
        let address = slot.symbol.is_some() || insn.src == PSEUDO_FUNC;
        return (Mask { imm: map || address }, Mask { imm: address });
    }
    let number = slot.symbol.is_some() || insn.is_call() && insn.src != 0;
    (Mask { imm: second.imm || number }, Mask::default())
}

fn text(insn: RawInsn, next: Option<RawInsn>, symbol: Option<&str>) -> String {
    let text = Text { insn, next, names: &NoNames }.to_string();
    match symbol {
        Some(symbol) => format!("{text} ({symbol})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{difference, Addresses};
    use bpfassay_isa::RawInsn;
    use bpfassay_verifier::rewrite::Slot;

    fn raw(code: u8, src: u8, off: i16, imm: i32) -> RawInsn {
        RawInsn { code, dst: 1, src, off, imm }
    }

    fn addresses(list: &[(&str, u64)]) -> Addresses {
        Addresses::new(list.iter().map(|(n, a)| (n.to_string(), *a)).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn ids_and_addresses_are_the_boots() {
        let hidden = addresses(&[]);
        let map = Slot { map: Some(0), ..Slot::from(raw(0x18, 1, 0, 0)) };
        let ours = [map, Slot::from(raw(0, 0, 0, 0)), Slot::from(raw(0x85, 1, 5, 0))];
        let kernels = [raw(0x18, 1, 0, 77), raw(0, 0, 0, 0), raw(0x85, 1, 5, 3)];
        assert_eq!(difference(&ours, &kernels, &hidden), None);
        let other = [kernels[0], kernels[1], raw(0x85, 1, 6, 3)];
        assert_eq!(difference(&ours, &other, &hidden).map(|d| d.slot), Some(2));
        assert_eq!(difference(&ours, &kernels[..2], &hidden).map(|d| d.slot), Some(2));
    }

    #[test]
    fn offsets_into_maps_are_compared() {
        let map = Slot { map: Some(0), ..Slot::from(raw(0x18, 2, 0, 0)) };
        let ours = [map, Slot::from(raw(0, 0, 0, 8))];
        let kernels = [raw(0x18, 2, 0, 77), raw(0, 0, 0, 12)];
        assert_eq!(difference(&ours, &kernels, &addresses(&[])).map(|d| d.slot), Some(1));
    }

    #[test]
    fn functions_are_compared_by_symbol() {
        let ours = [Slot { symbol: Some("f".into()), ..Slot::from(raw(0x85, 0, 0, 0)) }];
        let kernels = [raw(0x85, 0, 0, 0x20)];
        let differs =
            |list: &[(&str, u64)]| difference(&ours, &kernels, &addresses(list)).is_some();
        assert!(!differs(&[("__bpf_call_base", 0x1000), ("f", 0x1020)]));
        assert!(differs(&[("__bpf_call_base", 0x1000), ("f", 0x1030)]));
        assert!(!differs(&[("__bpf_call_base", 0), ("f", 0)]));
    }
}
