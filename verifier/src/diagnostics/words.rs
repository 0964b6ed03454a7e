//! The texts of reports; `{name}` stands for a value.

/// One kind of report.
#[derive(Clone, Copy, Debug)]
pub struct Wording {
    pub category: &'static str,
    pub problem: &'static str,
    pub reason: &'static str,
    /// Stands at the instruction; the problem where it is empty.
    pub error: &'static str,
    pub suggestion: &'static str,
}

const REGISTER: &str = "Register Type Safety";
const MEMORY: &str = "Memory Safety";
const RESOURCE: &str = "Resource Lifetime Safety";
const CALL: &str = "Call Type Safety";
const CONTEXT: &str = "Execution Context Safety";
const STRUCTURE: &str = "Program Structure";

const fn plain(
    category: &'static str,
    problem: &'static str,
    reason: &'static str,
    suggestion: &'static str,
) -> Wording {
    Wording { category, problem, reason, error: "", suggestion }
}

const fn marked(
    category: &'static str,
    problem: &'static str,
    reason: &'static str,
    error: &'static str,
    suggestion: &'static str,
) -> Wording {
    Wording { category, problem, reason, error, suggestion }
}

pub const POLICY: Wording = marked(
    "Policy",
    "operation is not allowed",
    "The {operation} is not allowed: {reason}.",
    "policy check failed for {operation}",
    "",
);
pub const CALL_ARGUMENT: Wording = marked(
    CALL,
    "invalid call argument",
    "The {arg} to {call} does not satisfy the verifier contract: {reason}.",
    "invalid {arg} for {call}",
    "",
);

const NOT_IN_CONTEXT: &str = "operation is not allowed in this context";
pub const SLEEPS_IN_REGION: Wording = marked(
    CONTEXT,
    NOT_IN_CONTEXT,
    "The operation {operation} cannot be used in {context} because {why}. This path is still inside {active}.",
    "{operation} is not allowed in {context}",
    "",
);
pub const SLEEPS_IN_PROGRAM: Wording = marked(
    CONTEXT,
    NOT_IN_CONTEXT,
    "The operation {operation} cannot be used in {context}.",
    "{operation} is not allowed in {context}",
    "",
);
pub const INSIDE_REGION: Wording = marked(
    CONTEXT,
    NOT_IN_CONTEXT,
    "The operation {operation} cannot be used while this path is still inside {active}. Leave the region before this operation.",
    "{operation} is not allowed before leaving {context}",
    "",
);
pub const OUTSIDE_REGION: Wording = marked(
    CONTEXT,
    "required context is not active",
    "The operation {operation} requires an active {context}, but this path is outside one.",
    "{operation} requires {context}",
    "",
);
pub const UNMATCHED_EXIT: Wording = marked(
    CONTEXT,
    "unmatched context exit",
    "The operation {operation} tries to leave {context}, but this path has no active {context} to leave. The current depth is 0.",
    "{operation} has no matching enter on this path",
    "",
);

const UNREADABLE_REGISTER: &str = "unreadable register";
pub const INVALIDATED: Wording = marked(
    REGISTER,
    UNREADABLE_REGISTER,
    "R{reg} is not readable here. A previous operation invalidated this register, so the verifier cannot use it as an input.",
    "R{reg} is not readable",
    "Avoid using the register after it is invalidated, or initialize it again before this instruction.",
);
pub const NEVER_INITIALIZED: Wording = marked(
    REGISTER,
    UNREADABLE_REGISTER,
    "R{reg} has never been initialized on this path, so the verifier cannot use it as an input.",
    "R{reg} is not readable",
    "Initialize R{reg} on every path before this instruction.",
);
pub const UNREADABLE: Wording = marked(
    REGISTER,
    UNREADABLE_REGISTER,
    "R{reg} is not readable here. It may never have been initialized, or an earlier operation may have invalidated it.",
    "R{reg} is not readable",
    "Initialize the register on every path, or initialize it again after any operation that invalidates it.",
);

