//! Everything one analysis holds (`struct bpf_verifier_env`).
//!
//! Rooms are free functions over `&mut Env`.  A register is `Copy`: read it with
//! `*env.reg(r)`, work on the copy, write it back with `*env.reg_mut(r) = …`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bpfassay_isa::{Insn, RawInsn, Reg};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{ArgType, Caps, HelperTable, Kernel, ProgType, RegType};

use crate::cfg::Cfg;
use crate::check::btf_record::BtfRecord;
use crate::check::callinfo::CallTables;
use crate::config::Config;
use crate::domain::reg::{BtfObj, MapId, RegState};
use crate::domain::state::{FuncState, VerifierState};
use crate::domain::tnum::Tnum;
use crate::explore::Explorer;
use crate::log::names::{RegTypeName, TnumText, TypeWords};
use crate::log::Log;
use crate::report::Stats;

/// Pointer type an access instruction was used with, for the "same insn cannot be used with different pointers" rule,
/// or the constant a LD_IMM64 of a kernel variable stands for (the kernel's first union in `bpf_insn_aux_data`).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum AuxUse {
    #[default]
    None,
    /// `ptr_type` of loads and stores.
    Ptr(RegType),
    /// Map used by a helper call.
    MapPtr { map: MapId, poison: bool },
    /// LD_IMM64 of a map or map value: the map and offset into its value.
    Map { map: MapId, off: u32 },
    /// LD_IMM64 of a kernel variable.
    BtfVar { ty: RegType, btf: BtfObj, btf_id: u32, mem_size: u32 },
    /// bpf_loop call site.
    LoopInline { fit: bool, callback_subprog: u32 },
}

/// Facts kept per instruction (`struct bpf_insn_aux_data`).
#[derive(Clone, Copy, Debug, Default)]
pub struct InsnAux {
    pub used: AuxUse,
    /// Constant key tracking of map helpers (`map_key_state`, the kernel's bit layout).
    pub map_key_state: u64,
    pub ctx_field_size: u32,
    /// Visited by pass number; 0 for never.
    pub seen: u32,
    /// Times processed (counted in `insns_processed`), over all paths and passes.
    pub visits: u32,
    pub zext_dst: bool,
    /// A 64-bit operation on an arena pointer, which becomes one of 32 bits.
    pub needs_zext: bool,
    /// The load may fault, and the processor would take an address of user space for it.
    pub masks_address: bool,
    /// A 64-bit operation on anything else, which must stay one (7.3).
    pub prevent_zext: bool,
    /// A barrier goes before the instruction, behind it.
    pub nospec: bool,
    pub nospec_result: bool,
    /// `alu_state`, `alu_limit`.
    pub alu_limit: crate::transfer::sanitize::AluLimit,
    pub is_iter_next: bool,
    pub call_with_percpu_alloc_ptr: bool,
    pub storage_get_func_atomic: bool,
    pub fastcall_pattern: bool,
    /// Spill/fill pairs of a bpf_fastcall pattern, at the call.
    pub fastcall_spills_num: u8,
    pub arg_prog: u8,
    pub jmp_point: bool,
    pub prune_point: bool,
    pub force_checkpoint: bool,
    pub calls_callback: bool,
    /// Exit of the subprogram that this tail call or packet load may act as (`jt` of 7.2).
    pub may_return_at: Option<u32>,
    /// Table of an indirect jump, in `cfg.jump_tables` (`jt`).
    pub jump_table: Option<u32>,
    /// Strongly connected component, 0 for a singleton.
    pub scc: u32,
    /// Registers alive before this instruction, bit per register.
    pub live_regs_before: u16,
    pub obj_new_size: u64,
    pub insert_off: u64,
    /// kptr_struct_meta: local type id in the program's BTF, 0 for none.
    pub kptr_struct_meta: u32,
}

/// An argument of a global function (`struct bpf_subprog_arg_info`).
#[derive(Clone, Copy, Debug)]
pub struct SubprogArg {
    pub ty: ArgType,
    /// Memory size in bytes, or BTF id, by type.
    pub mem_size_or_btf_id: u32,
}

/// Facts kept per subprogram (`struct bpf_subprog_info`).
#[derive(Clone, Debug, Default)]
pub struct SubprogInfo {
    /// First instruction slot.
    pub start: u32,
    /// Index into the program's line info of its first line.
    pub linfo_idx: u32,
    pub postorder_start: u32,
    /// Deepest stack use seen, bytes.
    pub stack_depth: u16,
    pub stack_extra: u16,
    pub fastcall_stack_off: i16,
    pub has_tail_call: bool,
    pub tail_call_reachable: bool,
    pub has_ld_abs: bool,
    pub is_cb: bool,
    pub is_async_cb: bool,
    pub is_exception_cb: bool,
    pub args_cached: bool,
    pub keep_fastcall_stack: bool,
    pub changes_pkt_data: bool,
    pub might_sleep: bool,
    pub might_throw: bool,
    /// `PRIV_STACK_UNKNOWN` (None), `NO_PRIV_STACK` (false) or adaptive (true).
    pub priv_stack: Option<bool>,
    /// The function records have been found to fit: it has its name.
    pub is_named: bool,
    /// Instructions processed in it, and in it and what it calls; counted where statistics show them.
    pub insns_self: u32,
    pub insns_total: u32,
    pub args: Vec<SubprogArg>,
    /// From func_info_aux: linkage is global; body is known unreliable; is called; is verified.
    pub is_global: bool,
    pub unreliable: bool,
    pub called: [bool; 2],
    pub verified: [bool; 2],
}

