//! What compiled code and its host agree on.
//!
//! *Entering.*  [`crate::Glue::entry`] is the offset of a C function
//! `u64 enter(const u64 args[5], const void *target)`: it saves every register the C convention
//! wants kept, notes the stack pointer in the run context, loads r1 to r5 and calls `target`,
//! the address of a function of the program.  It nests: a helper may enter again for a callback.
//!
//! *Calling out.*  All helpers, kernel functions and packet loads go through one C function
//! whose address is in the run context: `u64 dispatch(r1, r2, r3, r4, r5, u64 site)`, where
//! `site` is an index into [`crate::Compiled::sites`].  A stub shared by all sites calls it and then looks at
//! [`STOP`]: if it is not zero the stub restores the stack pointer noted last and returns
//! to whoever entered, who looks at it too.  No site checks anything.
//!
//! *Tail calls* are such a call; the answer is 0 (go on behind it) or the address to jump to once
//! the frame is gone, with r1 taken from [`TAIL_CTX`].  From the entry function it is the
//! callee's first function; from another one [`crate::Glue::keeping_entry`], which keeps r6 to r9.
//!
//! *Packet loads* pass the size in bytes and the offset; a set bit 63 in the answer leaves
//! the function with 0.
//!
//! All this is code that programs share: [`crate::Glue`] is made once for a run context, the host
//! puts the addresses of its parts into the context, and programs hold none of it.
//!
//! The run context is memory of the host whose address is a number in the code; these are
//! the offsets of its 64-bit fields.

/// Stack pointer of the latest entry.
pub const SAVED_SP: i32 = 0;
/// Address of the dispatch function.
pub const DISPATCH: i32 = 8;
/// Not zero: leave.
pub const STOP: i32 = 16;
/// First function of the program jumped to, for [`crate::Glue::keeping_entry`].
pub const TAIL_TARGET: i32 = 24;
/// r1 of the program jumped to.
pub const TAIL_CTX: i32 = 32;
/// Return address in the code of the call that is running, to tell the instruction.
pub const CALLER: i32 = 40;
/// Value of the register of a call by register.
pub const CALL_REG: i32 = 48;
/// Address that offset 0 of the arena has in this process, minus nothing: 32-bit arena pointers are added to it.
pub const ARENA: i32 = 56;
/// Upper half of user-space arena pointers, lower half zero.
pub const ARENA_USER: i32 = 64;
/// Addresses of code that the programs of a run context share ([`crate::Glue`]).
pub const LEAVE: i32 = 72;
pub const CALL_OUT: i32 = 80;
pub const TAIL_FROM_ENTRY: i32 = 88;
pub const TAIL: i32 = 96;
/// Times `may_goto` may still go on, a signed number for each function in the order of their slots:
/// no function is active twice.  A function sets its own when it is entered.
pub const MAY_GOTO: i32 = 104;
/// `BPF_MAX_SUBPROGS`; functions beyond share the last number.
pub const MAY_GOTO_COUNT: i32 = 256;
/// What a function's number is when it is entered (`BPF_MAX_LOOPS`).
pub const MAY_GOTO_BUDGET: i32 = 8 * 1024 * 1024;
/// Bytes of the fields above; the host may keep its own behind them.
pub const SIZE: i32 = MAY_GOTO + 8 * MAY_GOTO_COUNT;

/// C convention of the host on x86-64; arm64 has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Convention {
    SysV,
    Windows,
}
