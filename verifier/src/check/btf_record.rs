//! Special fields of map values and allocated objects (`btf_parse_fields`, `struct btf_record`).

use std::ops::BitOr;

use crate::domain::reg::BtfObj;

/// A set of field kinds (`enum btf_field_type`, where each kind is one bit).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct FieldKinds(pub u32);

impl FieldKinds {
    pub const SPIN_LOCK: FieldKinds = FieldKinds(1 << 0);
    pub const TIMER: FieldKinds = FieldKinds(1 << 1);
    pub const KPTR_UNREF: FieldKinds = FieldKinds(1 << 2);
    pub const KPTR_REF: FieldKinds = FieldKinds(1 << 3);
    pub const KPTR_PERCPU: FieldKinds = FieldKinds(1 << 4);
    /// `BPF_KPTR`: every kind of kptr.
    pub const KPTR: FieldKinds = FieldKinds(0b111 << 2);
    pub const LIST_HEAD: FieldKinds = FieldKinds(1 << 5);
    pub const LIST_NODE: FieldKinds = FieldKinds(1 << 6);
    pub const RB_ROOT: FieldKinds = FieldKinds(1 << 7);
    pub const RB_NODE: FieldKinds = FieldKinds(1 << 8);
    pub const GRAPH_NODE: FieldKinds = FieldKinds(1 << 6 | 1 << 8);
    pub const GRAPH_ROOT: FieldKinds = FieldKinds(1 << 5 | 1 << 7);
    pub const REFCOUNT: FieldKinds = FieldKinds(1 << 9);
    pub const WORKQUEUE: FieldKinds = FieldKinds(1 << 10);
    pub const UPTR: FieldKinds = FieldKinds(1 << 11);
    pub const RES_SPIN_LOCK: FieldKinds = FieldKinds(1 << 12);
    pub const TASK_WORK: FieldKinds = FieldKinds(1 << 13);
    /// Whatever cannot be freed in an NMI (`btf_field_is_nmi_safe`).
    pub const NMI_UNSAFE: FieldKinds = FieldKinds((1 << 3) | (1 << 4) | (0b1111 << 5) | (1 << 11));

    /// True if the sets share a kind.
    #[inline]
    pub const fn intersects(self, o: FieldKinds) -> bool {
        self.0 & o.0 != 0
    }

    /// As the log names it (`btf_field_type_name`).
    pub fn name(self) -> &'static str {
        const NAMES: [(FieldKinds, &str); 14] = [
            (FieldKinds::SPIN_LOCK, "bpf_spin_lock"),
            (FieldKinds::RES_SPIN_LOCK, "bpf_res_spin_lock"),
            (FieldKinds::TIMER, "bpf_timer"),
            (FieldKinds::WORKQUEUE, "bpf_wq"),
            (FieldKinds::KPTR_UNREF, "kptr"),
            (FieldKinds::KPTR_REF, "kptr"),
            (FieldKinds::KPTR_PERCPU, "percpu_kptr"),
            (FieldKinds::UPTR, "uptr"),
            (FieldKinds::LIST_HEAD, "bpf_list_head"),
            (FieldKinds::LIST_NODE, "bpf_list_node"),
            (FieldKinds::RB_ROOT, "bpf_rb_root"),
            (FieldKinds::RB_NODE, "bpf_rb_node"),
            (FieldKinds::REFCOUNT, "bpf_refcount"),
            (FieldKinds::TASK_WORK, "bpf_task_work"),
        ];
        NAMES.iter().find(|(k, _)| *k == self).map_or("unknown", |(_, n)| n)
    }
}

impl BitOr for FieldKinds {
    type Output = FieldKinds;
    #[inline]
    fn bitor(self, o: FieldKinds) -> FieldKinds {
        FieldKinds(self.0 | o.0)
    }
}

/// What a kptr or uptr points to (`struct btf_field_kptr`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KptrTarget {
    pub btf: BtfObj,
    pub btf_id: u32,
}

/// What a list head or rbtree root holds (`struct btf_field_graph_root`); the value's own
/// record is found through [`crate::env::Env::struct_meta`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GraphRoot {
    pub btf: BtfObj,
    pub value_btf_id: u32,
    /// Byte offset of the node inside the value.
    pub node_offset: u32,
}

/// Kind-specific part of a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldTarget {
    None,
    Kptr(KptrTarget),
    Root(GraphRoot),
}

/// One special field (`struct btf_field`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BtfField {
    /// Byte offset in the value.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Exactly one kind.
    pub kind: FieldKinds,
    pub target: FieldTarget,
}

impl BtfField {
    pub fn kptr(&self) -> Option<KptrTarget> {
        match self.target {
            FieldTarget::Kptr(k) => Some(k),
            _ => None,
        }
    }

    pub fn root(&self) -> Option<GraphRoot> {
        match self.target {
            FieldTarget::Root(r) => Some(r),
            _ => None,
        }
    }
}

/// Special fields of one type, ascending by offset.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BtfRecord {
    pub fields: Vec<BtfField>,
}

impl BtfRecord {
    /// True if any field is of one of `kinds` (`btf_record_has_field`).
    pub fn has(&self, kinds: FieldKinds) -> bool {
        self.fields.iter().any(|f| f.kind.intersects(kinds))
    }

    /// The field that starts at `offset`, if it is of one of `kinds` (`btf_record_find`).
    pub fn find(&self, offset: u32, kinds: FieldKinds) -> Option<&BtfField> {
        let i = self.fields.binary_search_by_key(&offset, |f| f.offset).ok()?;
        self.fields.get(i).filter(|f| f.kind.intersects(kinds))
    }

    /// Offset of the only field of a kind that may exist once (`spin_lock_off`, `timer_off` …).
    pub fn offset_of(&self, kind: FieldKinds) -> Option<u32> {
        self.fields.iter().find(|f| f.kind.intersects(kind)).map(|f| f.offset)
    }
}
