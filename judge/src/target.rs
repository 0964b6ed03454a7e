//! The kernel judged for, built from a profile; and objects loaded for it.
//!
//! Opens no file: whoever calls supplies what a profile names.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use bpfassay_builds::{Build, VMLINUX};
use bpfassay_object::btf::Btf;
use bpfassay_object::model::Program;
use bpfassay_object::{Fact, LoaderFeatures};
use bpfassay_spec::helper::older_probe_read;
use bpfassay_spec::profile::{BtfBlob, Profile};
use bpfassay_spec::{AttachType, Caps, Kernel, ProgType};
use bpfassay_verifier::Config;

use crate::maps::{judge_maps, MapReport};
use crate::program::Options;
use crate::report::ObjectError;
use crate::symbols::SymbolTable;

/// The kernel judged for: everything a verdict depends on beside the object.
#[derive(Clone)]
pub struct Target {
    pub kernel: Kernel,
    /// Name of the profile the rest came from.
    pub profile: String,
    pub vmlinux: Option<Arc<Btf>>,
    pub modules: Vec<(String, Arc<Btf>)>,
    /// SHA-256 of the vmlinux BTF, hexadecimal.
    pub btf_hash: Option<String>,
    /// Configuration values without `CONFIG_`, as in the kernel's file.
    pub kconfig: BTreeMap<String, String>,
    /// True if an option that is not there is unset, not unknown.
    pub kconfig_complete: bool,
    pub possible_cpus: u32,
    /// What the profile could not measure and derived from the release, a line each.
    pub assumed: Vec<String>,
    pub symbols: SymbolTable,
    /// `LINUX_VERSION_CODE`.
    pub version_code: u32,
    /// Capabilities of whoever loads.
    pub caps: Caps,
}

impl Target {
    /// A served build by its release or by what people type for it (`6.18`); None for a name that is not served.
    ///
    /// # Errors
    /// A build that is not whole, with what it lacks.
    pub fn served(name: &str) -> Result<Option<Target>, String> {
        let Some(build) = Build::find(name) else { return Ok(None) };
        let profile = build.profile()?;
        let modules = build.modules()?;
        let read = |file: &str| match file {
            VMLINUX => build.vmlinux(),
            module => modules
                .get(module)
                .cloned()
                .ok_or_else(|| format!("build {} is not whole: {module} is missing", build.name())),
        };
        let mut target = Target::of_profile(&profile, read)?;
        target.symbols.set_build(build);
        // What a served build's answers rest on is known from holding them against that kernel's own.
        target.assumed =
            Some(build.note()).filter(|n| !n.is_empty()).map(str::to_string).into_iter().collect();
        // What the machine refuses before it verifies is hardening of that machine, not of the build.
        target.kernel.refused.clear();
        Ok(Some(target))
    }

    /// What [`Target::served`] knows, as a list to read: `6.18.15, 6.18.44 (6.18), 6.18-arm64`.
    pub fn served_list() -> String {
        let one = |b: Build| match b.also() {
            [] => b.name().to_string(),
            [short, ..] if short.ends_with("-arm64") => (*short).to_string(),
            also => format!("{} ({})", b.name(), also.join(", ")),
        };
        Build::all().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Names that [`Target::served`] knows for a processor (`uname -m`), oldest release first.
    pub fn served_names(arch: &str) -> Vec<String> {
        Build::all().filter(|b| b.arch() == arch).map(|b| b.name().to_string()).collect()
    }

    /// What reports call the kernel: its exact release, with `-arm64` for that processor's.
    pub fn label(&self) -> String {
        match self.kernel.arch.as_str() {
            "aarch64" => format!("{}-arm64", self.kernel.release),
            _ => self.kernel.release.clone(),
        }
    }

    /// The verifier's configuration: quiet.
    pub fn config(&self) -> Config<'_> {
        Config {
            caps: self.caps,
            vmlinux: self.vmlinux.clone(),
            modules: self.modules.clone(),
            ..Config::new(&self.kernel)
        }
    }

