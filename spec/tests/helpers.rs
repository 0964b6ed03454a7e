//! Integrity of the helper tables, and answers read off the kernel source by hand.

use bpfassay_spec::helper::{self, HelperProto};
use bpfassay_spec::{
    ArgBase, AttachType, Caps, Kernel, ProgKind, ProgType, ProtoLookup, RetBase, TypeFlags,
};

fn kernel() -> Kernel {
    bpfassay_builds::kernel("6.18").unwrap()
}

fn symbol(kind: &ProgKind<'_>, name: &str) -> Option<&'static str> {
    match kernel().helper_proto(kind, helper::func_id(name).unwrap() as i32) {
        ProtoLookup::Proto(p) => Some(p.symbol),
        _ => None,
    }
}

#[test]
fn every_helper_has_a_prototype() {
    assert_eq!(kernel().helper_ids(), 0..212);
    for id in 1..212 {
        assert!(!HelperProto::of(id).is_empty(), "{}", helper::func_id_name(id as i32));
        for proto in HelperProto::of(id) {
            assert_eq!((proto.id, proto.name), (id, helper::func_id_name(id as i32)));
        }
    }
}

#[test]
fn names_are_the_kernels() {
    assert_eq!(helper::func_id_name(0), "bpf_unspec");
    assert_eq!(helper::func_id_name(1), "bpf_map_lookup_elem");
    assert_eq!(helper::func_id_name(211), "bpf_cgrp_storage_delete");
    assert_eq!(helper::func_id_name(212), "unknown");
    assert_eq!(helper::func_id_name(-1), "unknown");
    assert_eq!(helper::func_id("bpf_loop"), Some(181));
}

/// `check_arg_pair_ok`, `check_btf_id_ok` and friends of `check_func_proto`: the kernel refuses a bad prototype.
#[test]
fn prototypes_are_well_formed() {
    for p in (1..212).flat_map(HelperProto::of) {
        let is_size =
            |i: usize| matches!(p.args[i].base(), ArgBase::ConstSize | ArgBase::ConstSizeOrZero);
        let is_mem = |i: usize| p.args[i].base() == ArgBase::Mem;
        assert!(!is_size(0), "{}", p.symbol);
        for i in 0..5 {
            let fixed = p.args[i].has(TypeFlags::MEM_FIXED_SIZE);
            assert_eq!(fixed, p.arg_size[i] != 0, "{} arg {i}", p.symbol);
            if is_mem(i) {
                assert_eq!(i < 4 && is_size(i + 1), !fixed, "{} arg {i}", p.symbol);
            }
            let needs_btf = matches!(
                p.args[i].base(),
                ArgBase::BtfId | ArgBase::BtfIdSockCommon | ArgBase::PercpuBtfId
            );
            if p.arg_btf[i].is_some() {
                assert!(needs_btf, "{} arg {i}", p.symbol);
            }
            if p.args[i].base() == ArgBase::BtfId && p.name != "bpf_kptr_xchg" {
                assert!(p.arg_btf[i].is_some(), "{} arg {i}", p.symbol);
            }
        }
        assert!(p.args[p.arg_count()..].iter().all(|a| *a == ArgBase::DontCare), "{}", p.symbol);
    }
}

#[test]
fn variants_answer_their_program_types() {
    use ProgType::*;
    let kind = |t| ProgKind::new(t, None);
    assert_eq!(symbol(&kind(Kprobe), "get_stackid"), Some("bpf_get_stackid_proto"));
    assert_eq!(symbol(&kind(Tracepoint), "get_stackid"), Some("bpf_get_stackid_proto_tp"));
    assert_eq!(symbol(&kind(PerfEvent), "get_stackid"), Some("bpf_get_stackid_proto_pe"));
    assert_eq!(symbol(&kind(RawTracepoint), "get_stackid"), Some("bpf_get_stackid_proto_raw_tp"));
    assert_eq!(symbol(&kind(Xdp), "get_stackid"), None);
    assert_eq!(symbol(&kind(SkSkb), "skb_pull_data"), Some("sk_skb_pull_data_proto"));
    let mut sleepable = kind(Kprobe);
    sleepable.sleepable = true;
    assert_eq!(symbol(&sleepable, "get_stack"), Some("bpf_get_stack_sleepable_proto"));
    let multi = ProgKind::new(Kprobe, Some(AttachType::TraceKprobeMulti));
    assert_eq!(symbol(&multi, "get_func_ip"), Some("bpf_get_func_ip_proto_kprobe_multi"));
    let iter = ProgKind::new(Tracing, Some(AttachType::TraceIter));
    assert_eq!(symbol(&iter, "seq_printf"), Some("bpf_seq_printf_proto"));
    assert_eq!(symbol(&iter, "setsockopt"), None);
    let tcp = ProgKind { hook: Some("bpf_iter_tcp"), ..iter };
    assert_eq!(symbol(&tcp, "setsockopt"), Some("bpf_sk_setsockopt_proto"));
    let cc = ProgKind { hook: Some("tcp_congestion_ops.init"), ..kind(StructOps) };
    assert_eq!(symbol(&cc, "setsockopt"), Some("bpf_sk_setsockopt_proto"));
    let release = ProgKind { hook: Some("tcp_congestion_ops.release"), ..cc };
    assert_eq!(symbol(&release, "setsockopt"), None);
}

#[test]
fn capabilities_gate_helpers() {
    let mut kind = ProgKind::new(ProgType::SocketFilter, None);
    kind.caps = Caps::NONE;
    assert_eq!(symbol(&kind, "map_lookup_elem"), Some("bpf_map_lookup_elem_proto"));
    assert_eq!(symbol(&kind, "spin_lock"), None);
    kind.caps.bpf = true;
    assert_eq!(symbol(&kind, "spin_lock"), Some("bpf_spin_lock_proto"));
    assert_eq!(symbol(&kind, "trace_printk"), None);
    assert_eq!(symbol(&kind, "skc_to_tcp_sock"), None);
    kind.caps.perfmon = true;
    assert_eq!(symbol(&kind, "trace_printk"), Some("bpf_trace_printk_proto"));
    assert_eq!(symbol(&kind, "skc_to_tcp_sock"), Some("bpf_skc_to_tcp_sock_proto"));
}

#[test]
fn a_missing_configuration_is_named() {
    let kind = ProgKind::new(ProgType::Kprobe, None);
    let id = helper::func_id("override_return").unwrap() as i32;
    assert_eq!(
        kernel().helper_proto(&kind, id),
        ProtoLookup::NotAllowed { lacks_config: Some("BPF_KPROBE_OVERRIDE") }
    );
    assert_eq!(kernel().helper_proto(&kind, 212), ProtoLookup::UnknownHelper);
    assert_eq!(kernel().helper_proto(&kind, -1), ProtoLookup::UnknownHelper);
    assert_eq!(kernel().helper_proto(&kind, 0), ProtoLookup::NotAllowed { lacks_config: None });
}

#[test]
fn a_lookup_returns_a_nullable_map_value() {
    let p = HelperProto::of(1).first().unwrap();
    assert_eq!(p.ret.base(), RetBase::MapValue);
    assert!(p.ret.may_be_null() && p.pkt_access && !p.gpl_only);
    assert!(p.args[0] == ArgBase::ConstMapPtr && p.args[1] == ArgBase::MapKey);
    let moves = |id| kernel().helper_traits(id).changes_pkt_data;
    assert!(moves(12) && !moves(1) && !moves(212) && !moves(-1));
}

#[test]
fn builds_by_name() {
    assert_eq!(kernel().release, "6.18.44");
    let old = bpfassay_builds::kernel("6.18.15").unwrap();
    assert!(kernel().features.scalar_byte_swap && !old.features.scalar_byte_swap);
    assert_eq!(kernel().limits.max_stack, 512);
    assert!(bpfassay_builds::kernel("2.6").is_none());
}

#[test]
fn hardening_is_told_apart_from_verdicts() {
    use AttachType::*;
    let refuses = |k: &Kernel, t, a| k.refusal(t, Some(a));
    assert_eq!(refuses(&kernel(), ProgType::Tracing, TraceFentry), Some(1));
    assert_eq!(refuses(&kernel(), ProgType::Tracing, TraceIter), None);
    assert_eq!(refuses(&kernel(), ProgType::Lsm, LsmMac), Some(1));
    let old = bpfassay_builds::kernel("6.18.15").unwrap();
    assert_eq!(refuses(&old, ProgType::Tracing, TraceFentry), None);
}
