//! What a backend is given to compile: the program's slots, addresses of maps, how calls are made.

use bpfassay_isa::encode::encode;
use bpfassay_isa::{CallTarget, Imm64, RawInsn};
use bpfassay_jit::{CallPlan, Resolve};

use super::{MAP_LOOKUP, TAIL_CALL};
use crate::engines::code::{Code, Slot};
use crate::runtime::maps::Plan;
use crate::runtime::Runtime;

/// The runtime's answers while compiling.
pub(super) struct Facing<'a> {
    pub rt: &'a Runtime,
}

impl Resolve for Facing<'_> {
    fn wide(&mut self, _: u32, value: Imm64) -> Result<u64, &'static str> {
        let found = match value {
            Imm64::MapFd(i) | Imm64::MapIdx(i) => self.rt.map_addr(i),
            Imm64::MapValue { fd: i, off } | Imm64::MapIdxValue { idx: i, off } => {
                self.rt.map_value_addr(i, off)
            }
            Imm64::BtfId { id, btf_fd } => self.rt.kernel_variable(btf_fd, id),
            Imm64::Const(_) | Imm64::Func(_) => return Err("no address of a map"),
        };
        found.map_err(|_| "a map that has no such address")
    }

    fn call(&mut self, _: u32, target: CallTarget, map: Option<Imm64>) -> CallPlan {
        match target {
            CallTarget::Helper(TAIL_CALL) if self.rt.helpers.is_linux() => CallPlan::TailCall,
            CallTarget::Helper(MAP_LOOKUP) if self.rt.helpers.is_linux() => {
                match map.and_then(|m| self.plan(m)) {
                    Some(Plan::Array(array)) => CallPlan::Array(array),
                    Some(Plan::Hash(hash)) => CallPlan::Hash(hash),
                    None => CallPlan::Host,
                }
            }
            _ => CallPlan::Host,
        }
    }
}

impl Facing<'_> {
    /// How elements of a map are found without the map.
    fn plan(&self, map: Imm64) -> Option<Plan> {
        let (Imm64::MapFd(i) | Imm64::MapIdx(i)) = map else { return None };
        let map = self.rt.maps.get(usize::try_from(i).ok()?)?;
        map.plan(&self.rt.mem, self.rt.world.cpu).filter(|_| self.rt.mem.is_native())
    }
}

/// A decoded program's slots again.
pub(super) fn slots(code: &Code) -> Vec<RawInsn> {
    let mut out = Vec::with_capacity(code.len());
    let mut at = 0;
    while let Some(slot) = code.slot(at) {
        match slot {
            Slot::Insn(insn) => {
                let (first, second) = encode(insn);
                out.push(first);
                out.extend(second);
                at += insn.slots();
            }
            // Nothing decodes to this; compiling says so.
            Slot::Invalid(_) => {
                out.push(RawInsn { code: u8::MAX, ..RawInsn::default() });
                at += 1;
            }
        }
    }
    out
}