    /// A profile; `read` gives the bytes of a BTF file it names.
    pub fn of_profile(
        profile: &Profile,
        read: impl Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Target, String> {
        let btf = |blob: &BtfBlob, base: Option<Arc<Btf>>| -> Result<Arc<Btf>, String> {
            let bytes = match &blob.file {
                Some(name) => read(name)?,
                None => blob.bytes().map_err(|e| e.to_string())?,
            };
            Btf::parse(&bytes, base).map(Arc::new).map_err(|e| format!("BTF {}: {e}", blob.name))
        };
        let vmlinux = profile.vmlinux_btf.as_ref().map(|b| btf(b, None)).transpose()?;
        let mut modules = Vec::new();
        for blob in &profile.module_btf {
            modules.push((blob.name.clone(), btf(blob, vmlinux.clone())?));
        }
        Ok(Target {
            kernel: profile.kernel().map_err(|e| e.to_string())?,
            profile: profile.name.clone(),
            btf_hash: profile.vmlinux_btf.as_ref().map(|b| b.sha256.clone()),
            vmlinux,
            modules,
            kconfig: profile.config.clone(),
            kconfig_complete: true,
            possible_cpus: profile.possible_cpus,
            assumed: profile.assumed.clone(),
            symbols: SymbolTable::of_profile(profile),
            version_code: profile.version_code().unwrap_or(0),
            caps: Caps::ALL,
        })
    }

    /// Takes the symbols of the running kernel, whose BTF this target has.
    pub fn set_running_symbols(&mut self, symbols: BTreeMap<String, u64>) {
        if symbols.is_empty() {
            return;
        }
        self.symbols = SymbolTable::of_running(symbols);
        self.kernel.absent_symbols = self.vmlinux.as_ref().map(|b| self.symbols.lacking(b));
    }

    /// Reads an object for this kernel; every program is linked as if loaded alone.
    pub fn load(&self, bytes: &[u8], name: &str) -> Result<Vec<Entry>, ObjectError> {
        bpfassay_object::Opened::parse(bytes, name)
            .map(|o| self.link(&o))
            .map_err(ObjectError::from)
    }

    /// As [`Target::load`], with what the object says of its maps' slots.
    pub fn load_object(
        &self,
        bytes: &[u8],
        name: &str,
    ) -> Result<bpfassay_object::Object, ObjectError> {
        bpfassay_object::Opened::parse(bytes, name)
            .map(|o| self.link_object(&o))
            .map_err(ObjectError::from)
    }

    /// Links an opened object for this kernel.
    pub fn link(&self, opened: &bpfassay_object::Opened) -> Vec<Entry> {
        self.entries(opened, self.link_object(opened))
    }

    /// What the loader made of an object; where this kernel lacks something, the served build that has it is named.
    fn entries(
        &self,
        opened: &bpfassay_object::Opened,
        object: bpfassay_object::Object,
    ) -> Vec<Entry> {
        let mut entries = own_entries(object);
        self.name_others(opened, &mut entries);
        entries
    }

    /// Names the served build that has what this kernel lacks of a program's functions, variables and types.
    fn name_others(&self, opened: &bpfassay_object::Opened, entries: &mut [Entry]) {
        let is_lacking = |e: &Entry| e.program.as_ref().is_err_and(ObjectError::is_of_the_kernel);
        if !entries.iter().any(is_lacking) {
            return;
        }
        let same_arch = |nth: &usize| others()[*nth].0.arch() == self.kernel.arch;
        for nth in (0..others().len()).filter(same_arch) {
            let Some(other) = other(nth).filter(|o| o.kernel.release != self.kernel.release) else {
                continue;
            };
            if !entries.iter().any(|e| is_lacking(e) && e.served_by.is_none()) {
                return;
            }
            let there = other.link_object(opened).programs;
            let pairs = entries.iter_mut().zip(&there).filter(|(_, t)| t.program.is_ok());
            for (entry, _) in pairs.filter(|(e, _)| is_lacking(e) && e.served_by.is_none()) {
                entry.served_by = Some(other.label());
            }
        }
    }

    /// As [`Target::load`], with the object's maps judged, and as the options say: by the rules of their loader, with
    /// their maps' attributes, with the types and attach targets of their programs.
    ///
    /// # Errors
    /// An object that cannot be read, or an override of a map that it lacks or that does not take it.
    pub fn load_with(
        &self,
        bytes: &[u8],
        name: &str,
        options: &Options,
    ) -> Result<Linked, ObjectError> {
        Ok(self.link_with_maps(&open(bytes, name, options)?))
    }

    /// As [`Target::link`], with the object's maps judged.
    pub fn link_with_maps(&self, opened: &bpfassay_object::Opened) -> Linked {
        let object = self.link_object(opened);
        let maps = judge_maps(&object, self);
        Linked { entries: self.entries(opened, object), maps }
    }

    /// As [`Target::link_with_maps`], without looking which other kernel has what this one lacks.
    pub(crate) fn link_alone(&self, opened: &bpfassay_object::Opened) -> Linked {
        let object = self.link_object(opened);
        Linked { maps: judge_maps(&object, self), entries: own_entries(object) }
    }

    /// Links an opened object for this kernel, with what it says of its maps' slots.
    pub fn link_object(&self, opened: &bpfassay_object::Opened) -> bpfassay_object::Object {
        let kconfig = |option: &str| {
            let short = option.strip_prefix("CONFIG_").unwrap_or(option);
            match self.kconfig.get(short) {
                Some(value) => Fact::Known(value.clone()),
                None if self.kconfig_complete => Fact::Absent,
                None => Fact::Unknown,
            }
        };
        let target = bpfassay_object::Target {
            btf: self.vmlinux.as_ref(),
            modules: &self.modules,
            kernel_version: self.version_code,
            kconfig: &kconfig,
            symbols: &|name| self.symbols.address(name, self.vmlinux.as_ref()),
            possible_cpus: self.possible_cpus,
            features: LoaderFeatures {
                // libbpf puts a kprobe on the wrapper: without kprobes it finds none.
                syscall_wrapper: kconfig("KPROBE_EVENTS") != Fact::Absent,
                ..LoaderFeatures::default()
            },
        };
        let mut object = opened.link(&target);
        for program in object.programs.iter_mut().filter_map(|e| e.program.as_mut().ok()) {
            self.drop_for_privilege(program);
        }
        object
    }

    /// What a loader leaves out because whoever runs it may not hand it to the kernel: BTF without CAP_BPF, and
    /// attach types and newer helpers where they cannot be probed with a program of another type.
    pub fn drop_for_privilege(&self, program: &mut Program) {
        if !self.caps.bpf {
            (program.btf, program.func_info, program.line_info) = (None, Vec::new(), Vec::new());
        }
        if !(self.caps.bpf && self.caps.perfmon) {
            // Which of them a kernel has is probed with a program of `tracepoint`.
            for insn in program.insns.iter_mut().filter(|i| i.is_call() && i.src == 0) {
                insn.imm = older_probe_read(insn.imm);
            }
        }
        let probes = self.caps.bpf && self.caps.net_admin;
        let named = program.section.starts_with("cgroup_skb/");
        if !probes && named && program.prog_type == ProgType::CgroupSkb {
            program.expected_attach_type = Some(AttachType::CgroupInetIngress);
        }
    }
}

/// Reads an object once, for as many kernels as shall judge it, as the options say.
///
/// # Errors
/// As [`Target::load_with`].
pub fn open(
    bytes: &[u8],
    name: &str,
    options: &Options,
) -> Result<bpfassay_object::Opened, ObjectError> {
    let mut opened = bpfassay_object::Opened::parse_for(bytes, name, options.loader)?;
    for (name, to) in &options.program_overrides {
        opened.override_programs(name.as_deref(), to);
    }
    for (map, to) in &options.map_overrides {
        opened.override_map(map, to)?;
    }
    Ok(opened)
}

/// Every served build: release, what people type for it, where it was recorded, and its packages' paths below a Debian
/// mirror.
pub fn served_packages(
) -> impl Iterator<Item = (&'static str, &'static [&'static str], String, &'static [&'static str])>
{
    Build::all().map(|b| (b.name(), b.also(), b.origin(), b.packages()))
}

/// Every served build, for the one question what another kernel has.
/// Each is unpacked when it is first asked.
fn others() -> &'static [(Build, OnceLock<Option<Target>>)] {
    static OTHERS: OnceLock<Vec<(Build, OnceLock<Option<Target>>)>> = OnceLock::new();
    OTHERS.get_or_init(|| {
        let mut builds: Vec<Build> = Build::all().collect();
        builds.reverse();
        builds.into_iter().map(|b| (b, OnceLock::new())).collect()
    })
}

/// The `nth` build, newest release first.
fn other(nth: usize) -> Option<&'static Target> {
    let (build, target) = others().get(nth)?;
    target.get_or_init(|| Target::served(build.name()).ok().flatten()).as_ref()
}

fn own_entries(object: bpfassay_object::Object) -> Vec<Entry> {
    let entry = |e: bpfassay_object::Entry| Entry {
        name: e.name,
        section: e.section,
        served_by: None,
        program: e.program.map_err(ObjectError::from),
    };
    object.programs.into_iter().map(entry).collect()
}

/// An object linked for a kernel, and what becomes of its maps.
#[derive(Debug)]
pub struct Linked {
    pub entries: Vec<Entry>,
    pub maps: Vec<MapReport>,
}

/// One program of an object, or why libbpf would not hand it to a kernel.
#[derive(Debug)]
pub struct Entry {
    pub name: String,
    pub section: String,
    /// A served build that takes the program where this kernel lacks something.
    pub served_by: Option<String>,
    pub program: Result<Program, ObjectError>,
}

impl Entry {
    pub fn ok(&self) -> Option<&Program> {
        self.program.as_ref().ok()
    }
}
