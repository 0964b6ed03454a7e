//! The served build 6.18.44 as examples and tests use it: objects loaded, verified and run.
//!
//! Knows no engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_judge::Target;
use bpfassay_object::btf::Btf;
use bpfassay_object::Object;
use bpfassay_verifier::Config;

use crate::runtime::world::World;

/// Folder of the corpus's objects and answers; only in a source tree.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// The build that the corpus was recorded on, to load programs for.
pub struct Bundled {
    target: Target,
}

impl Bundled {
    /// With the build's own types; or, live, with the running kernel's, whose functions then have the
    /// numbers that kernel knows.
    pub fn read(is_live: bool) -> Result<Bundled, String> {
        let mut target = Target::served("6.18.44")?.ok_or("6.18.44 is not served")?;
        if is_live {
            let bytes = std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| e.to_string())?;
            target.vmlinux = Some(Arc::new(Btf::parse(&bytes, None).map_err(|e| e.to_string())?));
        }
        Ok(Bundled { target })
    }

    pub fn load(&self, bytes: &[u8], name: &str) -> Result<Object, String> {
        self.target.load_object(bytes, name).map_err(|e| e.message)
    }

    /// As [`Bundled::load`], with relocations against other types than the kernel's.
    pub fn load_against(&self, btf: &Arc<Btf>, bytes: &[u8], name: &str) -> Result<Object, String> {
        let target = Target { vmlinux: Some(btf.clone()), ..self.target.clone() };
        target.load_object(bytes, name).map_err(|e| e.message)
    }

    /// What the verifier is to know.
    pub fn config(&self) -> Config<'_> {
        self.target.config()
    }

    pub fn world(&self) -> World {
        let mut world = World::seeded(1);
        world.kernel.vmlinux = self.target.vmlinux.clone();
        world
    }
}
