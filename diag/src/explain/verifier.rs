//! The verifier's own faults, and no answer at all.

use super::{Code, NOT_JUDGED, NO_MESSAGE};

pub(super) const CODES: &[Code] = &[
    Code::new(
        "verifier-bug",
        "the verifier says it went wrong itself",
        &[
"BUG {}", "BUG: {}", "Verifier bug in function {}()", "Verifier bug{}", "verifier bug", "verifier bug.{}", "verifier BUG type {} var_off {} off {}", "verifier internal error{}", "bpf verifier is misconfigured", "bpf verifier narrow ctx access misconfigured", "bpf verifier narrow ctx load misconfigured", "bug: {}", "insn state internal bug", "pop stack internal bug", "visit_insn internal bug", "kernel subsystem misconfigured func {}#{}{}", "mark_reg_known_zero(regs, {})", "mark_reg_not_init(regs, {})", "mark_reg_unknown(regs, {})", "map type {} is misconfigured", "REG INVARIANTS VIOLATION ({}): {}", "func {} has non-overwritten BPF_PTR_POISON return type", "kernel function {} unhandled dynamic return type", "module_cand_cache:{}", "vmlinux_cand_cache:{}", "Failed to properly initialize insn array", "invalid map_ptr to access map->{}", "Unknown conditional jump {}",
            "verifier bug: {}",
            "verifier internal error: {}",
            "allocated_stack too small",
            "btf_vmlinux is malformed",
            "in-kernel BTF is malformed",
            "R{} has non-overwritten BPF_PTR_POISON type",
            "Please fix kernel include/linux/bpf_types.h",
            "tail_call abusing map_ptr",
            "adding tail call poke descriptor failed",
            "tracking tail call prog failed",
        ],
        "The kernel met a state it holds to be impossible and refused the program. The program need not be wrong.",
        "Look for the message in the kernel's mailing list, try a newer kernel, and write the code near the instruction another way.",
    ),
    Code::new(
        NO_MESSAGE,
        "refused without a message",
        &[],
        "The kernel returned an error number and said nothing: it refused before verifying, or at a check that has no words.",
        "Look at the error number: EPERM is a missing capability, EINVAL an attribute of the load (program or attach type, flags, BTF), E2BIG a size or count, ENOMEM memory. EACCES (-13) is the verifier's own refusal, and its log is not in this text: have the loader print it (libbpf does at its warning level, `bpftool -d`, `%+v` of the error in cilium/ebpf).",
    ),
    Code::new(
        NOT_JUDGED,
        "not judged",
        &[],
        "bpfassay met something it cannot judge for this kernel, and does not guess.",
        "If a kernel type or function is missing, judge with the profile of your kernel (`bpfassay record --profile FILE` there, `--profile FILE` here) or its types (`--btf /sys/kernel/btf/vmlinux`).",
    ),
];
