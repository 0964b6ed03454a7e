//! `asm` reads what `disasm` prints: the same bytes for every program of the corpus, maps and subprograms kept.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bpfassay(args: &[&str]) -> Output {
    Command::new(program::path()).args(args).output().expect("the program runs")
}

fn objects(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => objects(&path, found),
            false => found.push(path),
        }
    }
}

#[test]
fn what_disasm_prints_assembles_to_the_same() {
    use bpfassay_judge::Target;

    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v4");
    let mut all = Vec::new();
    objects(&corpus, &mut all);
    all.sort();
    let target = Target::served("6.18").unwrap().expect("6.18 is served");
    let file = std::env::temp_dir().join(format!("bpfassay-asm-{}.txt", std::process::id()));
    let (mut programs, mut with_maps, mut with_calls) = (0, 0, 0);
    // Every fourth object, which is every kind.
    for object in all.iter().step_by(4) {
        let path = object.display().to_string();
        let bytes = fs::read(object).expect("an object");
        let Ok(entries) = target.load(&bytes, &path) else { continue };
        let printed = bpfassay(&["disasm", &path]);
        if !printed.status.success() {
            continue;
        }
        fs::write(&file, &printed.stdout).expect("a temporary file");
        for program in entries.iter().filter_map(|e| e.ok()) {
            let text = file.display().to_string();
            let out = bpfassay(&["asm", &text, "--prog", &program.name]);
            let said = String::from_utf8_lossy(&out.stderr);
            assert!(out.status.success(), "{path} {}: {said}", program.name);
            let expected: Vec<u8> = program.insns.iter().flat_map(|i| i.to_le_bytes()).collect();
            assert!(out.stdout == expected, "{path} {}: other bytes", program.name);
            programs += 1;
            with_maps += usize::from(!program.maps.is_empty());
            with_calls += usize::from(program.subprogs.len() > 1);
        }
    }
    let _ = fs::remove_file(&file);
    assert!(
        programs > 50 && with_maps > 20 && with_calls > 5,
        "{programs} {with_maps} {with_calls}"
    );
}
