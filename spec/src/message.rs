//! What the verifier says where its words differ by release.
//!
//! Rows come from `data/messages.toml`.

use crate::release::{Release, Span};

pub use crate::generated::messages::{Words, MESSAGES};

/// A message in all its wordings.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// What kind of rule was broken: the first word of its codes.
    pub category: &'static str,
    pub texts: &'static [Text],
}

/// One wording.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// With `{name}` for what is filled in.
    pub text: &'static str,
    /// Stable; the same in all wordings but those that other messages have too.
    pub code: &'static str,
    /// The releases that say it so.
    pub(crate) span: Span,
}

impl Message {
    /// The text of a release; empty where it says nothing.
    pub(crate) fn text(&self, at: Release) -> &'static str {
        self.texts.iter().find(|t| t.span.holds(at)).map_or("", |t| t.text)
    }
}
