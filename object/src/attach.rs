//! What a program attaches to, by name in its section and by type id in the kernel
//! (libbpf: `libbpf_find_attach_btf_id`, `find_kernel_btf_id`, `btf_get_kernel_prefix_kind`).

use std::sync::Arc;

use bpfassay_spec::{AttachType, ProgInfo, ProgType};

use crate::btf::{Btf, BtfKind};
use crate::error::{LoadError, LoadErrorKind as K};
use crate::link::intern;
use crate::model::{AttachTarget, KernelBtfRef};
use crate::open::Func;
use crate::program_override::AttachProgram;
use crate::target::{Place, Target};

/// `BTF_MAX_NAME_SIZE` less the zero.
const NAME_MAX: usize = 127;

/// How hooks are named in the kernel's BTF.
fn prefix_and_kind(attach: Option<AttachType>) -> (&'static str, BtfKind) {
    match attach {
        Some(AttachType::TraceRawTp) => ("btf_trace_", BtfKind::Typedef),
        Some(AttachType::LsmMac | AttachType::LsmCgroup) => ("bpf_lsm_", BtfKind::Func),
        Some(AttachType::TraceIter) => ("bpf_iter_", BtfKind::Func),
        _ => ("", BtfKind::Func),
    }
}

fn in_btf(btf: &Btf, name: &str, attach: Option<AttachType>) -> Option<u32> {
    let (prefix, kind) = prefix_and_kind(attach);
    let full = format!("{prefix}{name}");
    if full.len() > NAME_MAX {
        return None;
    }
    btf.find_by_name_kind(&full, kind)
}

/// The target that the application named, or that stands after the slash of the section: `function` or
/// `module:function`.
pub(crate) fn find(
    f: &Func,
    target: &Target<'_>,
    btfs: &mut Vec<KernelBtfRef>,
    missing: &mut Vec<String>,
) -> Result<AttachTarget, LoadError> {
    let fail =
        |what: String| LoadError::new(K::AttachTarget, what).in_section(f.section, &f.section_name);
    let in_section = || f.section_name.split_once('/').map(|(_, name)| name);
    let of_program = f.attach_program.as_ref().map(|p| p.program.as_str());
    let Some(name) = f.attach_target.as_deref().or(of_program).or_else(in_section) else {
        return Err(fail("no BTF-based attach target is specified".to_string()));
    };
    let by_btf = |ty: &ProgType| ProgInfo::of(*ty).is_some_and(|row| row.attaches_by_btf);
    if let Some(ty) = f.prog_type.filter(|ty| !by_btf(ty)) {
        return Err(fail(format!("a program of type {ty} takes no attach target")));
    }
    if let Some(of) = &f.attach_program {
        return in_program(f, of, target);
    }
    if f.prog_type == Some(ProgType::Ext) {
        return Err(fail("the program to replace a function of is not given".to_string()));
    }
    // libbpf compares no more of a module's name than is written before the colon.
    let (module, function) = match name.split_once(':') {
        Some((m, f)) => (Some(m), f),
        None => (None, name),
    };
    let found = |place: Place, id: u32, btfs: &mut Vec<KernelBtfRef>| AttachTarget {
        name: function.to_string(),
        btf_id: id,
        btf: intern(btfs, &place, target),
        member: None,
        program: None,
    };
    if module.is_none_or(|m| "vmlinux".starts_with(m)) {
        if let Some(id) = target.btf.and_then(|b| in_btf(b, function, f.attach_type)) {
            return Ok(found(Place::Vmlinux, id, btfs));
        }
    }
    for (i, (name, btf)) in target.modules.iter().enumerate() {
        if module.is_some_and(|m| !name.starts_with(m)) {
            continue;
        }
        if let Some(id) = in_btf(btf, function, f.attach_type) {
            return Ok(found(Place::Module(i), id, btfs));
        }
    }
    if !target.types().are_unknown() {
        return Err(fail(format!("'{name}' is not found in the kernel's BTF")));
    }
    let (prefix, _) = prefix_and_kind(f.attach_type);
    missing.push(format!("attach target {prefix}{name}"));
    Ok(found(Place::Vmlinux, 0, btfs))
}

/// A function of another program (`libbpf_find_prog_btf_id`).
fn in_program(
    f: &Func,
    of: &AttachProgram,
    target: &Target<'_>,
) -> Result<AttachTarget, LoadError> {
    let fail =
        |what: String| LoadError::new(K::AttachTarget, what).in_section(f.section, &f.section_name);
    let name = &of.program;
    let program = match of.object.link_one(name, target) {
        None => return Err(fail(format!("no program `{name}` to attach to"))),
        Some(Err(e)) => return Err(fail(format!("the program to attach to, `{name}`: {e}"))),
        Some(Ok(program)) => program,
    };
    let in_section = f.section_name.split_once('/').map(|(_, name)| name);
    let function = of.function.as_deref().or(in_section).unwrap_or(name);
    let Some(btf) = program.btf.as_ref().filter(|_| !program.func_info.is_empty()) else {
        return Err(fail(format!("the program to attach to, `{name}`, has no BTF")));
    };
    let Some(btf_id) = btf.find_by_name_kind(function, BtfKind::Func) else {
        return Err(fail(format!("`{function}` is not found in the BTF of program `{name}`")));
    };
    Ok(AttachTarget {
        name: function.to_string(),
        btf_id,
        btf: 0,
        member: None,
        program: Some(Arc::new(program)),
    })
}
