//! Linux BPF facts as data: what a verifier, loader, runtime and wording all read.
//!
//! Knows no instructions and no verifier states; opens no file.

pub mod helper;
pub mod kernel;
pub mod types;
pub mod uapi;

pub use helper::HelperProto;
pub use kernel::{Features, Kernel};
pub use types::{ArgBase, ArgType, RegBase, RegType, RetBase, RetType, TypeFlags};
pub use uapi::{AttachType, MapType, ProgType};