/// A map as the verifier sees it; inner maps have entries of their own.
#[derive(Clone, Debug)]
pub struct MapInfo {
    pub def: Arc<MapDef>,
    /// Entry of the inner map of a map of maps.
    pub inner: Option<MapId>,
    /// Special fields of the value (spin locks, timers, kptrs …), filled by `check::btf_record`.
    pub record: Option<Arc<BtfRecord>>,
}

/// One analysis.
pub struct Env<'a> {
    pub config: &'a Config<'a>,
    pub kernel: &'a Kernel,
    pub prog: &'a Program,
    /// Instruction slots.  The second slot of a LD_IMM64 is kept.
    pub insns: Vec<RawInsn>,
    /// Decoded once; None for the second slot of a LD_IMM64 and for what does not decode.
    pub decoded: Vec<Option<Insn>>,
    pub aux: Vec<InsnAux>,
    /// Program entry first, ascending by `start`; real subprograms only.
    pub subprogs: Vec<SubprogInfo>,
    /// First slot and stack depth of each subprogram before rewriting takes and adds any.
    pub explored_subprogs: Vec<(u32, u16)>,
    pub exception_callback_subprog: Option<u32>,
    /// Maps used by the program (`used_maps`) in first-use order, then their inner maps.
    pub maps: Vec<MapInfo>,
    /// Records of the program BTF's structs that may be allocated, by type id (`btf->struct_meta_tab`);
    /// filled by `check::btf_record`.
    pub struct_metas: BTreeMap<u32, Arc<BtfRecord>>,
    /// Index into `prog.maps` → [`MapId`].
    pub map_of_def: Vec<Option<MapId>>,
    /// Prototypes of the helpers that the program calls.
    pub helpers: HelperTable,
    /// [`BtfObj`] → BTF: program, vmlinux, modules.  Missing ones are None.
    pub btfs: Vec<Option<Arc<Btf>>>,
    /// What a program attached by BTF is attached to.
    pub attach: Option<Arc<crate::attach_target::AttachInfo>>,
    /// The program that it attaches to, or replaces a function of.
    pub target_program: Option<Arc<crate::extension::TargetFacts>>,
    pub cfg: Cfg,
    /// Constants per instruction, where the kernel looks for them.
    pub const_regs: Vec<crate::cfg::const_regs::ConstRegs>,
    /// State of the current path.
    pub cur: VerifierState,
    pub insn_idx: u32,
    pub prev_insn_idx: u32,
    /// Index into `cur.history` of the current instruction's own entry (`cur_hist_ent`).
    pub cur_hist_ent: Option<u32>,
    /// Pending branches, explored states, precision and liveness data.
    pub explore: Explorer,
    pub calls: CallTables,
    pub id_gen: u32,
    /// Ids that a sign-extending fill gave to a value which may be another one; empty where the kernel drops them.
    pub wrong_links: Vec<u32>,
    pub log: Log,
    /// Registers and slots touched since the state was last printed.
    pub scratched_regs: u32,
    pub scratched_slots: u64,
    pub prev_log_pos: u64,
    pub prev_insn_print_pos: u64,
    /// Index of the last printed line info record.
    pub prev_linfo: Option<u32>,
    pub stats: Stats,
    pub jmps_processed: u32,
    /// Deepest stack along a chain of calls, private stacks left out, as far as the walk came.
    pub max_stack: u32,
    /// End of the part of the context that is accessed, bytes (`prog->aux->max_ctx_offset`).
    pub max_ctx_offset: u32,
    /// Some access was allowed for which there is no conversion.
    pub ctx_unconverted: bool,
    pub prev_insn_processed: u32,
    pub prev_jmps_processed: u32,
    /// Number of times the main loop was started (`pass_cnt`).
    pub pass_cnt: u32,
    pub strict_alignment: bool,
    pub test_state_freq: bool,
    pub test_reg_invariants: bool,
    pub allow_ptr_leaks: bool,
    pub allow_uninit_stack: bool,
    pub bpf_capable: bool,
    pub bypass_spec_v1: bool,
    pub bypass_spec_v4: bool,
    pub explore_alu_limits: bool,
    pub seen_direct_write: bool,
    pub seen_exception: bool,
    /// `prog->aux->changes_pkt_data` and friends of the program itself.
    pub prog_sleepable: bool,
    pub quirk: Option<&'static str>,
    /// Who looks on; scalars are then all precise.
    pub observer: Option<&'a dyn crate::passes::Observer>,
    /// Every scalar counts as precise.
    pub all_precise: bool,
    /// What reports of rejections tell, where the kernel writes them.
    pub diagnostics: Option<Box<crate::diagnostics::Diagnostics>>,
    /// Keeps the path, for whoever explains a rejection.
    pub recorder: Option<Box<crate::explore::trail::Recorder>>,
}

