//! What is known about a call while its arguments are checked (`struct bpf_call_arg_meta`).

use std::cell::OnceCell;

use bpfassay_isa::Reg;
use bpfassay_spec::kfunc::KfuncFlags;

use super::btf_record::{BtfField, KptrTarget};
use crate::domain::reg::{BtfObj, DynptrType, MapId};

/// Filled by the argument checks, read by what follows.
#[derive(Clone, Debug, Default)]
pub struct CallMeta {
    pub map: Option<MapId>,
    pub map_uid: u32,
    /// Memory argument that the call fills (raw mode).
    pub raw_mode: bool,
    pub pkt_access: bool,
    /// Register of the memory argument in raw mode, and bytes it may fill.
    pub regno: Option<Reg>,
    pub access_size: i32,
    pub msize_max_value: u64,
    pub mem_size: u32,
    pub ref_obj_id: u32,
    pub dynptr_id: u32,
    /// Value of a map key that is known (`const_map_key`).
    pub map_key_const: Option<i64>,
    pub func_id: i32,
    pub btf: Option<BtfObj>,
    pub btf_id: u32,
    pub ret_btf: Option<BtfObj>,
    pub ret_btf_id: u32,
    pub subprogno: u32,
    pub release_regno: Option<Reg>,
    pub uninit_dynptr_regno: Option<Reg>,
    pub kptr_field: Option<BtfField>,
}

/// A kfunc call while it is checked (`struct bpf_kfunc_call_arg_meta`).
#[derive(Clone, Debug)]
pub struct KfuncMeta {
    /// BTF that the function stands in: vmlinux or a module.
    pub btf: BtfObj,
    pub func_id: u32,
    /// FUNC_PROTO.
    pub proto_id: u32,
    /// Arguments that the program passes; the kernel fills in the others.
    pub visible_args: u8,
    pub name: &'static str,
    pub flags: KfuncFlags,
    /// Kfunc that the verifier knows more about than its prototype.
    pub special: Option<Special>,
    pub ref_obj_id: u32,
    pub release_regno: Option<Reg>,
    pub r0_rdonly: bool,
    pub ret_btf_id: u32,
    pub r0_size: u64,
    pub subprogno: u32,
    /// Value of the argument that must be constant.
    pub arg_constant: Option<u64>,
    /// Type of the object argument of graph and drop kfuncs.
    pub arg_btf: Option<KptrTarget>,
    pub arg_owning_ref: bool,
    pub arg_prog: bool,
    pub list_head: Option<BtfField>,
    pub rbtree_root: Option<BtfField>,
    /// The dynptr argument that was initialised before.
    pub dynptr_type: DynptrType,
    pub dynptr_id: u32,
    pub dynptr_ref_obj_id: u32,
    /// Where the iterator argument stands.
    pub iter_spi: u32,
    pub iter_frameno: u32,
    pub map: Option<MapId>,
    pub map_uid: u32,
    pub mem_size: u64,
}

impl KfuncMeta {
    #[inline]
    pub fn has(&self, flag: KfuncFlags) -> bool {
        self.flags.has(flag)
    }

    #[inline]
    pub fn is(&self, special: Special) -> bool {
        self.special == Some(special)
    }
}

macro_rules! special_kfuncs {
    ($($variant:ident = $($name:literal)|+,)*) => {
        /// Kfuncs of vmlinux that the verifier knows by name (`enum special_kfunc_type`).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Special { $($variant,)* }

        impl Special {
            pub fn from_name(name: &str) -> Option<Special> {
                match name { $($($name)|+ => Some(Special::$variant),)* _ => None }
            }
        }
    };
}

