//! Nodes of lists and trees and who owns them (`ref_set_non_owning`).

use bpfassay_spec::TypeFlags;

use super::btf_record::FieldKinds;
use super::locks::reg_btf_record;
use crate::domain::reg::RegState;
use crate::env::Env;
use crate::stop::{Check, Errno};
use crate::verifier_bug;

/// The pointer no longer owns its object: the graph does, for as long as the lock is held.
pub fn ref_set_non_owning(env: &mut Env<'_>, reg: &mut RegState) -> Check {
    if env.cur.active_locks == 0 {
        verifier_bug!(env, "ref_set_non_owning w/o active lock");
        return Err(Errno::EFAULT.into());
    }
    if reg.ty.has(TypeFlags::NON_OWN_REF) {
        verifier_bug!(env, "NON_OWN_REF already set");
        return Err(Errno::EFAULT.into());
    }
    reg.ty = reg.ty.plus(TypeFlags::NON_OWN_REF);
    if reg_btf_record(env, reg).is_some_and(|r| r.has(FieldKinds::REFCOUNT)) {
        reg.ty = reg.ty.plus(TypeFlags::MEM_RCU);
    }
    Ok(())
}