impl<'a> Env<'a> {
    /// The program's type for what is looked at before its target is.
    pub fn type_before_target(&self) -> ProgType {
        match self.is_extension() && self.kernel.features.target_after_graph {
            true => ProgType::Ext,
            false => self.prog.prog_type,
        }
    }

    /// The program replaces a function of another one (`BPF_PROG_TYPE_EXT`); its type is then the other's.
    pub fn is_extension(&self) -> bool {
        self.target_program.as_ref().is_some_and(|t| t.replaces)
    }

    /// A tnum in this kernel's words.
    pub fn tnum_text(&self, tnum: Tnum) -> TnumText {
        TnumText { tnum, as_pair: !self.kernel.features.concise_states }
    }

    /// A register type in this kernel's words.
    pub fn type_name(&self, ty: RegType) -> RegTypeName {
        TypeWords::of(&self.kernel.features).name(ty)
    }

    /// Register of the innermost frame (`cur_regs(env)[r]`).
    #[inline]
    pub fn reg(&self, r: Reg) -> &RegState {
        self.cur.cur().reg(r)
    }

    #[inline]
    pub fn reg_mut(&mut self, r: Reg) -> &mut RegState {
        self.cur.cur_mut().reg_mut(r)
    }

    /// Innermost frame (`cur_func`).
    #[inline]
    pub fn frame(&self) -> &FuncState {
        self.cur.cur()
    }

    #[inline]
    pub fn frame_mut(&mut self) -> &mut FuncState {
        self.cur.cur_mut()
    }

    /// Frame a stack pointer points into (`func(env, reg)`).
    #[inline]
    pub fn frame_of(&self, reg: &RegState) -> &FuncState {
        self.cur.frame(reg.frameno)
    }

    /// Type of the program; of the program it replaces for `ext` (`resolve_prog_type`).
    #[inline]
    pub fn prog_type(&self) -> ProgType {
        self.prog.prog_type
    }

    /// A fresh id (`++env->id_gen`).
    #[inline]
    pub fn new_id(&mut self) -> u32 {
        self.id_gen += 1;
        self.id_gen
    }

    #[inline]
    pub fn mark_reg_scratched(&mut self, r: Reg) {
        self.scratched_regs |= 1 << r.0;
    }

    #[inline]
    pub fn mark_slot_scratched(&mut self, spi: u32) {
        self.scratched_slots |= 1u64 << (spi & 63);
    }

    #[inline]
    pub fn map(&self, id: MapId) -> &MapInfo {
        &self.maps[id.0 as usize]
    }

    /// Addresses of the program's arena stay the kernel's when they are cast (`BPF_F_NO_USER_CONV`).
    pub fn arena_is_unconverted(&self) -> bool {
        const NO_USER_CONV: u32 = 1 << 18;
        let arena = self.maps.iter().find(|m| m.def.map_type == bpfassay_spec::MapType::Arena);
        arena.is_some_and(|m| m.def.map_flags & NO_USER_CONV != 0)
    }

    /// Capabilities of the loading process.
    pub fn caps(&self) -> Caps {
        self.config.caps
    }

    /// The BTF behind a [`BtfObj`], if the profile has it.
    #[inline]
    pub fn btf(&self, obj: BtfObj) -> Option<&Arc<Btf>> {
        self.btfs.get(obj.0 as usize).and_then(Option::as_ref)
    }

    /// BTF of the program itself (`prog->aux->btf`): a load without function and line records has none, whatever
    /// BTF its maps were made with.
    pub fn prog_btf(&self) -> Option<&Arc<Btf>> {
        let has_info = !self.prog.func_info.is_empty() || !self.prog.line_info.is_empty();
        self.prog.btf.as_ref().filter(|_| has_info)
    }

    /// Special fields of an allocatable struct (`btf_find_struct_meta`); only the program's BTF has them.
    #[inline]
    pub fn struct_meta(&self, btf: BtfObj, id: u32) -> Option<&Arc<BtfRecord>> {
        if btf == BtfObj::PROG {
            self.struct_metas.get(&id)
        } else {
            None
        }
    }

    /// Decoded instruction at `idx`; None for second slots and undecodable ones.
    #[inline]
    pub fn insn(&self, idx: u32) -> Option<Insn> {
        self.decoded.get(idx as usize).copied().flatten()
    }

    #[inline]
    pub fn aux(&self, idx: u32) -> &InsnAux {
        &self.aux[idx as usize]
    }

    #[inline]
    pub fn aux_mut(&mut self, idx: u32) -> &mut InsnAux {
        &mut self.aux[idx as usize]
    }
}
