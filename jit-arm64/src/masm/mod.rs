//! Operations made of several encodings: one room for each family of [`bpfassay_jit::Target`].
//!
//! [`Arm64`] holds the code being written and what is known of the last
//! instruction, so that two may become one (shift pairs, store and load pairs).
//! Whatever is jumped to forgets that ([`Arm64::forget`]).

mod alu;
mod atomic;
pub(crate) mod control;
mod lookup;
mod memory;
mod stubs;

use bpfassay_isa::{Size, Width};
use bpfassay_jit::{CodeBuf, FuncFacts, Label};

use crate::enc::{wide, R};

/// What the processor is known to have, and where the run context lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Address of the run context ([`bpfassay_jit::abi`]).
    pub context: u64,
    /// Single-instruction atomics (`FEAT_LSE`, Armv8.1); without them, exclusive loops.
    pub lse: bool,
}

/// The instruction just written, where a following one may join it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    None,
    /// `lsl dst, src, #amount`.
    Lsl {
        width: Width,
        dst: R,
        src: R,
        amount: u32,
    },
    /// A store of a word or double word.
    Store {
        size: Size,
        rt: R,
        base: R,
        off: i32,
    },
    /// A load of a word or double word that cannot fault.
    Load {
        size: Size,
        rt: R,
        base: R,
        off: i32,
    },
    /// The upper 48 bits of this register are zero.
    Half {
        dst: R,
    },
}

/// Stubs that exist once they are called.
#[derive(Default)]
struct Stubs {
    leave: Option<Label>,
    /// By site.
    host: Vec<Option<Label>>,
    tail_from_entry: Option<Label>,
    tail: Option<Label>,
    return_zero: Option<Label>,
}

/// The arm64 backend.
pub struct Arm64 {
    pub(crate) buf: CodeBuf,
    config: Config,
    last: Last,
    last_end: usize,
    /// How far r10 lies above the stack pointer in the current function, where that is fixed.
    fp_above_sp: Option<i32>,
    frame: control::Frame,
    stubs: Stubs,
}

impl Arm64 {
    pub fn new(buf: CodeBuf, config: Config) -> Arm64 {
        Arm64 {
            buf,
            config,
            last: Last::None,
            last_end: 0,
            fp_above_sp: None,
            frame: control::Frame::of(&FuncFacts::default()),
            stubs: Stubs::default(),
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, word: u32) {
        self.buf.put_u32(word);
    }

    /// What the last instruction was, if nothing was written since.
    #[inline]
    pub(crate) fn last(&self) -> Last {
        if self.buf.pos() == self.last_end {
            self.last
        } else {
            Last::None
        }
    }

    /// Notes what was just written.
    #[inline]
    pub(crate) fn note(&mut self, last: Last) {
        self.last = last;
        self.last_end = self.buf.pos();
    }

    /// The next instruction stands alone.
    #[inline]
    pub(crate) fn forget(&mut self) {
        self.last = Last::None;
    }

    /// Sets a register to a constant.
    #[inline]
    pub(crate) fn constant(&mut self, rd: R, v: u64) {
        for word in wide::load(rd, v).words() {
            self.put(*word);
        }
    }
}

/// The part of `v` that an operation of this width sees.
#[inline]
pub(crate) fn cut(width: Width, v: i64) -> u64 {
    match width {
        Width::W32 => u64::from(v as u32),
        Width::W64 => v as u64,
    }
}
