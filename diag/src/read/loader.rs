//! The loader's words around a log: names of programs, marks, refusals of its own.

use crate::explain::{self, Category, Code};

/// What a line is that is not the verifier's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// A log begins below.
    Begin(Option<String>),
    /// A log ends above.
    End,
    /// A refusal, with its code if it says why.
    Refusal(Refusal),
    /// Nothing known.
    Nothing,
}

/// A loader's refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub text: String,
    /// The program it is about.
    pub name: Option<String>,
    /// Name of the code, if the line itself says what is wrong.
    pub code: Option<&'static str>,
}

/// Reads one line.
pub fn said(line: &str) -> Said {
    if let Some(mark) = mark(line) {
        return mark;
    }
    if line.len() > 1000 {
        return Said::Nothing;
    }
    let text = without_author(line);
    let code = explain::line(text).map(|(c, _)| c).filter(|c| is_loaders(c)).map(|c| c.name);
    let code = code.or_else(|| loose(text));
    if code.is_some() || is_refusal(text) {
        return Said::Refusal(Refusal { text: text.to_string(), name: name_in(line), code });
    }
    Said::Nothing
}

fn is_loaders(code: &Code) -> bool {
    code.category() == Category::Load
}

fn mark(line: &str) -> Option<Said> {
    let has = |w: &str| line.contains(w);
    if line.len() > 300 {
        return None;
    }
    if has("BEGIN") && (has("LOG --") || has("LOG ---")) {
        return Some(Said::Begin(name_in(line)));
    }
    if has("-- END ") && has(" LOG --") || has("-- END LOG --") {
        return Some(Said::End);
    }
    // Headings of this project's own output, and veristat's.
    let name = line.trim_start_matches('=');
    if line.starts_with("==") && name.starts_with(' ') {
        let name = name.trim().trim_end_matches('=').trim_end();
        let one = !name.is_empty() && !name.contains(' ');
        return one.then(|| Said::Begin(Some(name.to_string())));
    }
    if let Some(rest) = line.strip_prefix("PROCESSING ") {
        let (path, _) = rest.split_once(", DURATION")?;
        let name = path.rsplit('/').next()?;
        return Some(Said::Begin(Some(name.to_string())));
    }
    None
}

/// The line without the program that printed it.
fn without_author(line: &str) -> &str {
    const AUTHORS: &[&str] =
        &["libbpf: ", "Error: ", "error: ", "ERROR: ", "Exception: ", "panic: "];
    let mut text = line;
    while let Some(rest) = AUTHORS.iter().find_map(|a| text.strip_prefix(a)) {
        text = rest;
    }
    text.find("libbpf: ").map_or(text, |at| &text[at + "libbpf: ".len()..])
}

/// The program's name that a line tells.
pub fn name_in(line: &str) -> Option<String> {
    const BEFORE: &[(&str, &str)] = &[
        ("prog '", "'"),
        ("program '", "'"),
        ("program \"", "\""),
        ("Prog section '", "'"),
        ("BPF program b'", "'"),
        ("Failed to load BPF program ", ":"),
        ("Error loading BPF program for ", "."),
        ("Error loading program: ", " "),
        ("error loading program ", ":"),
        ("program ", ": load program"),
    ];
    for (before, after) in BEFORE {
        let Some((_, rest)) = line.split_once(before) else { continue };
        let name = match rest.split_once(after) {
            Some((name, _)) => name,
            None if *after == " " => rest,
            None => continue,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-/:+".contains(c);
        if !name.is_empty() && name.len() <= 200 && name.chars().all(plain) {
            return Some(name.to_string());
        }
    }
    None
}

/// True for words by which loaders say that a program was refused.
fn is_refusal(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "BPF program load failed",
        "load bpf program failed",
        "Failed to load program",
        "failed to load program",
        "ailed to load BPF program",
        "failed to load: -",
        "BPF_PROG_LOAD syscall",
        "load program:",
        "rejected: ",
        "Error loading BPF program",
        "rror loading program",
        "failed to load object",
        "failed to load BPF skeleton",
        "Error fetching program",
        "Unable to load program",
        "VERDICT: failure",
    ];
    WORDS.iter().any(|w| text.contains(w))
}