const DEREFERENCE: &str = "invalid dereference";
const RELOAD: &str = "Preserve a pointer-valued register where needed, or reload and revalidate the pointer after scalar arithmetic, helper calls, or other operations that can invalidate it.";
pub const DEREF_SCALAR: Wording = marked(
    REGISTER,
    DEREFERENCE,
    "R{reg} is an integer scalar here, not a pointer to memory.",
    "invalid dereference of R{reg} ({type})",
    RELOAD,
);
pub const DEREF_NULLABLE: Wording = marked(
    REGISTER,
    DEREFERENCE,
    "R{reg} may be NULL here ({type}). The program could dereference NULL on this path, so the verifier cannot prove this access is safe.",
    "invalid dereference of R{reg} ({type})",
    "Add a NULL check before the access and dereference the pointer only on the non-NULL path.",
);
pub const DEREF_MODIFIED: Wording = marked(
    REGISTER,
    DEREFERENCE,
    "R{reg} has offset {off} here, but this pointer type must be dereferenced in its original form.",
    "dereference requires the original {type} pointer",
    "Preserve the original pointer in another register, or use only offsets this pointer type permits before dereferencing it.",
);
pub const DEREF_INVALID: Wording = marked(
    REGISTER,
    DEREFERENCE,
    "R{reg} has type {type} here, which is not valid for this memory access.",
    "invalid dereference of R{reg} ({type})",
    RELOAD,
);

pub const NARROW_ARITHMETIC: Wording = plain(
    REGISTER,
    "32-bit pointer arithmetic",
    "R{reg} holds {type}. 32-bit ALU operations on pointers discard pointer tracking, so the verifier cannot keep the result as a safe pointer.",
    "Use a 64-bit ALU instruction with an allowed, bounded scalar offset.",
);
pub const NULLABLE_ARITHMETIC: Wording = plain(
    REGISTER,
    "pointer arithmetic before NULL check",
    "R{reg} may be NULL ({exact}). Pointer arithmetic is allowed only after the program proves the pointer is non-NULL on this path.",
    "Make sure that a NULL check precedes any arithmetic performed on the pointer.",
);
pub const FIXED_POINTER: Wording = plain(
    REGISTER,
    "pointer arithmetic is not allowed",
    "R{reg} holds {type}. This pointer kind does not allow offset arithmetic.",
    "Do not change this pointer's offset; use it only in operations accepted for its kind.",
);
const UNSAFE_OFFSET: &str = "pointer offset is not safe";
pub const SCALAR_TOO_FAR: Wording = plain(
    REGISTER,
    UNSAFE_OFFSET,
    "The scalar offset used with R{reg} is unbounded or outside the verifier's safe pointer-offset range [-{limit}, {limit}].",
    "Clamp or bounds-check the scalar offset before applying it to the pointer.",
);
pub const POINTER_TOO_FAR: Wording = plain(
    REGISTER,
    UNSAFE_OFFSET,
    "R{reg} already has an offset outside the verifier's safe range [-{limit}, {limit}] for {type}.",
    "Keep the base pointer within the verifier's allowed offset range before applying more arithmetic.",
);
pub const RESULT_TOO_FAR: Wording = plain(
    REGISTER,
    UNSAFE_OFFSET,
    "After this arithmetic, R{dst} would be outside the verifier's safe offset range [-{limit}, {limit}] for {type}.",
    "Tighten the scalar bounds before the arithmetic so the resulting pointer remains within the allowed range.",
);
pub const POINTER_SUBTRACTED: Wording = plain(
    REGISTER,
    "pointer subtracted from scalar",
    "This operation subtracts pointer register R{reg} from scalar register R{dst}. The verifier only tracks pointer-minus-scalar arithmetic for allowed pointer types.",
    "Keep the pointer as the base; only add or subtract bounded scalars when permitted.",
);
pub const STACK_SUBTRACTION: Wording = plain(
    REGISTER,
    "subtraction from stack pointer",
    "R{reg} is a stack pointer. The verifier does not allow BPF_SUB to move stack pointers.",
    "Use addition from R10 to form stack addresses within the tracked stack frame.",
);
pub const POINTER_BITS: Wording = plain(
    REGISTER,
    "bitwise operation on pointer",
    "R{reg} holds {type}. Bitwise operator {operator} would destroy the pointer value the verifier is tracking.",
    "Do bitwise operations on scalar values, not on pointer-valued registers.",
);
pub const POINTER_OPERATOR: Wording = plain(
    REGISTER,
    "invalid pointer arithmetic operator",
    "R{reg} holds {type}. Operator {operator} is not one of the limited pointer arithmetic operations the verifier can track.",
    "Use only verifier-supported addition or subtraction with a bounded scalar offset, or perform this operation on a scalar value.",
);

