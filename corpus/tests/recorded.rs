//! The recorded truth belongs to the objects beside it and says what the programs' names promise.

use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_corpus::truth::{list, Answer, ObjectTruth};

fn here(sub: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(sub)
}

/// Folders below `truth`, one per kernel release.
fn releases() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(here("truth")).expect("truth").map(|e| e.expect("entry").path()).collect();
    found.sort();
    found
}

fn objects(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            objects(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn every_object_has_truth_of_its_own_bytes() {
    let mut all = Vec::new();
    objects(&here("objects"), &mut all);
    assert!(all.len() >= 300, "{} objects", all.len());
    for release in releases() {
        assert_eq!(list(&release).expect("list").len(), all.len(), "{}", release.display());
        for path in &all {
            let label = path
                .strip_prefix(here("objects"))
                .expect("below objects")
                .to_string_lossy()
                .replace('\\', "/");
            let truth =
                ObjectTruth::read(&release, &label).unwrap_or_else(|e| panic!("{label}: {e}"));
            let bytes = fs::read(path).expect("object");
            assert_eq!(truth.hash, ObjectTruth::hash_of(&bytes), "{label}: record again");
            assert_eq!(truth.error, None, "{label}");
        }
    }
}

#[test]
fn the_kernel_rejects_what_is_named_bad_and_nothing_else() {
    let mut counts = (0, 0);
    for release in releases() {
        for label in list(&release).expect("list") {
            let truth =
                ObjectTruth::read(&release, &label).unwrap_or_else(|e| panic!("{label}: {e}"));
            for p in &truth.programs {
                let bad = p.name.ends_with("_bad");
                match p.answer {
                    Answer::Accepted if !bad => counts.0 += 1,
                    Answer::Rejected { .. } if bad => counts.1 += 1,
                    ref other => panic!("{label}: {}: {other:?}", p.name),
                }
                assert_eq!(p.message.is_some(), bad, "{label}: {}", p.name);
                assert!(p.stats.is_some(), "{label}: {}", p.name);
            }
        }
    }
    assert!(counts.0 >= 300 && counts.1 >= 100, "{counts:?}");
}
