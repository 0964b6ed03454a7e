//! Register Type Safety.

use super::Code;

pub(super) const CODES: &[Code] = &[
    Code::new(
        "register-uninitialized",
        "a register is read before anything was written to it",
        &[
"callee expects {} args, stack arg{} is not initialized","R{} !read_ok"],
        "On the path shown, nothing has written this register. At the start of a program only R1 (the context) and R10 (the frame pointer) hold values; every call leaves R1 to R5 unreadable, and R0 is unset until something returns into it.",
        "Give the variable a value on every path, and keep what you need after a call in another variable (a register R6 to R9, or the stack). For R0 at exit: return a value on every path.",
    ),
    Code::new(
        "register-scalar-access",
        "memory is accessed through a number, not a pointer",
        &[
            "R{} invalid mem access 'scalar'",
            "R{} invalid mem access 'inv'",
            "R{} invalid mem access 'imm'",
        ],
        "The register holds a plain number here, and the verifier follows only pointers whose origin it knows. It may be a pointer that is NULL on this path; and a pointer becomes a number when it is read from memory of unknown type, computed in 32 bits, cast through an integer, or invalidated by a call that may move the packet.",
        "Find the line where the register got its value. Test for NULL the right way round; read kernel memory with bpf_probe_read_kernel() or through a BTF-typed pointer (bpf_core_cast, CO-RE on a typed argument); after a helper that changes packet data, load data and data_end again.",
    ),
    Code::new(
        "register-maybe-null",
        "a pointer that may be NULL is used without a check",
        &[
            "R{} invalid mem access '{}or_null{}'",
            "R{} pointer arithmetic on {} prohibited, null-check it first",
        ],
        "The function that gave this pointer returns NULL when it finds nothing, and no branch on this path has ruled that out.",
        "Check the pointer right after it is obtained: `if (!p) return 0;`. The check must be on the same variable that is used later, before any arithmetic.",
    ),
    Code::new(
        "register-not-memory",
        "this kind of pointer cannot be read or written directly",
        &["R{} invalid mem access '{}'", "map_ptr access not supported for map type {}"],
        "The register holds a pointer that stands for an object, not for bytes: a map, a dynptr, the end of the packet, or a kernel object without known layout.",
        "Go through the function made for it: bpf_map_lookup_elem() for a map, bpf_dynptr_data() or bpf_dynptr_read() for a dynptr; compare the packet pointer with data_end, and read through the packet pointer.",
    ),
    Code::new(
        "register-modified-pointer",
        "a pointer that must be used as it came has been moved",
        &[
"R{} is a pointer to in-kernel struct with non-zero offset",
            "dereference of modified {} ptr R{} off={} disallowed",
            "negative offset {} ptr R{} off={} disallowed",
            "variable {} access var_off={} disallowed",
        ],
        "Contexts, dynptrs and kernel objects may be used only at the address they were given at; here a number was added to the pointer first. Compilers do this when they share the address of a field between two branches.",
        "Access fields as `ctx->field` with constant offsets, and pass the pointer on unchanged. If the compiler computed the address, keep the access apart with barrier_var(), or copy the field into a local first.",
    ),
    Code::new(
        "register-frame-pointer",
        "the frame pointer is written",
        &["frame pointer is read only"],
        "R10 is the frame pointer; programs may copy it, but not change it.",
        "Copy R10 to another register and change that one.",
    ),
    Code::new(
        "register-pointer-arithmetic",
        "arithmetic that pointers do not allow",
        &[
"R{} pointer arithmetic on PTR_TO_{} prohibited", "R{} pointer arithmetic on CONST_PTR_TO_MAP prohibited{}",
            "R{} pointer arithmetic on {} prohibited",
            "R{} pointer arithmetic with {} operator prohibited",
            "R{} pointer arithmetic prohibited",
            "R{} bitwise operator {} on pointer prohibited",
            "R{} 32-bit pointer arithmetic prohibited",
            "R{} tried to subtract pointer from scalar",
            "R{} subtraction from stack pointer prohibited",
            "R{} pointer {} pointer prohibited",
        ],
        "Only adding a number to a pointer, or subtracting one, in 64 bits, keeps it a pointer; and some kinds (map, context end, packet end, kernel sockets) allow not even that. What the verifier cannot follow it refuses.",
        "Do the arithmetic on the index and add it to the pointer last, as an unsigned 64-bit value. Do not mask, multiply or truncate pointers.",
    ),
    Code::new(
        "register-pointer-comparison",
        "pointers are compared where that could tell their address",
        &["R{} pointer comparison prohibited"],
        "Comparing a pointer with a number or an unrelated pointer tells something of its address, which unprivileged programs may not learn; some comparisons of pointers mean nothing to the verifier.",
        "Compare pointers only with NULL, and packet pointers only with data_end or data_meta's end.",
    ),
    Code::new(
        "register-mixed-pointers",
        "one instruction would access two kinds of memory",
        &["same insn cannot be used with different pointers"],
        "Two paths reach this instruction with pointers of different kinds, and the kernel rewrites the access for one kind only.",
        "Write the access once in each branch; if the compiler merges them again, put barrier() or barrier_var() between.",
    ),
    Code::new(
        "register-pointer-leak",
        "a kernel address would become visible",
        &[
            "R{} leaks addr into {}",
            "R{} leaks addr as return value",
            "leaking pointer from stack off {}",
            "R{} partial copy of pointer",
            "R{} sign-extension part of pointer",
        ],
        "The value stored, returned or cut in parts here is a pointer; whoever reads it would learn a kernel address.",
        "Store the data, not the pointer. If the return value is meant to be a number, return a number on every path.",
    ),
    Code::new(
        "register-return-value",
        "the program may return a value that is not allowed here",
        &[
"At program exit the register R0{} should have been in {}", "At {} the register R{} has value {} should have been in {}", "At {} the register R{} has unknown scalar value should have been in {}", "At bpf_set_retval the register R{} has{} should have been in [{}, {}]",
            " value {} should have been in {}",
            " unknown scalar value should have been in {}",
            "{} the register R{} is not a known value ({})",
            "{} the register R{} has{} should have been in [{}, {}]",
            "At subprogram exit the register R{} is not a scalar value ({})",
            "R0 not a scalar value",
            "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!",
        ],
        "Each program type, hook and callback allows certain return values only, and the verifier has to see that R0 is within them on every path. A value that came out of a helper or memory is unknown until it is compared.",
        "Return one of the allowed constants, or clamp the value to the range printed in the message before returning it.",
    )
    .closing(&["Note, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!"]),
    Code::new(
        "register-spill",
        "a pointer on the stack is overwritten or read in part",
        &[
            "attempt to corrupt spilled pointer on stack",
            "invalid size of register spill",
            "invalid size of register fill",
            "cannot spill pointers to stack into stack frame of the caller",
            "spilled ptr in range of var-offset stack write; insn {}, ptr off: {}",
            "cannot return stack pointer to the caller",
        ],
        "A pointer saved on the stack takes a whole aligned 8-byte slot. Writing into the slot, reading part of it, or letting it outlive its frame would make the pointer unknown.",
        "Read and write the slot as 8 bytes; keep data written at a variable offset in an array of its own; do not hand out addresses of a function's own stack.",
    ),
    Code::new(
        "register-atomic",
        "an atomic operation on memory that does not allow it",
        &[
"BPF_ST stores into R{} {} is not allowed", "BPF_XADD {} R{} {} is not allowed", "BPF_XADD stores into R{} {} is not allowed","BPF_ATOMIC {} R{} {} is not allowed"],
        "Atomic operations are allowed on map values, the stack, arenas and allocated memory; accesses to contexts, packets and kernel objects are rewritten or checked in ways that an atomic operation would escape.",
        "Use a plain read and write there, or keep the counter in a map.",
    ),
    Code::new(
        "register-user-memory",
        "user or per-CPU memory is read like kernel memory",
        &[
            "R{} is ptr_{} access user memory: off={}",
            "R{} is ptr_{} access percpu memory: off={}",
        ],
        "The pointer is tagged as a user-space or per-CPU address; following it directly would read the wrong memory or fault.",
        "Use bpf_probe_read_user() or bpf_copy_from_user() for user memory, bpf_per_cpu_ptr() or bpf_this_cpu_ptr() for per-CPU data.",
    ),
    Code::new(
        "register-kptr-type",
        "a pointer of another type than the kptr field holds",
        &["invalid kptr access, R{} type={} expected={}"],
        "A kptr field takes pointers of exactly the type it is declared with.",
        "Declare the field with the type you store, or store an object of the declared type.",
    ),
    Code::new(
        "register-arena",
        "arena addresses used in a way the kernel does not allow",
        &[
"arena argument of {} requires a program with an associated arena", "R{} arena pointer cannot be a stack argument", "R{} arena pointer requires a program with an associated arena", "same insn cannot be used with and without arena pointer",
            "arg#{} is not a pointer to arena or scalar",
            "addr_space_cast insn can only convert between address space 1 and 0",
            "addr_space_cast insn can only be used in a program that has an associated arena",
            "sign extending loads from arena are not supported yet",
        ],
        "Arena pointers live in an address space of their own; the instructions that convert them need an arena map in the program.",
        "Refer to the arena map in the program, and mark arena pointers `__arena` so that the compiler converts them.",
    ),
];
