//! The path that exploring stands on, kept for whoever wants to tell a rejection.

use std::collections::VecDeque;

use crate::domain::state::VerifierState;
use crate::env::Env;
use crate::log::state::state_text;
use crate::report::{Trail, TrailStep};

/// Steps kept, newest ones; a step costs a frame.
const LONGEST: usize = 16_384;

/// Instructions of the path, each with the state before it.
#[derive(Debug, Default)]
pub struct Recorder {
    steps: VecDeque<(u32, VerifierState)>,
    /// Steps before the first one kept.
    dropped: u64,
    /// Live registers before each instruction, a bit each.
    live: Vec<u16>,
}

impl Recorder {
    /// Steps since the path began.
    pub fn position(&self) -> u64 {
        self.dropped + self.steps.len() as u64
    }

    /// The instruction at `insn_idx` is about to be checked in `state`.
    pub fn enter(&mut self, insn_idx: u32, state: &VerifierState) {
        if self.steps.len() == LONGEST {
            self.steps.pop_front();
            self.dropped += 1;
        }
        self.steps.push_back((insn_idx, state.clone()));
    }

    /// Another branch is taken up, which left the path after `len` steps.
    pub fn go_back_to(&mut self, len: u64) {
        self.steps.truncate(len.saturating_sub(self.dropped) as usize);
        self.dropped = self.dropped.min(len);
    }

    pub fn set_live(&mut self, live: Vec<u16>) {
        self.live = live;
    }
}

/// Length of the recorded path; 0 without a recorder.
pub fn length(env: &Env<'_>) -> u64 {
    env.recorder.as_ref().map_or(0, |r| r.position())
}

/// The recorded path in the log's words.
pub fn trail(env: &mut Env<'_>) -> Trail {
    let Some(recorder) = env.recorder.take() else { return Trail::default() };
    let step = |(insn_idx, state): &(u32, VerifierState)| TrailStep {
        insn_idx: *insn_idx,
        frame: state.curframe(),
        state: state_text(env, state),
    };
    Trail {
        steps: recorder.steps.iter().map(step).collect(),
        dropped: recorder.dropped,
        live: recorder.live,
    }
}
