//! Mutates logs and reads them: `mutate COUNT SEED FOLDER…`.
//!
//! Every file below the folders is a text, or several with `==== NAME` above each; those of at most
//! 2,000 bytes are used.  A text is changed in one to four places and told.  What may not happen: a
//! panic, a text that takes longer than a second, more than 300 MiB of memory (asked of Linux).
//! The exit status is 1 if one of them did; the text is then in `mutated-N.txt`.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bpfassay_diag::read::read;
use bpfassay_diag::story::{path, Story};

const LONGEST: usize = 2_000;
const SLOW: Duration = Duration::from_secs(1);
/// A text that has not been read after this long hangs.
const HANGS: Duration = Duration::from_secs(30);
const MOST_KIB: u64 = 300 * 1024;

/// What parsers trip over.
const WORDS: &[&str] = &[
    "18446744073709551615",
    "-9223372036854775808",
    "4294967296",
    "-1",
    "0x",
    "=",
    "(",
    ")",
    " type=",
    "R10",
    "R99",
    "fp-8=",
    "fp-18446744073709551608",
    "frame255: ",
    "from 5 to 5: ",
    "from 4294967295 to 0: safe\n",
    "; @ :\n",
    "off=-2147483648 size=2147483647 ",
    "Validating f() func#1...\n",
    "caller:\n",
    "\n",
    "\r\n",
    "\0",
    "\u{1b}[31m",
    "é",
    "\u{feff}",
    "{\"log\":\"",
    "\\n",
    "\"",
    "> ",
    "-- BEGIN PROG LOAD LOG --\n",
    "-- END PROG LOAD LOG --\n",
    "processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
    "R1 invalid mem access 'scalar'\n",
    "call pc+0",
    "(85) call bpf_map_lookup_elem#1",
    "(95) exit",
];

/// SplitMix64 by Steele, Lea and Flood.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

fn texts(folder: &Path, out: &mut Vec<Vec<u8>>) {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            texts(&path, out);
        } else if path.extension().is_some_and(|e| e == "txt" || e == "log") {
            let text = std::fs::read(&path).expect("text");
            let parts = String::from_utf8_lossy(&text).into_owned();
            out.extend(parts.split("==== ").map(|t| t.as_bytes().to_vec()));
        }
    }
}

/// Start and end of a line, drawn.
fn line(text: &[u8], draw: &mut Draw) -> (usize, usize) {
    let at = draw.below(text.len());
    let start = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    let end = text[at..].iter().position(|b| *b == b'\n').map_or(text.len(), |i| at + i + 1);
    (start, end)
}

fn mutate(text: &mut Vec<u8>, other: &[u8], draw: &mut Draw) {
    let at = draw.below(text.len() + 1);
    match draw.below(10) {
        0 if at < text.len() => text[at] = draw.next() as u8,
        1 if at < text.len() => text[at] ^= 1 << draw.below(8),
        2 => {
            let end = (at + 1 + draw.below(12)).min(text.len());
            text.drain(at..end);
        }
        3 => text.truncate(at),
        4 => {
            let (start, end) = line(text, draw);
            text.drain(start..end);
        }
        5 => {
            let (start, end) = line(text, draw);
            let copy = text[start..end].to_vec();
            let (to, _) = line(text, draw);
            text.splice(to..to, copy);
        }
        6 if !other.is_empty() => {
            let (start, end) = line(other, draw);
            let (to, _) = line(text, draw);
            text.splice(to..to, other[start..end].iter().copied());
        }
        7 => {
            // A number becomes another one.
            let digit = |b: &u8| b.is_ascii_digit();
            if let Some(start) = text[at..].iter().position(digit).map(|i| at + i) {
                let len = text[start..].iter().take_while(|b| digit(b)).count();
                let shift = draw.below(64);
                let number = (draw.next() >> shift).to_string();
                text.splice(start..start + len, number.bytes());
            }
        }
        _ => {
            let word = WORDS[draw.below(WORDS.len())];
            text.splice(at..at, word.bytes());
        }
    }
}

fn tell(text: Vec<u8>) -> usize {
    let reading = read(text);
    let told = |p| (Story::of(p), path(p));
    reading.programs.iter().map(|p| told(p).1.len()).sum()
}

/// Peak memory, KiB; None where the system does not say.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Ends the process if one text takes too long.
fn watch(done: &Arc<AtomicU64>, current: &Arc<Mutex<Vec<u8>>>) {
    let (done, current) = (Arc::clone(done), Arc::clone(current));
    std::thread::spawn(move || loop {
        let before = done.load(Ordering::Relaxed);
        std::thread::sleep(HANGS);
        if done.load(Ordering::Relaxed) == before {
            let text = current.lock().expect("lock");
            std::fs::write("mutated-hang.txt", &*text).expect("write");
            eprintln!("text {before} hangs: mutated-hang.txt");
            std::process::exit(1);
        }
    });
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [count, seed, folders @ ..] = args.as_slice() else {
        panic!("mutate COUNT SEED FOLDER…")
    };
    let count: u64 = count.parse().expect("count");
    let mut draw = Draw(seed.parse().expect("seed"));
    let mut pool = Vec::new();
    folders.iter().for_each(|f| texts(Path::new(f), &mut pool));
    pool.retain(|t| (40..=LONGEST).contains(&t.len()));
    assert!(!pool.is_empty(), "no text of at most {LONGEST} bytes");
    println!("{} texts", pool.len());
    let (done, current) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    watch(&done, &current);
    std::panic::set_hook(Box::new(|_| {}));
    let (mut panics, mut slow, mut slowest, mut bytes) = (0u64, 0u64, Duration::ZERO, 0u64);
    for n in 0..count {
        let mut text = pool[draw.below(pool.len())].clone();
        let other = draw.below(pool.len());
        for _ in 0..=draw.below(4) {
            mutate(&mut text, &pool[other], &mut draw);
        }
        bytes += text.len() as u64;
        current.lock().expect("lock").clone_from(&text);
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| tell(text)));
        let took = start.elapsed();
        slowest = slowest.max(took);
        done.store(n + 1, Ordering::Relaxed);
        let is_slow = took > SLOW;
        if outcome.is_err() || is_slow {
            std::fs::write(format!("mutated-{n}.txt"), &*current.lock().expect("lock"))
                .expect("write");
        }
        panics += u64::from(outcome.is_err());
        slow += u64::from(is_slow);
        if (n + 1) % 1_000_000 == 0 || n + 1 == count {
            println!(
                "{} texts, {bytes} bytes, {panics} panics, {slow} over a second, slowest {slowest:?}, peak {} KiB",
                n + 1,
                peak().map_or("unknown".to_string(), |k| k.to_string())
            );
        }
    }
    let over = peak().is_some_and(|k| k > MOST_KIB);
    std::process::exit(i32::from(panics + slow > 0 || over));
}
