//! Read and write marks of registers and slots (`enum bpf_reg_liveness` and `parent` in `struct bpf_reg_state`),
//! as kernels before 6.18 keep them.
//!
//! They stand beside the registers, not in them: a register that is copied keeps the marks of its place.

use super::state::StateId;

/// What happened to a place since its state began, and what later states read of it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Live(u8);

impl Live {
    pub const READ32: Live = Live(1);
    pub const READ64: Live = Live(2);
    pub const WRITTEN: Live = Live(4);
    /// Final: the state was cleaned.
    pub const DONE: Live = Live(8);

    #[inline]
    pub fn has(self, mark: Live) -> bool {
        self.0 & mark.0 != 0
    }

    #[inline]
    pub fn add(&mut self, mark: Live) {
        self.0 |= mark.0;
    }

    /// The read marks alone.
    #[inline]
    pub fn reads(self) -> Live {
        Live(self.0 & 3)
    }

    #[inline]
    pub fn is_read(self) -> bool {
        self.0 & 3 != 0
    }

    /// Notes a read; a 64-bit one replaces a 32-bit one.  False if it says nothing new.
    pub fn note_read(&mut self, flag: Live) -> bool {
        if self.reads() == flag || self.has(Live::READ64) {
            return false;
        }
        self.0 |= flag.0;
        if flag == Live::READ64 {
            self.0 &= !Live::READ32.0;
        }
        true
    }
}

/// How the log shows marks: `_rwD` (`print_liveness`).
impl std::fmt::Display for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if *self == Live::default() {
            return Ok(());
        }
        f.write_str("_")?;
        let shown =
            [(self.is_read(), "r"), (self.has(Live::WRITTEN), "w"), (self.has(Live::DONE), "D")];
        shown.iter().filter(|s| s.0).try_for_each(|s| f.write_str(s.1))
    }
}

/// A register or slot of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum At {
    Reg(u8),
    Slot(u8),
}

/// The place of an explored state that a value came from (`parent`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Origin {
    pub state: StateId,
    pub frame: u8,
    pub at: At,
}

/// Marks of one place.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    pub live: Live,
    pub origin: Option<Origin>,
}

/// Marks of a frame; slots beyond the end have none.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marks {
    pub regs: [Mark; 11],
    slots: Vec<Mark>,
}

impl Marks {
    #[inline]
    pub fn get(&self, at: At) -> Mark {
        match at {
            At::Reg(r) => self.regs[r as usize],
            At::Slot(spi) => self.slots.get(spi as usize).copied().unwrap_or_default(),
        }
    }

    pub fn get_mut(&mut self, at: At) -> &mut Mark {
        match at {
            At::Reg(r) => &mut self.regs[r as usize],
            At::Slot(spi) => {
                let spi = spi as usize;
                if self.slots.len() <= spi {
                    self.slots.resize(spi + 1, Mark::default());
                }
                &mut self.slots[spi]
            }
        }
    }

    /// Every slot of a frame of `count` continues slot for slot in an explored state.
    pub fn connect_slots(&mut self, count: usize, state: StateId, frame: u8) {
        self.slots.clear();
        self.slots.extend((0..count as u8).map(|spi| Mark {
            live: Live::default(),
            origin: Some(Origin { state, frame, at: At::Slot(spi) }),
        }));
    }
}
