//! Measures the reader on labelled texts: `measure LABELS FOLDER`.
//!
//! LABELS holds a row a text (name, code, rejecting instruction, root cause, class, address, with
//! tabs between), FOLDER the texts as `NAME.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use bpfassay_diag::read::read;
use bpfassay_diag::story::{Outcome, Story};

#[derive(Default)]
struct Score {
    right: usize,
    of: usize,
}

impl Score {
    fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = 100.0 * self.right as f64 / self.of.max(1) as f64;
        write!(f, "{}/{} ({percent:.0} %)", self.right, self.of)
    }
}

/// What was read: code or state, instruction, root cause, class.
struct Got {
    code: String,
    insn: Option<u32>,
    cause: Option<u32>,
    class: String,
}

/// The story with one of the codes wanted, else the last: a text may hold several.
fn got(bytes: Vec<u8>, want: &str) -> Got {
    let reading = read(bytes);
    let stories: Vec<Story> = reading.programs.iter().map(Story::of).collect();
    let rejected = || stories.iter().filter(|s| s.is_rejection());
    let wanted = |s: &&Story| s.code.is_some_and(|c| want.split(',').any(|w| w == c.name));
    if let Some(s) = rejected().rfind(wanted).or_else(|| rejected().next_back()) {
        return Got {
            code: s.code.map_or("-", |c| c.name).to_string(),
            insn: s.insn(),
            cause: s.cause.as_ref().map(|c| c.insn),
            class: s.class.map_or("-", |c| c.as_str()).to_string(),
        };
    }
    let plain = |code: &str, class: &str| Got {
        code: code.to_string(),
        insn: None,
        cause: None,
        class: class.to_string(),
    };
    if let Some(code) = reading.refusals.iter().find_map(|r| r.code) {
        return plain(code, "environment");
    }
    match stories.last().map(|s| s.outcome) {
        Some(Outcome::Accepted) => plain("accepted", "-"),
        Some(Outcome::Cut) => plain("cut", "-"),
        _ => plain("none", "-"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [labels, folder] = args.as_slice() else { panic!("measure LABELS FOLDER") };
    let labels = std::fs::read_to_string(labels).expect("labels");
    let (mut code, mut insn, mut cause, mut class) =
        (Score::default(), Score::default(), Score::default(), Score::default());
    let mut recall: BTreeMap<String, Score> = BTreeMap::new();
    let mut silent = 0;
    for row in labels.lines().filter(|l| !l.starts_with('#')) {
        let f: Vec<&str> = row.split('\t').collect();
        let path = Path::new(folder).join(format!("{}.txt", f[0]));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let g = got(bytes, f[1]);
        let number = |t: &str| t.parse::<u32>().ok();
        let right = f[1].split(',').any(|c| c == g.code);
        code.add(right);
        silent += usize::from(g.code == "-");
        let mut wrong = Vec::new();
        if !right {
            wrong.push(format!("code {} not {}", g.code, f[1]));
        }
        if let Some(want) = number(f[2]) {
            insn.add(g.insn == Some(want));
            if g.insn != Some(want) {
                wrong.push(format!("insn {:?} not {want}", g.insn));
            }
        }
        if let Some(want) = number(f[3]) {
            let near = g.cause.is_some_and(|c| c.abs_diff(want) <= 2);
            cause.add(near);
            if !near {
                wrong.push(format!("cause {:?} not {want}", g.cause));
            }
        }
        if f[4] != "-" {
            let right = g.class == f[4];
            class.add(right);
            recall.entry(f[4].to_string()).or_default().add(right);
            if !right {
                wrong.push(format!("class {} not {}", g.class, f[4]));
            }
        }
        if !wrong.is_empty() {
            println!("{}: {}", f[0], wrong.join("; "));
        }
    }
    println!("code {code}, of these {silent} without a code");
    println!("rejecting instruction {insn}\nroot cause within two {cause}\nclass {class}");
    let mean: f64 = recall.values().map(|s| s.right as f64 / s.of as f64).sum::<f64>()
        / recall.len().max(1) as f64;
    for (name, s) in &recall {
        println!("  {name} {s}");
    }
    println!("  mean recall {mean:.2}");
}