pub const OUTSIDE_BOUNDS: Wording = marked(
    MEMORY,
    "access outside bounds",
    "The verifier cannot prove offset + access_size <= object_size. Here, {proof}. R{reg} is {type}; offset is {offset}; access_size is {size}; object_size is {mem_size}.",
    "access may be outside object bounds",
    "Add or adjust a bounds check that proves offset + access_size stays within the object.",
);
pub const SPILL_CORRUPTED: Wording = plain(
    MEMORY,
    "stack spill corruption",
    "This store writes {size} bytes at stack offset {off} into a stack slot that currently holds a spilled pointer. Partial writes to spilled pointers are rejected because they can corrupt pointer metadata and leak kernel pointers.",
    "Write the full 8-byte spilled pointer slot, or use a separate stack slot for scalar data before overwriting only part of it.",
);
pub const UNINIT_STACK: Wording = plain(
    MEMORY,
    "uninitialized stack read",
    "This rejected read uses {size} bytes at stack offset {off}, but byte {byte} in that range is uninitialized on this path. Programs loaded with CAP_PERFMON can be allowed to read uninitialized stack bytes, but this program is being rejected without that allowance.",
    "Initialize every byte in the stack range before reading it, adjust the offset and size so the read covers only initialized bytes, or load with CAP_PERFMON if uninitialized stack reads are intended.",
);
pub const VARIABLE_STACK: Wording = plain(
    MEMORY,
    "variable stack access",
    "The helper would access the stack through variable offset {var_off} plus fixed offset {off} and size {size}. Helper stack memory arguments require a constant stack offset and a precise initialized range.",
    "Use a fixed stack offset for helper memory arguments, or copy the needed bytes into a fixed stack slot first.",
);

pub const LEAK: Wording = marked(
    RESOURCE,
    "unreleased resource",
    "Owned resource (id={id}) was acquired at instruction {insn} and still needs to be released before this exit path.",
    "owned resource (id={id}) still needs release",
    "Release or transfer ownership of the acquired resource on every path before the program exits.",
);
pub const DYNPTR_OVERWRITTEN: Wording = plain(
    RESOURCE,
    "referenced dynptr overwrite",
    "This stack slot contains a dynptr that owns or protects a referenced resource. Overwriting the last dynptr for that resource would lose the verifier-tracked release path.",
    "Release or clone the dynptr so another live dynptr still tracks the referenced resource before overwriting this stack slot.",
);
pub const DYNPTR_TAKEN: Wording = plain(
    RESOURCE,
    "dynptr is already initialized",
    "This kfunc constructs a dynptr and requires an uninitialized dynptr stack slot, but the selected slot already holds dynptr state.",
    "Use a fresh stack dynptr slot, or release/destroy the existing dynptr before reusing the slot.",
);
pub const CONST_DYNPTR_RELEASED: Wording = plain(
    RESOURCE,
    "const dynptr release",
    "This release operation was given a const dynptr. Const dynptr values are verifier-provided views and cannot be released by the program.",
    "Release only mutable dynptrs that the program initialized or reserved.",
);
pub const DYNPTR_UNINIT: Wording = plain(
    RESOURCE,
    "uninitialized dynptr use",
    "This operation requires an initialized dynptr, but the stack slot does not currently hold a valid dynptr on this path.",
    "Initialize the dynptr on every path before this call, and avoid overwriting or releasing it before this use.",
);
pub const ITER_TAKEN: Wording = plain(
    RESOURCE,
    "iterator is already initialized",
    "Iterator creation requires an uninitialized iterator stack object, but this stack range already contains iterator state.",
    "Use a fresh iterator stack slot, or destroy the existing iterator before reusing the slot.",
);
pub const ITER_UNINIT: Wording = plain(
    RESOURCE,
    "uninitialized iterator use",
    "This iterator operation requires an initialized iterator state object, but the stack range does not contain a live iterator on this path.",
    "Call the matching iterator new kfunc on every path before calling next or destroy, and do not destroy the iterator before this use.",
);
pub const IRQ_TAKEN: Wording = plain(
    RESOURCE,
    "IRQ flag is already initialized",
    "Saving IRQ state requires an uninitialized stack slot for the IRQ flag, but this slot already contains tracked IRQ flag state.",
    "Use a fresh stack slot for this save operation, or restore the existing IRQ flag before reusing the slot.",
);
pub const IRQ_UNINIT: Wording = plain(
    RESOURCE,
    "uninitialized IRQ flag restore",
    "Restoring IRQ state requires a stack slot that was initialized by a matching IRQ save operation on this path.",
    "Pass the same stack slot that was previously initialized by the matching IRQ save kfunc.",
);
pub const IRQ_FAMILY: Wording = plain(
    RESOURCE,
    "IRQ flag restore mismatch",
    "This IRQ flag was saved by {saved} IRQ kfuncs, but the restore call belongs to the {restored} IRQ kfunc family. Save and restore operations must use the same family.",
    "Restore the flag with the matching IRQ restore kfunc for the save operation that created it.",
);
pub const IRQ_ORDER: Wording = plain(
    RESOURCE,
    "IRQ flag restore out of order",
    "IRQ-disabled regions must be restored in last-in, first-out order, but this restore does not match the currently active IRQ flag.",
    "Restore nested IRQ flags in the reverse order they were saved.",
);
pub const NESTED_LOCK: Wording = plain(
    RESOURCE,
    "nested spin lock",
    "This path already holds a bpf_spin_lock. The verifier allows only one regular BPF spin lock at a time.",
    "Unlock the current bpf_spin_lock before taking another one.",
);
pub const RECURSIVE_LOCK: Wording = plain(
    RESOURCE,
    "recursive resource spin lock",
    "This path already holds the same resource spin lock. Taking it again would deadlock.",
    "Avoid reacquiring the same resource spin lock before it is unlocked.",
);
pub const UNLOCK_ALONE: Wording = plain(
    RESOURCE,
    "unlock without lock",
    "This unlock operation has no matching active lock on the current path.",
    "Take the matching lock before this unlock, or remove the unmatched unlock path.",
);
pub const UNLOCK_OTHER: Wording = plain(
    RESOURCE,
    "unlock of a different lock",
    "This unlock does not match any active lock with the same tracked identity on the current path.",
    "Unlock the same lock object that was most recently acquired.",
);
pub const UNLOCK_ORDER: Wording = plain(
    RESOURCE,
    "unlock out of order",
    "Locks must be released in last-in, first-out order, but this unlock does not match the currently active lock.",
    "Release nested locks in the reverse order they were acquired.",
);

