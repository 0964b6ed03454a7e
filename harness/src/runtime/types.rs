//! What types tell the runtime: names of kernel functions, sizes, special fields.
//!
//! The program's own types say how large an allocated object is and where its
//! locks, nodes and kernel pointers stand; the kernel's say which function a
//! call means.  Mirrors `btf_parse_fields` (kernel/bpf/btf.c) as far as a run
//! needs it: the verifier has refused what is malformed.

use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind, Type};

/// Deepest nesting of structs looked into (`MAX_RESOLVE_DEPTH`).
const MAX_DEPTH: u32 = 32;
/// Elements of an array of special fields (`BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 64;

/// Types of a program and of the kernel it runs in.
#[derive(Clone, Default)]
pub struct Types {
    pub program: Option<Arc<Btf>>,
    /// Kernel BTFs in the order of the program's descriptors; the first is vmlinux.
    pub kernel: Vec<Option<Arc<Btf>>>,
}

/// What a special field is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    SpinLock,
    ResSpinLock,
    Timer,
    WorkQueue,
    TaskWork,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    Refcount,
    /// A kernel pointer that owns what it points to.
    Kptr,
    /// A kernel pointer that does not, or a pointer to user memory.
    Uncounted,
}

/// A special field of a map's value or of an allocated object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    pub off: u32,
    pub size: u32,
    pub kind: FieldKind,
}

/// Names of the structures that are special wherever they stand.
const STRUCTS: [(&str, FieldKind); 10] = [
    ("bpf_spin_lock", FieldKind::SpinLock),
    ("bpf_res_spin_lock", FieldKind::ResSpinLock),
    ("bpf_timer", FieldKind::Timer),
    ("bpf_wq", FieldKind::WorkQueue),
    ("bpf_task_work", FieldKind::TaskWork),
    ("bpf_list_head", FieldKind::ListHead),
    ("bpf_list_node", FieldKind::ListNode),
    ("bpf_rb_root", FieldKind::RbRoot),
    ("bpf_rb_node", FieldKind::RbNode),
    ("bpf_refcount", FieldKind::Refcount),
];
/// Tags of pointers.
const TAGS: [(&str, FieldKind); 4] = [
    ("kptr", FieldKind::Kptr),
    ("percpu_kptr", FieldKind::Kptr),
    ("kptr_untrusted", FieldKind::Uncounted),
    ("uptr", FieldKind::Uncounted),
];

impl Types {
    /// Name of a kernel function called through this descriptor.
    pub fn function(&self, btf: i16, id: i32) -> Option<&str> {
        let btf = self.kernel.get(usize::try_from(btf).ok()?)?.as_ref()?;
        let t = btf.ty(u32::try_from(id).ok()?)?;
        (t.kind() == BtfKind::Func).then(|| t.name())
    }

    /// Name of a kernel variable.
    pub fn variable(&self, btf: i32, id: i32) -> Option<&str> {
        let btf = self.kernel.get(usize::try_from(btf).ok()?)?.as_ref()?;
        let t = btf.ty(u32::try_from(id).ok()?)?;
        (t.kind() == BtfKind::Var).then(|| t.name())
    }

    /// Offset of a member of a kernel structure.
    pub fn kernel_offset(&self, structure: &str, member: &str) -> Option<u32> {
        let btf = self.kernel.first()?.as_ref()?;
        let t = btf.ty(btf.find_by_name_kind(structure, BtfKind::Struct)?)?;
        let found = t.members().find(|m| btf.str(m.name_off) == member)?;
        Some(found.byte_offset())
    }

    /// Size of a kernel structure.
    pub fn kernel_size(&self, structure: &str) -> Option<u32> {
        let btf = self.kernel.first()?.as_ref()?;
        btf.size_of(btf.find_by_name_kind(structure, BtfKind::Struct)?)
    }

    /// Size of a type of the program.
    pub fn size(&self, id: u32) -> Option<u32> {
        self.program.as_ref()?.size_of(id)
    }

    /// Special fields of a type of the program, ascending.
    pub fn fields(&self, id: u32) -> Vec<Field> {
        let mut out = Vec::new();
        if let Some(btf) = &self.program {
            collect(btf, id, 0, 0, &mut out);
        }
        out.sort_by_key(|f| f.off);
        out
    }
}

fn collect(btf: &Btf, id: u32, base: u32, depth: u32, out: &mut Vec<Field>) {
    if depth > MAX_DEPTH || out.len() >= MAX_FIELDS {
        return;
    }
    let Some(t) = btf.skip_mods_and_typedefs(id) else { return };
    match t.kind() {
        BtfKind::Struct if base > 0 || depth > 0 => {
            match STRUCTS.iter().find(|(name, _)| *name == t.name()) {
                Some((_, kind)) => out.push(Field { off: base, size: t.size(), kind: *kind }),
                None => members(btf, t, base, depth, out),
            }
        }
        BtfKind::Struct | BtfKind::Union => members(btf, t, base, depth, out),
        BtfKind::Datasec => {
            for v in t.vars() {
                let target = btf.ty(v.type_id).map_or(0, |var| var.type_id());
                collect(btf, target, base.saturating_add(v.offset), depth + 1, out);
            }
        }
        BtfKind::Array => {
            let Some(a) = t.array() else { return };
            let size = btf.size_of(a.elem).unwrap_or(0);
            for i in 0..a.nelems.min(MAX_FIELDS as u32) {
                let before = out.len();
                collect(btf, a.elem, base.saturating_add(i.saturating_mul(size)), depth + 1, out);
                if out.len() == before {
                    break;
                }
            }
        }
        BtfKind::Ptr => {
            let tag = btf.ty(t.type_id()).filter(|t| t.kind() == BtfKind::TypeTag);
            let kind = tag.and_then(|t| TAGS.iter().find(|(name, _)| *name == t.name()));
            if let Some((_, kind)) = kind {
                out.push(Field { off: base, size: 8, kind: *kind });
            }
        }
        _ => {}
    }
}

fn members(btf: &Btf, t: Type<'_>, base: u32, depth: u32, out: &mut Vec<Field>) {
    for m in t.members() {
        collect(btf, m.type_id, base.saturating_add(m.byte_offset()), depth + 1, out);
    }
}
