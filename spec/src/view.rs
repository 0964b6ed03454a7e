//! A kernel's view of the tables: the rows that hold for its release.
//!
//! To find which row decides a verdict, a view may take single rows as another release has them.

use crate::release::{Release, Span};

/// What a dated row is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKind {
    /// The release has the helper.
    Helper,
    /// What the verifier knows of a helper beyond its prototype.
    HelperTrait,
    MapType,
    ProgType,
    /// Why a map is not created.
    MapRule,
    /// A named set of functions or types, or a member of one.
    Set,
    /// A rule on contexts or on who may call a helper.
    Rule,
}

impl RowKind {
    /// For people, as in `the helper bpf_loop`.
    pub fn as_str(self) -> &'static str {
        match self {
            RowKind::Helper => "helper",
            RowKind::HelperTrait => "trait of the helper",
            RowKind::MapType => "map type",
            RowKind::ProgType => "program type",
            RowKind::MapRule => "rule for maps of type",
            RowKind::Set => "kernel function in a set",
            RowKind::Rule => "rule",
        }
    }
}

/// A dated row of the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowId {
    pub kind: RowKind,
    /// Which; empty where rows have no names.
    pub name: &'static str,
    /// When it holds; tells rows of one name apart.
    pub span: Span,
}

/// Which rows hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    pub at: Release,
    /// Rows that are as this release has them.
    moved: Option<(Release, Vec<RowId>)>,
}

impl View {
    pub fn of(at: Release) -> View {
        View { at, moved: None }
    }

    /// The same view but for these rows, which are as another release has them.
    pub fn with(&self, other: Release, rows: Vec<RowId>) -> View {
        View { at: self.at, moved: Some((other, rows)) }
    }

    /// Whether the row holds.
    pub fn holds(&self, kind: RowKind, name: &'static str, span: &Span) -> bool {
        match &self.moved {
            Some((other, rows)) if rows.contains(&RowId { kind, name, span: *span }) => {
                span.holds(*other)
            }
            _ => span.holds(self.at),
        }
    }
}