/// Errors that are known by a few words anywhere on a loader's line.
const LOOSE: &[(&str, &str)] = &[
    ("probe_loading():Operation not permitted", "load-capability"),
    ("probe_loading(): Operation not permitted", "load-capability"),
    ("probe_loading(): -EPERM", "load-capability"),
    ("bpf_object__probe_loading()", "load-kernel-feature"),
    ("increase LogSizeStart", "load-log-size"),
    ("error on bpf_create_map_xattr", "load-map-create"),
    ("RLIMIT_MEMLOCK", "load-memlock"),
    ("MEMLOCK may be too low", "load-memlock"),
    ("MEMLOCK be too low", "load-memlock"),
    ("raising 'ulimit -l'", "load-memlock"),
    ("removing memlock", "load-memlock"),
    ("no BTF found for kernel version", "load-kernel-btf"),
    ("kernel BTF is missing", "load-kernel-btf"),
    ("failed to find valid kernel BTF", "load-kernel-btf"),
    ("unable to find kernel BTF", "load-kernel-btf"),
    ("vmlinux BTF is not found", "load-kernel-btf"),
    ("not supported (requires >= v", "load-kernel-feature"),
    ("not supported (kernel version >= ", "load-kernel-feature"),
    ("kernel doesn't support ", "load-kernel-feature"),
    ("bad CO-RE relocation", "load-core"),
    ("apply CO-RE relocation", "load-core"),
    ("fixup CO-RE relocation", "load-core"),
    ("AYA is not able to relocate", "load-core"),
    ("error relocating ", "load-relocation"),
    ("failed to relocate", "load-core"),
    ("unresolved extern", "load-extern"),
    ("unsatisfied program reference", "load-relocation"),
    ("missing maps/map_fd", "load-relocation"),
    ("map spec is incompatible with existing map", "load-pin"),
    ("pinned map: ", "load-pin"),
    ("perf_kprobe PMU", "load-attach"),
    ("perf_uprobe PMU", "load-attach"),
    ("create link: ", "load-attach"),
    ("creating tracefs event", "load-attach"),
    ("cannot create bpf perf link", "load-attach"),
    ("couldn't find one or more symbols", "load-attach"),
    ("find target in vmlinux", "load-attach-target"),
    ("find target in modules", "load-attach-target"),
    ("kernel is missing symbol: ", "load-extern"),
    ("fixing up kfuncs: ", "load-extern"),
    ("finding kfunc in kernel: ", "load-extern"),
    ("does not exist on this kernel", "load-extern"),
    ("load kernel spec: ", "load-kernel-btf"),
    ("chained programs are not supported by the current kernel", "load-kernel-feature"),
    ("map create: cannot use type", "load-kernel-feature"),
    ("failed to create map", "load-map-create"),
    ("map create: ", "load-map-create"),
    ("creating map: ", "load-map-create"),
    ("unknown program type", "load-prog-type"),
    ("invalid program section", "load-prog-type"),
    ("failed to parse program section", "load-prog-type"),
    ("missing BPF prog type", "load-prog-type"),
    ("unrecognized ELF section name", "load-prog-type"),
    ("BTF is required, but is missing", "load-btf"),
    ("BPF program is too large", "program-too-complex"),
    ("not a valid eBPF object file", "load-not-bpf"),
];

fn loose(text: &str) -> Option<&'static str> {
    LOOSE.iter().find(|(words, _)| text.contains(words)).map(|(_, code)| *code)
}

/// The code that a refusal's error number stands for where nothing else is said.
pub fn code_of_errno(text: &str) -> &'static str {
    let lower = text.to_ascii_lowercase();
    let one = |sign: &str| {
        lower
            .trim_end_matches([')', '.', '!'])
            .strip_suffix("-1")
            .is_some_and(|t| t.ends_with(sign))
    };
    if lower.contains("argument list too long") || lower.contains("e2big") {
        return "program-too-complex";
    }
    let denied = lower.contains("operation not permitted") || lower.contains("eperm");
    if denied || one(" ") || one("(") || one("=") {
        return "load-capability";
    }
    explain::NO_MESSAGE
}
