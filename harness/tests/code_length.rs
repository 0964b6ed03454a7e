//! The arm64 code of the corpus is no longer than an arm64 kernel's.
//!
//! `code_length_arm64.truth` has a line for each program of the corpus that Linux 6.18.15 for arm64
//! (Debian's 6.18.15-1~bpo13+1, cloud configuration, in a virtual machine) loaded, with the length of its
//! machine code (`jited_prog_len`).  `jit_lengths --batch` writes the programs to ask such a kernel about; the file
//! is also what that example's `--kernel-lengths` takes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpfassay_harness::native::emit::{emit, Processor};
use bpfassay_harness::trust::Trusted;
use bpfassay_object::btf::Btf;
use bpfassay_object::{load, Fact, Target};
use bpfassay_spec::profile::Profile;
use bpfassay_spec::Kernel;
use bpfassay_verifier::Config;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// The kernel's lengths by `object:program`.
fn recorded() -> BTreeMap<&'static str, usize> {
    let row = |line: &'static str| {
        let (name, bytes) = line.split_once('\t').expect("two columns");
        (name, bytes.parse().expect("a number"))
    };
    include_str!("code_length_arm64.truth").lines().map(row).collect()
}

#[test]
fn arm64_code_is_no_longer_than_the_kernels() {
    let text = std::fs::read_to_string(corpus().join("profile/6.18.44.json")).unwrap();
    let profile = Profile::parse(&text).unwrap();
    let bytes = profile.vmlinux_btf.as_ref().unwrap().bytes().unwrap();
    let btf = Arc::new(Btf::parse(&bytes, None).unwrap());
    let options = &profile.config;
    let kconfig = |option: &str| {
        let found = options.get(option.strip_prefix("CONFIG_").unwrap_or(option));
        found.map_or(Fact::Absent, |v| Fact::Known(v.clone()))
    };
    let version = profile.version_code().unwrap();
    let target = Target { kconfig: &kconfig, kernel_version: version, ..Target::of_btf(&btf, 0) };
    let kernel = Kernel::by_name("6.18").unwrap();
    let config = Config { vmlinux: Some(btf.clone()), ..Config::new(&kernel) };
    let recorded = recorded();
    let (mut programs, mut ours, mut theirs) = (0, 0, 0);
    for label in bpfassay_corpus::truth::list(&corpus().join("truth/6.18.44-fc-v595")).unwrap() {
        let bytes = std::fs::read(corpus().join("objects").join(&label)).unwrap();
        let object = load(&bytes, &label, &target).unwrap();
        for entry in &object.programs {
            let Some(kernels) = recorded.get(format!("{label}:{}", entry.name).as_str()) else {
                continue;
            };
            let Ok(program) = &entry.program else { continue };
            let Ok(trusted) = Trusted::verify(program, &config) else { continue };
            let code = emit(program, trusted.access(), Processor::Arm64).expect("compiles").code;
            programs += 1;
            ours += code.len();
            theirs += kernels;
        }
    }
    assert!(programs > 500, "{programs} programs");
    // Three quarters is what keeps a change for the worse from going unseen.
    assert!(ours * 4 <= theirs * 3, "ours {ours}, the kernel's {theirs}, of {programs} programs");
}
