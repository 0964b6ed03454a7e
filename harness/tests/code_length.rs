//! The arm64 code of the corpus is no longer than an arm64 kernel's.
//!
//! `code_length_arm64.truth` has a line for each program of the corpus that Linux 6.18.15 for arm64
//! (Debian's 6.18.15-1~bpo13+1, cloud configuration, in a virtual machine) loaded, with the length of its
//! machine code (`jited_prog_len`).  `jit_lengths --batch` writes the programs to ask such a kernel about; the file
//! is also what that example's `--kernel-lengths` takes.

use std::collections::BTreeMap;

use bpfassay_harness::native::emit::{emit, Processor};
use bpfassay_harness::oracle::bundled::{corpus, Bundled};
use bpfassay_harness::trust::Trusted;

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
    let bundled = Bundled::read(false).unwrap();
    let config = bundled.config();
    let recorded = recorded();
    let (mut programs, mut ours, mut theirs) = (0, 0, 0);
    for label in bpfassay_corpus::truth::list(&corpus().join("truth/6.18.44")).unwrap() {
        let bytes = std::fs::read(corpus().join("objects").join(&label)).unwrap();
        let object = bundled.load(&bytes, &label).unwrap();
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
