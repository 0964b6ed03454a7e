//! What the field found in the command line: limits, files that are written, processes that stay.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn bpfassay(folder: &Path, args: &[&str]) -> Output {
    Command::new(program::path()).current_dir(folder).args(args).output().expect("the program runs")
}

fn object(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3").join(name)
}

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("bpfassay-field-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_gate_finds_objects_below_the_folder_it_stands_in() {
    let folder = Folder::new("glob");
    fs::create_dir_all(folder.0.join("a/b")).unwrap();
    fs::copy(object("reject/map_off_by_one.o"), folder.0.join("a/b/x.o")).unwrap();
    fs::write(folder.0.join("bpfassay.toml"), "objects = [\"**/*.o\"]\n").unwrap();
    let out = bpfassay(&folder.0, &["gate"]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_glob_nested_too_deeply_is_a_mistake_with_its_place() {
    let folder = Folder::new("braces");
    let glob = format!("{}{}", "{a,".repeat(300), "}".repeat(300));
    fs::write(folder.0.join("bpfassay.toml"), format!("objects = [\"{glob}\"]\n")).unwrap();
    let out = bpfassay(&folder.0, &["gate"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("bpfassay.toml:1:12"));
}

#[test]
fn logs_of_equal_names_are_all_kept() {
    let folder = Folder::new("logs");
    for part in ["a", "b"] {
        fs::create_dir_all(folder.0.join(part)).unwrap();
        fs::copy(object("reject/map_off_by_one.o"), folder.0.join(part).join("x.o")).unwrap();
    }
    let args =
        ["check", "--log-dir", "logs", "--prog", "index_ok", "--jobs", "5000", "a/x.o", "b/x.o"];
    assert_eq!(bpfassay(&folder.0, &args).status.code(), Some(0));
    let mut names: Vec<_> = fs::read_dir(folder.0.join("logs"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["x.o.index_ok.2.log", "x.o.index_ok.log"]);
}

/// A bare loop in the child outlives nobody.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_killed_run_leaves_no_child() {
    use std::time::{Duration, Instant};

    let folder = Folder::new("orphan");
    // goto -1
    let code = folder.0.join("loop.bin");
    fs::write(&code, [0x05, 0, 0xff, 0xff, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut run = Command::new(program::path())
        .args([
            "run",
            "--raw",
            &code.display().to_string(),
            "--engine",
            "x86",
            "--time-limit",
            "60",
        ])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program runs");
    let children = format!("/proc/{0}/task/{0}/children", run.id());
    let until = Instant::now() + Duration::from_secs(20);
    let child = loop {
        let text = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = text.split_whitespace().next() {
            break pid.to_string();
        }
        assert!(Instant::now() < until, "no child appeared");
        std::thread::sleep(Duration::from_millis(20));
    };
    // It asks for its end within its first steps.
    std::thread::sleep(Duration::from_millis(300));
    run.kill().unwrap();
    run.wait().unwrap();
    let is_there = || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    let until = Instant::now() + Duration::from_secs(5);
    while is_there() {
        assert!(Instant::now() < until, "the child spins on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `.toml` for the gate beside an object of this name.
fn gate_of(folder: &Path, object: &Path) {
    fs::copy(object, folder.join("x.o")).unwrap();
    fs::write(folder.join("bpfassay.toml"), "objects = [\"x.o\"]\n").unwrap();
}

/// One ELF object, written by hand: sections with names and flags, functions, and relocations of calls.
mod elf {
    /// Name, type, flags, data, link, info, size of entries.
    type Section = (Vec<u8>, u32, u64, Vec<u8>, u32, u32, u64);

    pub struct Object {
        sections: Vec<Section>,
        symbols: Vec<u8>,
        strings: Vec<u8>,
    }

    pub const MOV: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];
    pub const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

    impl Object {
        pub fn new() -> Object {
            let mut object =
                Object { sections: Vec::new(), symbols: vec![0; 24], strings: vec![0] };
            object.section(b"", 0, 0, &[]);
            object.section(b"license", 1, 3, b"GPL\0");
            object
        }

        pub fn name(&mut self, name: &[u8]) -> u32 {
            let at = self.strings.len() as u32;
            self.strings.extend(name);
            self.strings.push(0);
            at
        }

        pub fn section(&mut self, name: &[u8], kind: u32, flags: u64, data: &[u8]) -> usize {
            self.sections.push((name.to_vec(), kind, flags, data.to_vec(), 0, 0, 0));
            self.sections.len() - 1
        }

        /// Executable code.
        pub fn code(&mut self, name: &[u8], data: &[u8]) -> usize {
            self.section(name, 1, 6, data)
        }

        /// A function's number; its name is an offset from [`Object::name`].
        pub fn function(
            &mut self,
            name: u32,
            is_global: bool,
            section: usize,
            at: usize,
            len: usize,
        ) -> usize {
            let info = if is_global { 0x12 } else { 0x02 };
            self.symbols.extend(name.to_le_bytes());
            self.symbols.extend([info, 0]);
            self.symbols.extend((section as u16).to_le_bytes());
            self.symbols.extend((at as u64).to_le_bytes());
            self.symbols.extend((len as u64).to_le_bytes());
            self.symbols.len() / 24 - 1
        }

        pub fn bytes(mut self) -> Vec<u8> {
            let symtab = self.sections.len() as u32;
            let symbols = std::mem::take(&mut self.symbols);
            self.sections.push((b".symtab".to_vec(), 2, 0, symbols, symtab + 1, 1, 24));
            let strings = std::mem::take(&mut self.strings);
            self.sections.push((b".strtab".to_vec(), 3, 0, strings, 0, 0, 0));
            self.section(b".shstrtab", 3, 0, &[]);
            let mut names = vec![0];
            let at: Vec<u32> = self
                .sections
                .iter()
                .map(|s| {
                    let at = names.len() as u32;
                    names.extend(&s.0);
                    names.push(0);
                    at
                })
                .collect();
            let last = self.sections.len() - 1;
            self.sections[last].3 = names;
            let (mut out, mut headers) = (vec![0; 64], Vec::new());
            for (s, name) in self.sections.iter().zip(at) {
                out.resize(out.len().next_multiple_of(8), 0);
                let link = if s.4 == u32::MAX { symtab } else { s.4 };
                headers.extend([name.to_le_bytes(), s.1.to_le_bytes()].concat());
                headers.extend(
                    [s.2, 0, out.len() as u64, s.3.len() as u64].map(u64::to_le_bytes).concat(),
                );
                headers.extend([link.to_le_bytes(), s.5.to_le_bytes()].concat());
                headers.extend([8, s.6].map(u64::to_le_bytes).concat());
                out.extend(&s.3);
            }
            out.resize(out.len().next_multiple_of(8), 0);
            let start = out.len() as u64;
            out.extend(headers);
            out[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
            out[16..24].copy_from_slice(&[1, 0, 247, 0, 1, 0, 0, 0]);
            out[40..48].copy_from_slice(&start.to_le_bytes());
            out[52..64].copy_from_slice(&[
                64,
                0,
                0,
                0,
                0,
                0,
                64,
                0,
                last as u8 + 1,
                0,
                last as u8,
                0,
            ]);
            out
        }
    }
}

/// Names with what steers a terminal.
fn steering() -> Vec<u8> {
    let mut o = elf::Object::new();
    let code = o.code(b"xdp", &[elf::MOV, elf::EXIT, elf::EXIT].concat());
    let names = ["good\u{1b}[31m\u{7}", "bad\u{1b}]0;title\u{7}\u{9b}2J\u{202e}"];
    let [good, bad] = names.map(|n| o.name(n.as_bytes()));
    o.function(good, true, code, 0, 16);
    o.function(bad, true, code, 16, 8);
    o.bytes()
}

#[test]
fn what_steers_a_terminal_is_shown_and_not_sent() {
    let folder = Folder::new("escapes");
    fs::write(folder.0.join("e.o"), steering()).unwrap();
    gate_of(&folder.0, &folder.0.join("e.o"));
    let commands: [&[&str]; 12] = [
        &["check", "e.o"],
        &["check", "--color=always", "e.o"],
        &["check", "--log-level", "2", "e.o"],
        &["check", "--sort=-program", "--filter=verdict=rejected", "e.o"],
        &["disasm", "e.o"],
        &["dump", "object", "e.o"],
        &["dump", "cfg", "e.o"],
        &["run", "e.o", "--hex", "00"],
        &["gate"],
        &["gate", "--output", "markdown=-"],
        &["gate", "--output", "github=-", "--output", "veristat=-"],
        &["check", "no\u{1b}[2J.o"],
    ];
    for args in commands {
        let out = bpfassay(&folder.0, args);
        let said = text(&out.stdout) + &text(&out.stderr);
        let sent =
            said.chars().find(|c| c.is_control() && *c != '\n' && *c != '\t' || *c == '\u{202e}');
        assert_eq!(sent, None, "{args:?}: {said:?}");
        assert!(said.contains("\\u{1b}") || said.contains('␛'), "{args:?}: {said}");
    }
    let coloured = bpfassay(
        &folder.0,
        &["check", "--color=always", &object("reject/map_off_by_one.o").display().to_string()],
    );
    assert!(text(&coloured.stdout).contains("\u{1b}["));
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let object = object("reject/map_off_by_one.o");
        let out = Command::new(program::path()).env(name, value).arg("check").arg(object).output();
        assert!(!text(&out.unwrap().stdout).contains('\u{1b}'), "{name}");
    }
}

/// What is small as a file and would be gigabytes in memory is refused by name, within seconds.
#[test]
fn objects_that_stand_for_gigabytes_are_refused_or_judged_in_time() {
    use std::time::{Duration, Instant};

    let folder = Folder::new("bombs");
    let many = 60_000;
    let shared = |section: &[u8]| {
        let mut o = elf::Object::new();
        let code = o.code(section, &[elf::MOV, elf::EXIT].concat().repeat(many));
        let name = o.name(&vec![b'n'; 1_000_000]);
        for i in 0..many {
            o.function(name, true, code, 16 * i, 16);
        }
        o.bytes()
    };
    let long_section = {
        let mut o = elf::Object::new();
        let code = o.code(&vec![b's'; 1_000_000], &[elf::MOV, elf::EXIT].concat().repeat(many));
        for i in 0..many {
            let name = o.name(format!("p{i}").as_bytes());
            o.function(name, true, code, 16 * i, 16);
        }
        o.bytes()
    };
    for (name, bytes) in [("names.o", shared(b"xdp")), ("sections.o", long_section)] {
        fs::write(folder.0.join(name), bytes).unwrap();
        for args in [
            &["check", name][..],
            &["disasm", name],
            &["dump", "object", name],
            &["run", name, "--hex", "00"],
        ] {
            let start = Instant::now();
            let out = bpfassay(&folder.0, args);
            let said = text(&out.stdout) + &text(&out.stderr);
            assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
            assert!(said.contains("longer together than"), "{args:?}: {said:.300}");
            assert!(start.elapsed() < Duration::from_secs(60), "{args:?}");
        }
    }
}

#[test]
fn endless_files_are_refused_by_their_size() {
    let zero = "/dev/zero";
    if !Path::new(zero).exists() {
        return;
    }
    let folder = Folder::new("endless");
    let object = object("xdp/pass.o").display().to_string();
    let object = object.as_str();
    let commands: [&[&str]; 12] = [
        &["check", zero],
        &["check", "--profile", zero, object],
        &["check", "--btf", zero, object],
        &["check", "--cbpf", zero],
        &["gate", "--config", zero],
        &["run", object, "--data-in", zero],
        &["run", object, "--pcap", zero],
        &["run", object, "--ctx-in", zero, "--hex", "00"],
        &["run", "--raw", zero],
        &["asm", zero],
        &["disasm", "--raw", zero],
        &["diff-log", object, zero],
    ];
    for args in commands {
        let out = bpfassay(&folder.0, args);
        let said = text(&out.stdout) + &text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("larger than"), "{args:?}: {said}");
    }
}

#[test]
fn a_missing_path_costs_itself() {
    let folder = Folder::new("missing");
    let good = object("xdp/pass.o").display().to_string();
    let out = bpfassay(&folder.0, &["check", "--format", "json", &good, "no/such.o"]);
    assert_eq!(out.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(report["summary"]["accepted"], 1);
    assert_eq!(report["objects"][1]["error"]["kind"], "io");
}

/// Root reads everything, so this says something only to others.
#[cfg(unix)]
#[test]
fn an_unreadable_folder_costs_itself() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("unreadable");
    let closed = folder.0.join("closed");
    fs::create_dir_all(&closed).unwrap();
    fs::copy(object("xdp/pass.o"), folder.0.join("x.o")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    let is_closed = fs::read_dir(&closed).is_err();
    let out = bpfassay(&folder.0, &["check", "--format", "json", "."]);
    fs::write(folder.0.join("bpfassay.toml"), "objects = [\"**/*.o\"]\n").unwrap();
    let gate = bpfassay(&folder.0, &["gate", "--output", "json=-"]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(report["summary"]["accepted"], 1);
    let status = if is_closed { Some(2) } else { Some(0) };
    assert_eq!((out.status.code(), gate.status.code()), (status, status));
}

/// Every output of every command on a disk that is full: no panic, an exit status that is no pass, nothing lost.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_and_a_closed_pipe_panic_nobody() {
    use std::process::Stdio;

    let folder = Folder::new("full");
    gate_of(&folder.0, &object("xdp/pass.o"));
    let one = object("xdp/pass.o").display().to_string();
    let one = one.as_str();
    let frame = "00".repeat(64);
    fs::write(folder.0.join("log"), "0: (95) exit\nR0 !read_ok\n").unwrap();
    fs::write(folder.0.join("prog.txt"), "r0 = 0\nexit\n").unwrap();
    let to_stdout: Vec<Vec<&str>> = vec![
        vec!["check", one],
        vec!["check", "--format", "json", one],
        vec!["check", "--format", "sarif", one],
        vec!["check", "--log-level", "2", one],
        vec!["gate"],
        vec!["gate", "--output", "json=-", "--output", "markdown=-"],
        vec!["explain", "log"],
        vec!["explain", "--format", "json", "log"],
        vec!["explain", "--list"],
        vec!["explain", "register-maybe-null"],
        vec!["disasm", one],
        vec!["dump", "object", one],
        vec!["dump", "cfg", one],
        vec!["dump", "jited", one, "--engine", "x86"],
        vec!["run", one, "--hex", &frame],
        vec!["run", one, "--hex", &frame, "--format", "json"],
        vec!["asm", "prog.txt", "--format", "hex"],
        vec!["diff-log", "log", "log"],
        vec!["fuzz", "--programs", "1"],
        vec!["fuzz", "--programs", "1", "--format", "json"],
        vec!["completions", "bash"],
        vec!["--help"],
        vec!["check", "--help"],
        vec!["--version"],
    ];
    let run = |args: &[&str], stdout: Stdio, stderr: Stdio| {
        let mut command = Command::new(program::path());
        let child = command.current_dir(&folder.0).args(args).stdout(stdout).stderr(stderr).spawn();
        let out = child.expect("it starts").wait_with_output().expect("it ends");
        (out.status.code(), text(&out.stderr))
    };
    let full = || Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    for args in &to_stdout {
        let (whole, _) = run(args, Stdio::null(), Stdio::piped());
        assert!(matches!(whole, Some(0..=2)), "{args:?}: {whole:?}");
        let (status, said) = run(args, full(), Stdio::piped());
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.contains("No space left") && !said.contains("panicked"), "{args:?}: {said}");
        // Nobody reads: what the command found stands.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let (status, said) = run(args, writer.into(), Stdio::piped());
        assert_eq!(status, whole, "{args:?}: {said}");
        assert!(!said.contains("panicked"), "{args:?}: {said}");
        // Nor is standard error needed.
        assert_eq!(run(args, Stdio::null(), full()).0, whole, "{args:?}");
    }
    let to_files: Vec<Vec<&str>> = vec![
        vec!["gate", "--output", "json=/dev/full"],
        vec!["gate", "--output", "text=/dev/full", "--output", "json=out.json"],
        vec!["asm", "prog.txt", "--output", "/dev/full"],
        vec!["run", one, "--hex", &frame, "--data-out", "/dev/full"],
    ];
    for args in &to_files {
        let (status, said) = run(args, Stdio::null(), Stdio::piped());
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.contains("/dev/full: No space left"), "{args:?}: {said}");
    }
    // The report that could be written was.
    assert!(folder.0.join("out.json").is_file());
}

/// JSON is written whatever happens.
#[test]
fn a_run_that_fails_still_answers_in_json() {
    let folder = Folder::new("json");
    let one = object("xdp/pass.o").display().to_string();
    let commands: [(&[&str], &str); 6] = [
        (&["check", "--format", "json", "--profile", "no.json", &one], "bpfassay.check/1"),
        (&["gate", "--output", "json=-"], "bpfassay.gate/1"),
        (&["explain", "--format", "json", "no such code"], "bpfassay.explain/1"),
        (&["run", "--format", "json", "no.o"], "bpfassay.run/1"),
        (&["dump", "object", "--format", "json", "no.o"], "bpfassay.object/1"),
        (&["fuzz", "--format", "json", "--oracles", "none"], "bpfassay.fuzz/1"),
    ];
    for (args, schema) in commands {
        let out = bpfassay(&folder.0, args);
        assert_eq!(out.status.code(), Some(2), "{args:?}");
        let doc: serde_json::Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&out.stdout)));
        assert_eq!((&doc["schema"], &doc["error"]["kind"]), (&schema.into(), &"not-judged".into()));
        assert!(doc["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{args:?}");
    }
    let out = bpfassay(&folder.0, &["check", "--format", "json", "--log-level", "2", &one]);
    let doc: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert!(doc["objects"][0]["programs"][0]["log"].as_str().is_some_and(|l| l.contains("exit")));
    // Logs that cannot be written keep no report back.
    fs::write(folder.0.join("file"), "").unwrap();
    let out = bpfassay(&folder.0, &["check", "--format", "json", "--log-dir", "file", &one]);
    assert_eq!(out.status.code(), Some(2));
    let doc: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(doc["summary"]["accepted"], 1);
}

/// Debian's 5.10.262 rejects the program and 6.1.192 accepts it (asked of both, 29 November 2026).
#[test]
fn several_kernels_are_one_table() {
    let folder = Folder::new("kernels");
    let object = object("string/strncmp.o");
    let object = object.to_str().unwrap();
    let asked = bpfassay(&folder.0, &["check", "--kernel", "5.10", "--kernel", "6.1", object]);
    assert_eq!(asked.status.code(), Some(1));
    let said = text(&asked.stdout);
    assert!(said.contains("5.10.262") && said.contains("6.1.192"), "{said}");
    let json = bpfassay(&folder.0, &["check", "--kernel", "5.10,6.1", "--format", "json", object]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["schema"], "bpfassay.fleet/1");
    let verdicts = [0, 1].map(|k| json["programs"][0]["cells"][k]["verdict"].clone());
    assert_eq!(verdicts, ["rejected", "accepted"]);
    let not_served = bpfassay(&folder.0, &["check", "--kernel", "5.10,6.1", "--sort=time", object]);
    assert_eq!(not_served.status.code(), Some(64), "an option of one kernel");
    let run = bpfassay(&folder.0, &["disasm", "--kernel", "5.10,6.1", object]);
    assert_eq!(run.status.code(), Some(64), "a command of one kernel");
}

#[test]
fn programs_are_shown_as_asked() {
    let folder = Folder::new("select");
    let object = object("reject/map_off_by_one.o").display().to_string();
    let names = |args: &[&str]| {
        let out = bpfassay(&folder.0, &[&["check", &object], args].concat());
        assert_eq!(out.status.code(), Some(1), "the exit status covers everything");
        let text = text(&out.stdout);
        let rows = text.lines().filter(|l| l.starts_with("accepted") || l.starts_with("rejected"));
        rows.filter_map(|l| l.split_whitespace().nth(2)).map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["at_end_bad", "index_bad", "index_ok"]);
    assert_eq!(names(&["--filter", "verdict=accepted"]), ["index_ok"]);
    assert_eq!(names(&["--filter", "program=index_*", "--filter", "processed<12"]), ["index_bad"]);
    assert_eq!(names(&["--sort=-processed"]), ["index_ok", "index_bad", "at_end_bad"]);
    let out = bpfassay(&folder.0, &["check", "--format", "sarif", &object]);
    let doc: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(doc["version"], "2.1.0");
    assert_eq!(doc["runs"][0]["results"].as_array().map(Vec::len), Some(2));
    let out = bpfassay(&folder.0, &["dump", "object", "--format", "json", &object]);
    let doc: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    assert_eq!(doc["programs"].as_array().map(Vec::len), Some(3));
    assert_eq!(doc["maps"][0]["value_size"], 16);
}

#[test]
fn a_configuration_to_begin_with_is_one_that_works() {
    let folder = Folder::new("init");
    fs::create_dir_all(folder.0.join("build/tc")).unwrap();
    fs::copy(object("xdp/pass.o"), folder.0.join("build/tc/x.o")).unwrap();
    let out = bpfassay(&folder.0, &["gate", "--init"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let written = fs::read_to_string(folder.0.join("bpfassay.toml")).unwrap();
    assert!(written.contains("objects = [\"build/tc/*.o\"]"), "{written}");
    assert_eq!(bpfassay(&folder.0, &["gate"]).status.code(), Some(0));
    // What is there stays.
    assert_eq!(bpfassay(&folder.0, &["gate", "--init"]).status.code(), Some(64));
    assert_eq!(fs::read_to_string(folder.0.join("bpfassay.toml")).unwrap(), written);
}

/// Every help has an example, every man page its exit statuses.
#[test]
fn every_command_is_documented() {
    let folder = Folder::new("man");
    assert_eq!(bpfassay(&folder.0, &["man", "pages"]).status.code(), Some(0));
    let mut pages = 0;
    for page in fs::read_dir(folder.0.join("pages")).unwrap().map(|e| e.unwrap().path()) {
        let words = fs::read_to_string(&page).unwrap();
        assert!(words.contains("EXIT STATUS"), "{}", page.display());
        let name = page.file_stem().unwrap().to_str().unwrap().to_string();
        let args: Vec<&str> = name.split('-').skip(1).collect();
        // `diff-log` is one word.
        let args: Vec<&str> = if args == ["diff", "log"] { vec!["diff-log"] } else { args };
        let out = bpfassay(&folder.0, &[&args[..], &["--help"]].concat());
        assert!(text(&out.stdout).contains("Example"), "{args:?}");
        pages += 1;
    }
    assert!(pages >= 18, "{pages} pages");
}
