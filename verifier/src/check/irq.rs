//! Saved IRQ flags on the stack (`process_irq_flag`): restored in the reverse order of saving, by
//! kfuncs of the same family.

use bpfassay_isa::Reg;
use bpfassay_spec::{RegBase, RegType};

use super::callinfo::{KfuncMeta, Special};
use super::kfunc_arg::arg_name;
use super::locks::leave_rcu;
use super::refs::{acquire_irq_state, release_irq_state};
use super::stack_obj::{check_obj_write, clear_slot, get_spi, mark_obj_read, set_slot, NoSlot};
use crate::diagnostics::{self, words, About, Context, Values, Wording};
use crate::domain::reg::RegState;
use crate::domain::stack::SlotType;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verbose;

/// `IRQ_NATIVE_KFUNC`: bpf_local_irq_save and restore.
const NATIVE: u32 = 0;
/// `IRQ_LOCK_KFUNC`: resilient spin locks that disable interrupts.
const LOCK: u32 = 1;

const WHAT: &str = "irq_flag";

/// The flag argument of a save or restore kfunc.
pub fn process_irq_flag(env: &mut Env<'_>, regno: Reg, meta: &KfuncMeta) -> Check {
    let (saves, class) = match meta.special {
        Some(Special::LocalIrqSave) => (true, NATIVE),
        Some(Special::ResSpinLockIrqsave) => (true, LOCK),
        Some(Special::LocalIrqRestore) => (false, NATIVE),
        Some(Special::ResSpinUnlockIrqrestore) => (false, LOCK),
        _ => {
            verbose!(env, "verifier bug: unknown irq flags kfunc\n");
            return Err(Errno::EFAULT.into());
        }
    };
    let reg = *env.reg(regno);
    let arg = arg_name(env, regno.index() - 1);
    if saves {
        if !is_valid_uninit(env, &reg) {
            verbose!(env, "expected uninitialized irq flag as {arg}\n");
            let at = env.insn_idx;
            diagnostics::report(env, at, &words::IRQ_TAKEN, About::Nothing, &[]);
            return Err(Errno::EINVAL.into());
        }
        check_obj_write(env, env.insn_idx, regno, 1)?;
        return save(env, &reg, class);
    }
    if !is_valid_init(env, &reg) {
        verbose!(env, "expected an initialized irq flag as {arg}\n");
        let at = env.insn_idx;
        diagnostics::report(env, at, &words::IRQ_UNINIT, About::Nothing, &[]);
        return Err(Errno::EINVAL.into());
    }
    let spi = get_spi(env, &reg, WHAT, 1)?;
    mark_obj_read(env, reg.frameno, spi, 1)?;
    restore(env, &reg, class)
}

fn is_valid_uninit(env: &mut Env<'_>, reg: &RegState) -> bool {
    match get_spi(env, reg, WHAT, 1) {
        Err(e) => e == NoSlot::NotAllocated,
        Ok(spi) => !env.frame_of(reg).stack()[spi as usize].kind.contains(&SlotType::IrqFlag),
    }
}

fn is_valid_init(env: &mut Env<'_>, reg: &RegState) -> bool {
    let Ok(spi) = get_spi(env, reg, WHAT, 1) else { return false };
    let slot = &env.frame_of(reg).stack()[spi as usize];
    slot.spilled.ref_obj_id != 0 && slot.kind == [SlotType::IrqFlag; 8]
}

fn save(env: &mut Env<'_>, reg: &RegState, class: u32) -> Check {
    let spi = get_spi(env, reg, WHAT, 1)?;
    let id = acquire_irq_state(env, env.insn_idx);
    let mut st = env.frame_of(reg).stack()[spi as usize].spilled;
    st.mark_known_zero();
    // There is no register type of its own for IRQ flags.
    st.ty = RegType::of(RegBase::Stack);
    st.ref_obj_id = id;
    if env.kernel.features.references_by_id {
        st.id = id;
    }
    st.set_irq_kfunc_class(class);
    set_slot(env, reg.frameno, spi, SlotType::IrqFlag, st);
    env.mark_slot_scratched(spi);
    Ok(())
}

fn report(env: &mut Env<'_>, wording: &Wording, values: Values<'_>) {
    let (at, depth) = (env.insn_idx, diagnostics::context_depth(env, Context::Irq));
    let about = if depth == 0 { About::Nothing } else { About::Context(Context::Irq, depth) };
    diagnostics::report(env, at, wording, about, values);
}

fn restore(env: &mut Env<'_>, reg: &RegState, class: u32) -> Check {
    let spi = get_spi(env, reg, WHAT, 1)?;
    let st = env.frame_of(reg).stack()[spi as usize].spilled;
    let family = |c| if c == NATIVE { "native" } else { "lock" };
    if st.irq_kfunc_class() != class {
        verbose!(
            env,
            "irq flag acquired by {} kfuncs cannot be restored with {} kfuncs\n",
            family(st.irq_kfunc_class()),
            family(class)
        );
        let (saved, restored) = (family(st.irq_kfunc_class()), family(class));
        report(env, &words::IRQ_FAMILY, &[("saved", &saved), ("restored", &restored)]);
        return Err(Errno::EINVAL.into());
    }
    if let Err(e) = release_irq_state(env, st.ref_obj_id) {
        let expected = env.cur.active_irq_id;
        let at = env.cur.refs.iter().find(|r| r.id == expected).map_or(0, |r| r.insn_idx);
        verbose!(
            env,
            "cannot restore irq state out of order, expected id={expected} acquired at insn_idx={at}\n"
        );
        report(env, &words::IRQ_ORDER, &[]);
        return Err(e.into());
    }
    clear_slot(env, reg.frameno, spi);
    env.mark_slot_scratched(spi);
    leave_rcu(env);
    Ok(())
}
