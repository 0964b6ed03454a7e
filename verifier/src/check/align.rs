//! Alignment of accesses (`check_ptr_alignment`): packets behind NET_IP_ALIGN, the stack
//! always strictly, the rest where the loader or the access asks for it.

use bpfassay_spec::{MapType, RegBase};

use crate::domain::reg::RegState;
use crate::domain::tnum::Tnum;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// What strict mode assumes to stand before an Ethernet header (`NET_IP_ALIGN` without
/// efficient unaligned access), bytes.
const IP_ALIGN: i32 = 2;

/// Access of `size` bytes at `reg + off` where `off` is the instruction's offset.
pub(super) fn check_ptr_alignment(
    env: &mut Env<'_>,
    reg: &RegState,
    off: i32,
    size: i32,
    strict_once: bool,
) -> Check {
    let mut strict = env.strict_alignment || strict_once;
    let desc = match reg.base() {
        _ if !reg.flags().is_empty() => "",
        RegBase::Packet | RegBase::PacketMeta => {
            return check_packet(env, reg, off, size, strict);
        }
        RegBase::FlowKeys => "flow keys ",
        RegBase::MapKey => "key ",
        RegBase::MapValue => {
            strict |= reg.map().is_some_and(|m| env.map(m).def.map_type == MapType::InsnArray);
            "value "
        }
        RegBase::Ctx => "context ",
        RegBase::Stack => {
            // Slots are tracked by eight bytes: an access across two of them would not be seen.
            strict = true;
            "stack "
        }
        RegBase::Socket => "sock ",
        RegBase::SockCommon => "sock_common ",
        RegBase::TcpSock => "tcp_sock ",
        RegBase::XdpSock => "xdp_sock ",
        RegBase::Arena => return Ok(()),
        _ => "",
    };
    if !strict || size == 1 || is_aligned(reg, reg.off.wrapping_add(off), size) {
        return Ok(());
    }
    if env.kernel.features.pointer_offset_whole {
        let at = match reg.var_off.value as i64 {
            small @ -0x8000..=-1 if reg.var_off.is_const() => small.to_string(),
            _ => reg.var_off.to_string(),
        };
        verbose!(env, "misaligned {desc}access off {at}+{off} size {size}\n");
    } else {
        verbose!(
            env,
            "misaligned {desc}access off {}+{}+{off} size {size}\n",
            env.tnum_text(reg.var_off),
            reg.off
        );
    }
    Err(Errno::EACCES.into())
}

fn check_packet(env: &mut Env<'_>, reg: &RegState, off: i32, size: i32, strict: bool) -> Check {
    let fixed = IP_ALIGN.wrapping_add(reg.off).wrapping_add(off);
    if !strict || size == 1 || is_aligned(reg, fixed, size) {
        return Ok(());
    }
    verbose!(
        env,
        "misaligned packet access off {IP_ALIGN}+{}+{}+{off} size {size}\n",
        env.tnum_text(reg.var_off),
        reg.off
    );
    Err(Errno::EACCES.into())
}

/// The low bits of variable plus fixed offset are known to be zero (`tnum_is_aligned`).
fn is_aligned(reg: &RegState, fixed: i32, size: i32) -> bool {
    let sum = reg.var_off.add(Tnum::constant(fixed as i64 as u64));
    (sum.value | sum.mask) & (size as u64 - 1) == 0
}
