//! Linux BPF facts as data: what a verifier, loader, runtime and wording all read.
//!
//! Knows no instructions and no verifier states; opens no file.

pub mod callers;
pub mod ctx;
pub mod ctx_convert;
mod difference;
pub mod errno;
mod generated;
pub mod helper;
#[cfg(test)]
mod integrity;
pub mod jit;
pub mod kernel;
pub mod kfunc;
mod lsm;
pub mod map;
pub mod map_ops;
pub mod map_use;
mod map_words;
pub mod message;
pub mod profile;
pub mod prog;
pub mod release;
pub mod retval;
pub mod section;
mod sets;
mod tables;
mod tracing;
pub mod types;
pub mod uapi;
mod view;

pub use callers::{HelperTable, ProtoLookup};
pub use ctx::{AccessType, CtxAccess};
pub use difference::Difference;
pub use generated::{func, layouts};
pub use helper::{HelperProto, HelperTraits};
pub use jit::Jit;
pub use kernel::{Config, Feature, FeatureProbe, Features, Kernel, Limits};
pub use kfunc::{Kfunc, KfuncFlags};
pub use map::{MapInfo, MapRefusal, MapSpec, MapTopic};
pub use map_use::{MapLookup, MapUse};
pub use message::{Message, Words};
pub use profile::{Profile, ProfileError};
pub use prog::{Caps, CtxAlso, PacketAccess, ProgInfo, ProgKind, ReturnRule, RunInput, TestRun};
pub use release::{Change, Release, Span};
pub use section::{SectionDef, SECTION_DEFS};
pub use sets::KernelSet;
pub use tracing::{IterArgs, RawTpArg};
pub use types::{ArgBase, ArgType, RegBase, RegType, RetBase, RetType, TypeFlags};
pub use uapi::{AttachType, MapType, ProgType};
pub use view::{RowId, RowKind, View};
