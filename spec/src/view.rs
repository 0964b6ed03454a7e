//! A kernel's view of the tables: the rows that hold for its release.
//!
//! To find which row decides a verdict, a view may take single rows as another release has them.

use crate::generated::sets::SETS;
use crate::release::{Release, Span};
use crate::sets::NameSet;

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
    /// Who may call a helper.
    Caller,
    /// Who may call a kernel function.
    Kfunc,
    /// Access to a field of a context, or to all of it.
    Context,
    /// What programs of a type may do: its name and the column.
    Program,
    /// What is known of a tracepoint's arguments.
    Tracepoint,
}

/// A dated row of the tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RowId {
    pub kind: RowKind,
    /// Which.
    pub name: &'static str,
    /// When it holds; tells rows of one name apart.
    pub span: Span,
}

impl RowId {
    /// One clause for people: what the row is about.
    pub fn about(&self) -> String {
        let name = self.name;
        match self.kind {
            RowKind::Helper => format!("the helper {name}"),
            RowKind::HelperTrait => format!("what the verifier knows of the helper {name}"),
            RowKind::MapType => format!("the map type {name}"),
            RowKind::ProgType => format!("the program type {name}"),
            RowKind::MapRule => format!("which attributes a map of type {name} may have"),
            RowKind::Set => match lists_of(name, &self.span).as_slice() {
                [] => format!("the verifier's list {name}"),
                lists => format!("{name} in the verifier's list {}", lists.join(", ")),
            },
            RowKind::Caller if name.starts_with("bpf_") && !name.ends_with("_proto") => {
                format!("which programs may call the helper {name}")
            }
            RowKind::Caller => format!("which helpers programs may call ({name})"),
            RowKind::Kfunc => format!("which programs may call the kernel function {name}"),
            RowKind::Context => format!("how programs may access their context ({name})"),
            RowKind::Program => {
                let (prog_type, what) = name.split_once(' ').unwrap_or((name, ""));
                let what = match what {
                    "returns" => "what they may return",
                    "sleepable" => "whether they may sleep",
                    "sockmap" => "whether they may update maps of sockets",
                    "private_stack" => "whether they may get a private stack",
                    _ => "which types stand for their context",
                };
                format!("programs of type {prog_type}: {what}")
            }
            RowKind::Tracepoint => crate::tracing::about_arguments(name, &self.span),
        }
    }

    /// Subject of the kernel's commit, where known.
    pub fn commit(&self) -> Option<&'static str> {
        (self.kind == RowKind::Tracepoint)
            .then(|| crate::tracing::commit_of_arguments(self.name, &self.span))
            .flatten()
    }
}

/// Sets with a member of that name and history.
fn lists_of(name: &str, span: &Span) -> Vec<&'static str> {
    let has = |s: &&NameSet| s.members.iter().any(|m| m.name == name && m.span == *span);
    SETS.iter().filter(has).map(|s| s.name).collect()
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