special_kfuncs! {
    ObjNew = "bpf_obj_new_impl" | "bpf_obj_new",
    ObjDrop = "bpf_obj_drop_impl" | "bpf_obj_drop",
    RefcountAcquire = "bpf_refcount_acquire_impl" | "bpf_refcount_acquire",
    ListPushFront = "bpf_list_push_front_impl" | "bpf_list_push_front",
    ListPushBack = "bpf_list_push_back_impl" | "bpf_list_push_back",
    ListPopFront = "bpf_list_pop_front",
    ListPopBack = "bpf_list_pop_back",
    ListFront = "bpf_list_front",
    ListBack = "bpf_list_back",
    CastToKernCtx = "bpf_cast_to_kern_ctx",
    RdonlyCast = "bpf_rdonly_cast",
    RcuReadLock = "bpf_rcu_read_lock",
    RcuReadUnlock = "bpf_rcu_read_unlock",
    RbtreeRemove = "bpf_rbtree_remove",
    RbtreeAdd = "bpf_rbtree_add_impl" | "bpf_rbtree_add",
    RbtreeFirst = "bpf_rbtree_first",
    RbtreeRoot = "bpf_rbtree_root",
    RbtreeLeft = "bpf_rbtree_left",
    RbtreeRight = "bpf_rbtree_right",
    DynptrFromSkb = "bpf_dynptr_from_skb",
    DynptrFromXdp = "bpf_dynptr_from_xdp",
    DynptrFromSkbMeta = "bpf_dynptr_from_skb_meta",
    XdpPullData = "bpf_xdp_pull_data",
    DynptrSlice = "bpf_dynptr_slice",
    DynptrSliceRdwr = "bpf_dynptr_slice_rdwr",
    DynptrClone = "bpf_dynptr_clone",
    PercpuObjNew = "bpf_percpu_obj_new_impl" | "bpf_percpu_obj_new",
    PercpuObjDrop = "bpf_percpu_obj_drop_impl" | "bpf_percpu_obj_drop",
    Throw = "bpf_throw",
    WqSetCallback = "bpf_wq_set_callback_impl" | "bpf_wq_set_callback",
    PreemptDisable = "bpf_preempt_disable",
    PreemptEnable = "bpf_preempt_enable",
    IterCssTaskNew = "bpf_iter_css_task_new",
    SessionCookie = "bpf_session_cookie",
    SessionIsReturn = "bpf_session_is_return",
    DynptrFromFile = "bpf_dynptr_from_file",
    DynptrFileDiscard = "bpf_dynptr_file_discard",
    ListAdd = "bpf_list_add",
    ListDel = "bpf_list_del",
    ListIsFirst = "bpf_list_is_first",
    ListIsLast = "bpf_list_is_last",
    ListEmpty = "bpf_list_empty",
    GetKmemCache = "bpf_get_kmem_cache",
    LocalIrqSave = "bpf_local_irq_save",
    LocalIrqRestore = "bpf_local_irq_restore",
    IterNumNew = "bpf_iter_num_new",
    IterNumNext = "bpf_iter_num_next",
    IterNumDestroy = "bpf_iter_num_destroy",
    SetDentryXattr = "bpf_set_dentry_xattr",
    RemoveDentryXattr = "bpf_remove_dentry_xattr",
    ResSpinLock = "bpf_res_spin_lock",
    ResSpinUnlock = "bpf_res_spin_unlock",
    ResSpinLockIrqsave = "bpf_res_spin_lock_irqsave",
    ResSpinUnlockIrqrestore = "bpf_res_spin_unlock_irqrestore",
    Trap = "__bpf_trap",
    TaskWorkSignal = "bpf_task_work_schedule_signal_impl" | "bpf_task_work_schedule_signal",
    TaskWorkResume = "bpf_task_work_schedule_resume_impl" | "bpf_task_work_schedule_resume",
}

impl Special {
    pub fn is_list_api(self) -> bool {
        use Special::*;
        matches!(
            self,
            ListPushFront | ListPushBack | ListAdd | ListPopFront | ListPopBack | ListDel
        ) || matches!(self, ListFront | ListBack | ListIsFirst | ListIsLast | ListEmpty)
    }

    pub fn is_rbtree_api(self) -> bool {
        use Special::*;
        matches!(
            self,
            RbtreeAdd | RbtreeRemove | RbtreeFirst | RbtreeRoot | RbtreeLeft | RbtreeRight
        )
    }

    pub fn is_res_spin_lock(self) -> bool {
        use Special::*;
        matches!(self, ResSpinLock | ResSpinUnlock | ResSpinLockIrqsave | ResSpinUnlockIrqrestore)
    }

    /// May be called with a spin lock held (`kfunc_spin_allowed`).
    pub fn is_spin_allowed(self) -> bool {
        use Special::*;
        self.is_list_api()
            || self.is_rbtree_api()
            || self.is_res_spin_lock()
            || matches!(self, RefcountAcquire | IterNumNew | IterNumNext | IterNumDestroy)
    }

    /// Counting iterators (`is_iter_num`).
    pub fn is_counting(self) -> bool {
        use Special::*;
        matches!(self, IterNumNew | IterNumNext | IterNumDestroy)
    }

    pub fn is_task_work(self) -> bool {
        matches!(self, Special::TaskWorkSignal | Special::TaskWorkResume)
    }

    /// Has its callback run later.
    pub fn is_async_callback_calling(self) -> bool {
        self == Special::WqSetCallback || self.is_task_work()
    }
}

/// Per-program tables of the call rooms: which kfuncs were looked up, by BTF id and BTF index.
#[derive(Debug, Default)]
pub struct CallTables {
    pub kfuncs: Vec<(i32, i16)>,
    /// The context as programs of this type see it, once somebody has asked.
    pub ctx_type: OnceCell<Option<u32>>,
}
