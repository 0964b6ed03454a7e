//! Execution Context Safety.

use super::Code;

pub(super) const CODES: &[Code] = &[
    Code::new(
        "context-sleep",
        "something that may sleep is called where sleeping is not allowed",
        &[
"kernel func {} is sleepable within {}", "kernel function {} is sleepable but the program is not", "sleepable global function {}() called in {}", "sleepable helper {}#{} in {}",
            "helper call might sleep in a non-sleepable prog",
            "sleepable helper {}#{} in {} region",
            "program must be sleepable to call sleepable kfunc {}",
            "kernel func {} is sleepable within {} region",
            "a non-sleepable BPF program context",
        ],
        "The function may wait or take a page fault. The program itself is not sleepable, or it is inside an RCU, preemption-disabled or interrupt-disabled section on this path.",
        "Load the program as sleepable (section `lsm.s/`, `fentry.s/`, `iter.s/` …) where the type allows it, and leave the section before the call; otherwise use the non-sleeping variant.",
    ),
    Code::new(
        "context-lock-held",
        "a function is called while a bpf_spin_lock is held",
        &[
"global function calls are not allowed with preemption disabled,","function calls are not allowed while holding a lock", "global function calls are not allowed while holding a lock,", "use static function instead"],
        "Between bpf_spin_lock() and bpf_spin_unlock() only a few list and tree functions, and static functions, may be called.",
        "Move the call out of the locked section: fetch before locking, or copy out and act after unlocking.",
    ),
    Code::new(
        "context-region-open",
        "the program leaves inside a protected section",
        &[
"bpf_spin_unlock is missing", "BPF_LD_[ABS|IND] cannot be mixed with socket references", "{} bpf_preempt_enable{} missing","{} cannot be used inside {} region"],
        "A lock, RCU, preemption-disabled or interrupt-disabled section is still open where the program exits, tail-calls or throws.",
        "Close the section on every path, early returns included.",
    ),
    Code::new(
        "context-rcu",
        "an RCU section is missing, nested or not open",
        &[
"bpf_rcu_read_unlock is missing",
            "unmatched rcu read unlock (kernel function {})",
            "nested rcu read lock (kernel function {})",
            "expected an RCU CS when using {}",
            "kernel func {} requires RCU critical section protection",
        ],
        "bpf_rcu_read_lock() and _unlock() come in pairs that do not nest, and some iterators and functions work only in between. Sleepable programs are not inside such a section by themselves.",
        "Put one pair around the whole use, iterator set-up and loop included.",
    ),
    Code::new(
        "context-preempt",
        "preemption is enabled without having been disabled",
        &["unmatched attempt to enable preemption (kernel function {})"],
        "bpf_preempt_enable() has no bpf_preempt_disable() before it on this path.",
        "Pair the calls on every path.",
    ),
    Code::new(
        "context-callback",
        "not allowed inside this callback",
        &[
"can't res_spin_{lock,unlock} in rbtree cb",
            "can't spin_{lock,unlock} in rbtree cb",
            "Calling bpf_rcu_read_{lock,unlock} in unnecessary rbtree callback",
            "{} not allowed in rbtree cb",
            "cannot use BPF_LD_[ABS|IND] within callback",
        ],
        "The callback runs with a lock held or in the middle of a tree operation, so it may only compare.",
        "Do the work before or after the operation that takes the callback.",
    ),
    Code::new(
        "context-probe",
        "the helper is not allowed in a kprobe program",
        &["helper call is not allowed in probe"],
        "The helper is offered only where the kernel can vouch for the context, and a probe can fire anywhere.",
        "Use a tracepoint or fentry program, or the variant of the helper for probes.",
    ),
    Code::new(
        "context-sleepable-program",
        "the program is, or is not, loaded as sleepable against the rules",
        &[
"BPF_LSM_CGROUP programs cannot be sleepable", "Only fentry/fexit/fmod_ret and lsm programs can be sleepable", "Only fentry/fexit/fmod_ret, lsm, and kprobe/uprobe programs can be sleepable", "Program of this type cannot be sleepable", "Sleepable program cannot attach to non-faultable tracepoint {}", "Sleepable programs can only use array and hash maps", "Sleepable programs can only use array, hash, and ringbuf maps", "Sleepable programs can only use preallocated hash maps", "sleepable progs cannot use bpf_spin_lock yet",
            "Syscall programs can only be sleepable",
            "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable",
            "{} is not sleepable",
            "Sleepable programs can only use array, hash, ringbuf and local storage maps",
            "css_task_iter is only allowed in bpf_lsm, bpf_iter and sleepable progs",
        ],
        "Sleepable programs exist for certain program types and hooks only, and may use only maps that tolerate sleeping.",
        "Drop the `.s` from the section name, choose a hook that may sleep, or use one of the maps named.",
    ),
];
