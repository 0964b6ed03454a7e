//! Resource Lifetime Safety.

use super::Code;

pub(super) const CODES: &[Code] = &[
    Code::new(
        "lifetime-leak",
        "a reference is not given back on some path",
        &[
"Leaking reference id={} alloc_insn={}. Release it first.","Unreleased reference id={} alloc_insn={}"],
        "Something acquired at the instruction printed (a socket, a ring buffer record, a task, an object) is still held where this path ends. A path that finds the pointer NULL holds nothing; every other one has to release it.",
        "Release it on every path, early returns and error branches included: bpf_sk_release(), bpf_ringbuf_submit() or _discard(), bpf_task_release(), bpf_obj_drop() …",
    )
    .closing(&["{} would lead to reference leak"]),
    Code::new(
        "lifetime-unacquired",
        "something is released that is not held",
        &[
"release helper {} expects referenced PTR_TO_BTF_ID passed to {}", "release kfunc {} expects referenced PTR_TO_BTF_ID passed to {}",
            "arg {} is an unacquired reference",
            "R{} must be referenced when passed to release function",
            "func {}#{} reference has not been acquired before",
            "kfunc {}#{} reference has not been acquired before",
            "release kernel function {} expects refcounted PTR_TO_BTF_ID",
            "more than one arg with ref_obj_id R{} {} {}",
            "cannot release unowned const bpf_dynptr",
            "allocated object must be referenced",
            "kfunc {}#{} conversion of owning ref to non-owning failed",
        ],
        "The function takes over a reference, and this pointer carries none: it was never acquired, was released before, or is only borrowed.",
        "Release exactly what an acquiring function returned, once. To keep a borrowed object, acquire it first (bpf_task_acquire(), bpf_refcount_acquire() …).",
    ),
    Code::new(
        "lifetime-released",
        "something is used after it was released",
        &["invalid bpf_context access off={}. Reference may already be released"],
        "The object this access goes through was given back earlier on this path.",
        "Move the access before the release.",
    ),
    Code::new(
        "lifetime-lock-order",
        "locks are taken or released in a way that could deadlock",
        &[
            "Locking two bpf_spin_locks are not allowed",
            "Acquiring the same lock again, AA deadlock detected",
            "{}_unlock without taking a lock",
            "{}_unlock of different lock",
            "{}_unlock cannot be out of order",
            "failed to push state for failed lock acquisition",
            "Failed to acquire lock state",
            "failed to mark s32 range for retval in forked state for lock",
        ],
        "A program holds at most one bpf_spin_lock at a time, releases the one it took, on every path, and releases resilient locks in reverse order. A pointer looked up twice counts as two locks.",
        "Unlock with the same pointer that was locked, once per path, and never take a second lock inside.",
    ),
    Code::new(
        "lifetime-lock-not-held",
        "a list or tree is changed without its lock",
        &[
            "bpf_spin_lock at off={} must be held for {}",
            "held lock and object are not in the same allocation",
        ],
        "Lists and trees in map values or objects are protected by the bpf_spin_lock that stands in the same value; it has to be held, and be that very one.",
        "Take the lock of the same map value around the operation.",
    ),
    Code::new(
        "lifetime-irq-state",
        "saved interrupt state is restored wrongly",
        &[
"expected an initialized irq flag as {}", "expected uninitialized irq flag as {}", "R{} doesn't point to an irq flag on stack",
            "expected uninitialized irq flag as arg#{}",
            "expected an initialized irq flag as arg#{}",
            "irq flag acquired by {} kfuncs cannot be restored with {} kfuncs",
            "cannot restore irq state out of order, expected id={} acquired at insn_idx={}",
            "arg#{} doesn't point to an irq flag on stack",
            "irq_flag has to be at a constant offset",
            "cannot pass in irq_flag at an offset={}",
        ],
        "Each saved interrupt state lives in its own 8-byte stack variable and is restored once, with the matching function, in reverse order.",
        "Use one `unsigned long flags` on the stack per save, and restore last-saved first.",
    ),
    Code::new(
        "lifetime-dynptr",
        "a dynptr is used before it is set up, or overwritten",
        &[
"CONST_PTR_TO_DYNPTR cannot be released", "Expected an initialized dynptr as {}", "cannot pass in dynptr at an offset", "arg#{} points to unsupported dynamic pointer type", "R{} points to unsupported dynamic pointer type", "arg#{} must be valid and initialized", "R{} must be valid and initialized", "arg#{} not to stack", "R{} not to stack", "arg#{} pointer type {} {} must be valid and initialized", "arg#{} pointer type {} {} not to stack", "arg#{} pointer type {} {} points to unsupported dynamic pointer type", "R{} expected pointer to stack or const struct bpf_dynptr", "=dynptr_{}",
            "Dynptr has to be an uninitialized dynptr",
            "cannot overwrite referenced dynptr",
            "Expected an initialized dynptr as arg #{}",
            "potential write to dynptr at off={} disallowed",
            "dynptr has to be at a constant offset",
            "cannot pass in dynptr at an offset={}",
            "cannot pass pointer to const bpf_dynptr, the helper mutates it",
            "arg#{} expected pointer to stack or const struct bpf_dynptr",
        ],
        "A dynptr occupies 16 bytes of stack that only dynptr functions may touch: set up once, released if it holds a ring buffer record, then free for another.",
        "Use one `struct bpf_dynptr` on the stack per dynptr, pass its plain address, and submit or discard a ring buffer dynptr on every path, even if reserving failed.",
    ),
    Code::new(
        "lifetime-iterator",
        "an iterator is not set up, or set up twice",
        &[
"expected an initialized iter_{} as {}", "expected uninitialized iter_{} as {}", "expected valid iter pointer as {}", "R{} expected pointer to an iterator on stack",
            "expected valid iter pointer as arg #{}",
            "expected uninitialized iter_{} as arg #{}",
            "expected an initialized iter_{} as arg #{}",
            "arg#{} expected pointer to an iterator on stack",
            "iter has to be at a constant offset",
            "cannot pass in iter at an offset={}",
        ],
        "An iterator lives in a stack variable from its `_new` to its `_destroy`, and `_next` works only in between; `_destroy` is needed even if `_new` failed.",
        "Use bpf_for() or bpf_for_each(), which do this, or pair `_new` and `_destroy` on every path.",
    ),
];
