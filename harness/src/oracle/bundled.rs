//! The bundled kernel profile as examples and tests use it: objects loaded, verified and run as on 6.18.44.
//!
//! Knows no engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_object::{load, Fact, Object, Target};
use bpfassay_spec::profile::Profile;
use bpfassay_spec::Kernel;
use bpfassay_verifier::Config;

use crate::runtime::world::World;

/// The profile's name among the bundled ones.
const NAME: &str = "6.18.44";

/// A kernel to load programs for.
pub struct Bundled {
    profile: Profile,
    kernel: Kernel,
    btf: Arc<Btf>,
}

/// Folder of the bundled objects, profiles and answers; only in a source tree.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

impl Bundled {
    /// With the profile's own types, which name what the corpus needs; or, live, with all of the
    /// running kernel's, whose functions then have the numbers that kernel knows.
    pub fn read(is_live: bool) -> Result<Bundled, String> {
        let file = corpus().join("profile").join(format!("{NAME}.json"));
        let text =
            std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let profile = Profile::parse(&text).map_err(|e| e.to_string())?;
        let blob = profile.vmlinux_btf.as_ref().ok_or("a profile without types")?;
        let bytes = match is_live {
            true => std::fs::read("/sys/kernel/btf/vmlinux").map_err(|e| e.to_string())?,
            false => blob.bytes().map_err(|e| e.to_string())?,
        };
        let btf = Arc::new(Btf::parse(&bytes, None).map_err(|e| e.to_string())?);
        let kernel = profile.kernel().map_err(|e| e.to_string())?;
        Ok(Bundled { profile, kernel, btf })
    }

    /// As a kernel that verifies also the programs this one refuses unseen: `fentry` and its like.
    pub fn refusing_nothing(mut self) -> Bundled {
        self.kernel.refused.clear();
        self
    }

    pub fn load(&self, bytes: &[u8], name: &str) -> Result<Object, String> {
        self.load_against(&self.btf, bytes, name)
    }

    /// As [`Bundled::load`], with relocations against other types than the kernel's.
    pub fn load_against(&self, btf: &Arc<Btf>, bytes: &[u8], name: &str) -> Result<Object, String> {
        let config = &self.profile.config;
        let kconfig = |option: &str| {
            let found = config.get(option.strip_prefix("CONFIG_").unwrap_or(option));
            found.map_or(Fact::Absent, |v| Fact::Known(v.clone()))
        };
        let target = Target {
            kconfig: &kconfig,
            kernel_version: self.profile.version_code().unwrap_or(0),
            ..Target::of_btf(btf, 0)
        };
        load(bytes, name, &target).map_err(|e| e.to_string())
    }

    /// What the verifier is to know.
    pub fn config(&self) -> Config<'_> {
        Config { vmlinux: Some(self.btf.clone()), ..Config::new(&self.kernel) }
    }

    pub fn world(&self) -> World {
        let mut world = World::seeded(1);
        world.kernel.vmlinux = Some(self.btf.clone());
        world
    }
}
