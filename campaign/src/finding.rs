//! What an oracle saw.

use serde::{Deserialize, Serialize};

/// One disagreement, as the oracle that saw it describes it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The oracle's name.
    pub oracle: String,
    /// What kind of disagreement, in words that are the same for each finding of the kind.
    pub kind: String,
    /// Where: a form of instruction, not a number, so that equal causes fall together.
    pub place: String,
    /// For people.
    pub detail: String,
}

impl Finding {
    /// Findings with the same key have, most likely, one cause.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.oracle, self.kind, self.place)
    }

    /// A short name of the key for files.
    pub fn id(&self) -> String {
        let hash = self.key().bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{}-{hash:016x}", self.oracle)
    }
}