const FAR_JUMP: &str = "jump out of range";
pub const JUMP_LEAVES_SUBPROG: Wording = plain(
    STRUCTURE,
    FAR_JUMP,
    "Instruction {from} jumps to instruction {to}, but subprogram {subprog} only contains instructions {first} through {last}. A branch target must stay inside the same subprogram.",
    "Keep branch targets within the same subprogram, or use an explicit subprogram call.",
);
pub const JUMP_LEAVES_PROGRAM: Wording = plain(
    STRUCTURE,
    FAR_JUMP,
    "Instruction {from} jumps to instruction {to}, but the program only contains instructions 0 through {last}.",
    "Keep branch targets inside the program.",
);
pub const FALLS_THROUGH: Wording = plain(
    STRUCTURE,
    "subprogram can fall through",
    "Subprogram {subprog} reaches its last instruction {insn} without an exit or jump, so control could continue into the next subprogram.",
    "End each subprogram with an exit or an explicit jump that keeps control flow inside the subprogram.",
);
pub const RECURSION: Wording = plain(
    STRUCTURE,
    "recursive subprogram call",
    "This bpf2bpf call would make the subprogram call graph recursive. The verifier requires a finite, acyclic call graph so it can bound stack depth and analysis.",
    "Rewrite the recursion as an explicit bounded loop, or split the logic so subprogram calls do not form a cycle.",
);
pub const BACK_EDGE: Wording = plain(
    STRUCTURE,
    "back-edge is not allowed",
    "Instruction {from} branches back to instruction {to}. This program is being rejected without the privilege needed for this back-edge.",
    "Load with privileges that allow this back-edge, or rewrite the control flow so it does not branch backward.",
);
pub const UNREACHABLE: Wording = plain(
    STRUCTURE,
    "unreachable instruction",
    "Instruction {insn} is not reachable from the program entry point.",
    "Remove the unreachable instruction or add valid control flow that reaches it.",
);
pub const MIDDLE_OF_LOAD: Wording = plain(
    STRUCTURE,
    "jump into ldimm64 immediate",
    "Control flow reaches the second half of the ldimm64 instruction pair that starts at instruction {insn}.",
    "Target the first instruction of the ldimm64 pair, or restructure the jump target.",
);
