//! The algorithms in which releases differ, chosen once when an analysis starts.

use bpfassay_spec::Features;

/// How the kernel finds out what is read later.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Liveness {
    /// By data flow over the instructions (6.18).
    #[default]
    Static,
    /// By marks that reads leave on the states they came from; `static_regs`: registers by data flow all the
    /// same, marks only shown (6.15).
    Marks { static_regs: bool },
}

/// How the kernel knows which finished states belong to a loop that is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Loops {
    /// Strongly connected components (6.17).
    #[default]
    Components,
    /// The topmost state of the loop, kept in each state (6.8).
    Entries,
}

/// How far precision is tracked back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Precision {
    /// Through calls, with every wanted register and slot at once (6.4).
    #[default]
    Chain,
    /// Within one frame, one register or slot at a time.
    Frame,
}

/// The choices for one kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Era {
    pub liveness: Liveness,
    pub loops: Loops,
    pub precision: Precision,
}

impl Era {
    pub fn of(features: &Features) -> Era {
        let liveness = if features.reads_by_instruction {
            Liveness::Static
        } else {
            Liveness::Marks { static_regs: features.static_reg_liveness }
        };
        let loops = if features.loops_by_component { Loops::Components } else { Loops::Entries };
        let precision =
            if features.precision_crosses_calls { Precision::Chain } else { Precision::Frame };
        Era { liveness, loops, precision }
    }

    /// Reads and writes leave marks.
    #[inline]
    pub fn keeps_marks(self) -> bool {
        self.liveness != Liveness::Static
    }

    /// Registers are alive by data flow over the instructions.
    #[inline]
    pub fn has_static_regs(self) -> bool {
        self.liveness != Liveness::Marks { static_regs: false }
    }
}
