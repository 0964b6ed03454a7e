//! Ten logs of our own programs in what loaders, terminals and CI print around them: code and
//! rejecting instruction are found in each.
//!
//! What is expected comes from the recorded answers of the kernel, not from the reader.

use std::fs;
use std::path::{Path, PathBuf};

use bpfassay_diag::explain::block;

use bpfassay_diag::read::read;
use bpfassay_diag::story::Story;

/// Object and program of each log.
const LOGS: &[(&str, &str)] = &[
    ("map_off_by_one", "index_bad"),
    ("map_null", "unchecked"),
    ("stack_uninit", ""),
    ("packet_end", ""),
    ("packet_stale", ""),
    ("ringbuf_leak", ""),
    ("helper_argument", ""),
    ("lost_range", ""),
    ("pointer_leak", ""),
    ("helper_size", ""),
];

struct Log {
    name: String,
    text: String,
    code: &'static str,
    insn: Option<u32>,
}

fn truth() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("workspace");
    root.join("corpus/truth/6.18.44/v3/reject")
}

/// Programs of an answer that ended in a message, with it: `(name, message lines)`.
fn rejected(json: &str) -> Vec<(String, Vec<String>)> {
    let value = |l: &str| {
        let text = l.trim().trim_end_matches(',').trim_matches('"').to_string();
        text.replace("\\\"", "\"").replace("\\\\", "\\")
    };
    let mut found = Vec::new();
    let (mut name, mut lines, mut inside) = (String::new(), Vec::new(), false);
    for l in json.lines() {
        let t = l.trim();
        if let Some(n) = t.strip_prefix("\"name\": ") {
            name = value(n);
        } else if t == "\"message_lines\": [" {
            (lines, inside) = (Vec::new(), true);
        } else if inside && t.starts_with(']') {
            inside = false;
            found.push((name.clone(), std::mem::take(&mut lines)));
        } else if inside {
            lines.push(value(t));
        }
    }
    found
}

fn log_of(text: &str, name: &str) -> String {
    let mut inside = false;
    let mut log = String::new();
    for l in text.lines() {
        if let Some(n) = l.strip_prefix("==== ") {
            inside = n == name;
        } else if inside {
            log.push_str(l);
            log.push('\n');
        }
    }
    log
}

/// As log level 1 prints: without what level 2 adds.
fn level_1(log: &str) -> String {
    let extra = |l: &str| {
        l.starts_with("func#")
            || l.starts_with("Live regs")
            || l.starts_with("mark_precise")
            || l.as_bytes().windows(12).any(|w| {
                w[0] == b' '
                    && w[11] == b' '
                    && w[1..11].iter().all(|b| *b == b'.' || b.is_ascii_digit())
            })
    };
    log.lines().filter(|l| !extra(l)).map(|l| format!("{l}\n")).collect()
}

fn logs() -> Vec<Log> {
    LOGS.iter()
        .enumerate()
        .map(|(i, (object, wanted))| {
            let read = |ext: &str| {
                fs::read_to_string(truth().join(format!("{object}.o.{ext}"))).expect("truth")
            };
            let all = rejected(&read("json"));
            let (name, lines) = all
                .iter()
                .find(|(n, l)| (wanted.is_empty() || n == wanted) && !l.is_empty())
                .or_else(|| all.iter().find(|(_, l)| !l.is_empty()))
                .expect("a rejected program");
            let text = log_of(&read("txt"), name);
            let text = if i % 2 == 0 { level_1(&text) } else { text };
            let insn = text.lines().rev().find_map(|l| {
                let (n, rest) = l.split_once(": (")?;
                (rest.as_bytes().get(2) == Some(&b')')).then(|| n.parse().ok())?
            });
            let code = block(lines.iter().map(String::as_str)).expect("known").name;
            Log { name: name.clone(), text, code, insn }
        })
        .collect()
}

fn each(log: &str, f: impl Fn(usize, &str) -> String) -> String {
    log.lines().enumerate().map(|(i, l)| f(i, l) + "\n").collect()
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\t', "\\t").replace('\n', "\\n")
}

fn message(log: &str) -> Vec<String> {
    let is_stat = |l: &&str| {
        l.starts_with("processed") || l.starts_with("stack depth") || l.starts_with("verification")
    };
    log.lines().filter(|l| !is_stat(l)).map(str::to_string).collect()
}

type Framing = (&'static str, fn(&str, &str) -> Vec<u8>);

fn text(f: String) -> Vec<u8> {
    f.into_bytes()
}

/// What is printed around a log; the name is the program's.
const FRAMINGS: &[Framing] = &[
    ("plain", |l, _| text(l.into())),
    ("libbpf", |l, n| {
        text(format!("libbpf: prog '{n}': BPF program load failed: Permission denied\nlibbpf: prog '{n}': -- BEGIN PROG LOAD LOG --\n{l}-- END PROG LOAD LOG --\nlibbpf: prog '{n}': failed to load: -13\nlibbpf: failed to load object 'x.o'\n"))
    }),
    ("libbpf below 1.0", |l, n| {
        text(format!("libbpf: load bpf program failed: Permission denied\nlibbpf: -- BEGIN DUMP LOG ---\nlibbpf: \n{l}\nlibbpf: -- END LOG --\nlibbpf: failed to load program '{n}'\nlibbpf: failed to load object 'x.o'\n"))
    }),
    ("end mark alone", |l, n| {
        text(format!("{l}-- END PROG LOAD LOG --\nlibbpf: prog '{n}': failed to load: -13\n"))
    }),
    ("begin mark alone", |l, n| {
        text(format!("libbpf: prog '{n}': -- BEGIN PROG LOAD LOG --\n{l}"))
    }),
    ("aya", |l, _| {
        text(format!("Error: the BPF_PROG_LOAD syscall failed. Verifier output: {l}\n\nCaused by:\n    Permission denied (os error 13)\n"))
    }),
    ("aya, debug form", |l, n| {
        text(format!("Error: LoadError {{ io_error: Os {{ code: 13, kind: PermissionDenied, message: \"Permission denied\" }}, verifier_log: VerifierLog(\"{}\"), name: \"{n}\" }}\n", escape(l)))
    }),
    ("cilium/ebpf, with log", |l, n| {
        text(format!(
            "loading objects: field X: program {n}: load program: permission denied:\n{}",
            each(l, |_, t| format!("\t{t}"))
        ))
    }),
    ("cilium/ebpf, one line", |l, n| {
        let lines = message(l);
        let last: Vec<&str> = lines.iter().rev().take(3).map(|l| l.trim()).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        text(format!("2024/05/06 10:11:12 loading objects: field X: program {n}: load program: permission denied: {} ({} line(s) omitted)\n", last.join(": "), lines.len()))
    }),
    ("bcc", |l, n| {
        text(format!("bpf: Failed to load program: Permission denied\n{l}\nHINT: The invalid mem access 'inv' error can happen if you try to dereference memory without first using bpf_probe_read_kernel() to copy it to the BPF stack.\n\nTraceback (most recent call last):\n  File \"x.py\", line 3, in <module>\n    b = BPF(text=t)\nException: Failed to load BPF program b'{n}': Permission denied\n"))
    }),
    ("tc", |l, n| {
        text(format!("\nProg section '{n}' rejected: Permission denied (13)!\n - Type:         3\n - Instructions: 21 (0 over limit)\n - License:      GPL\n\nVerifier analysis:\n\n{l}\nError fetching program/map!\nUnable to load program\n"))
    }),
    ("bpftrace", |l, n| {
        text(format!("Attaching 1 probe...\n\nError log: \n{l}\n\nERROR: Error loading program: {n} (try -v)\n"))
    }),
    ("bpftrace, newer", |l, n| {
        text(format!("stdin:1:1-20: ERROR: Error loading BPF program for {n}.\nKernel error log:\n{l}\nERROR: Loading BPF object(s) failed.\n"))
    }),
    ("veristat", |l, n| {
        text(format!("Processing 'x.bpf.o'...\nPROCESSING x.bpf.o/{n}, DURATION US: 55, VERDICT: failure, VERIFIER LOG:\n{l}\nFile Program Verdict Duration\n---- ------- ------- -------\nx.bpf.o {n} failure 55\nDone. Processed 1 files, 0 programs.\n"))
    }),
    ("selftests", |l, _| {
        text(format!("run_subtest:FAIL:unexpected_load_success unexpected success: 0\nVERIFIER LOG:\n=============\n{l}\n=============\n#330/4   verifier_x/test one:FAIL\n#330     verifier_x:FAIL\nSummary: 0/0 PASSED, 0 SKIPPED, 1 FAILED\n"))
    }),
    ("time stamps of CI", |l, _| {
        text(each(l, |i, t| format!("2024-05-06T10:11:{:02}.{:07}Z {t}", i % 60, i * 7919)))
    }),
    ("journald", |l, _| {
        text(each(l, |i, t| format!("May 06 10:11:{:02} host agent[{}]: {t}", i % 60, 800 + i % 3)))
    }),
    ("syslog", |l, _| {
        text(each(l, |_, t| format!("<30>1 2024-05-06T10:11:12+02:00 host agent 17 - - {t}")))
    }),
    ("docker compose", |l, _| text(each(l, |_, t| format!("agent-1  | {t}")))),
    ("docker json-file", |l, _| {
        text(each(l, |_, t| {
            format!(
                "{{\"log\":\"{}\\n\",\"stream\":\"stderr\",\"time\":\"2024-05-06T10:11:12.5Z\"}}",
                escape(t)
            )
        }))
    }),
    ("kubectl, prefixed", |l, _| text(each(l, |_, t| format!("[pod/agent-x7k2p/agent] {t}")))),
    ("logrus, a line each", |l, _| {
        text(each(l, |_, t| {
            format!("time=\"2024-05-06T10:11:12Z\" level=error msg=\"{}\" subsys=loader", escape(t))
        }))
    }),
    ("logrus, one line", |l, n| {
        text(format!("time=\"2024-05-06T10:11:12Z\" level=fatal msg=\"load {n}: permission denied: {}\" subsys=loader\n", escape(l)))
    }),
    ("klog", |l, _| {
        text(each(l, |i, t| format!("E0506 10:11:12.{:06}      17 loader.go:123] {t}", i)))
    }),
    ("Rust tracing", |l, _| {
        text(each(l, |i, t| format!("2024-05-06T10:11:12.{:06}Z ERROR agent::load: {t}", i)))
    }),
    ("printk", |l, _| text(each(l, |i, t| format!("[{:5}.{:06}] {t}", 9 + i, i)))),
    ("JSON", |l, _| {
        text(format!("{{\"level\": \"fatal\", \"ts\": 1.5, \"msg\": \"load failed\", \"error\": \"verifier error: {}\"}}\n", escape(l)))
    }),
    ("JSON, twice", |l, _| {
        let inner = format!("{{\"error\":\"{}\"}}", escape(l));
        text(format!("{{\"message\":\"{}\"}}\n", escape(&inner)))
    }),
    ("JSON, array of lines", |l, _| {
        text(format!(
            "{{\n  \"log\": [\n{}  ]\n}}\n",
            each(l, |_, t| format!("    \"{}\",", escape(t)))
        ))
    }),
    ("escapes", |l, _| text(format!("load failed: {}\n", escape(l)))),
    ("Python bytes", |l, _| {
        text(format!(
            "Exception: b'{}'\n",
            l.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")
        ))
    }),
    ("rsyslog", |l, _| {
        text(format!("May  6 10:11:12 host agent[17]: {}\n", l.replace('\n', "#012")))
    }),
    ("GitHub annotation", |l, _| {
        text(format!("::error file=x.c::{}\n", l.replace('%', "%25").replace('\n', "%0A")))
    }),
    ("colours, a line each", |l, _| text(each(l, |_, t| format!("\u{1b}[31m{t}\u{1b}[0m")))),
    ("colours inside", |l, _| {
        text(
            each(l, |_, t| t.replacen(": (", ":\u{1b}[0m \u{1b}[1;34m(", 1) + "\u{1b}[K")
                .replace(":\u{1b}[0m \u{1b}[1;34m(", "\u{1b}[0m: \u{1b}[1;34m("),
        )
    }),
    ("four blanks", |l, _| text(each(l, |_, t| format!("    {t}")))),
    ("mail quote", |l, _| {
        text(format!("On Monday A wrote:\n{}\nLooks wrong.\n", each(l, |_, t| format!("> {t}"))))
    }),
    ("mail quote, twice", |l, _| text(each(l, |_, t| format!("> > {t}")))),
    ("Markdown fence", |l, _| text(format!("It fails:\n\n```\n{l}```\n\nAny idea?\n"))),
    ("Markdown, quoted fence", |l, _| {
        text(format!("> ```text\n{}> ```\n", each(l, |_, t| format!("> {t}"))))
    }),
    ("UTF-16, marked", |l, _| {
        let units = [0xfeff].into_iter().chain(l.encode_utf16().collect::<Vec<_>>());
        units.flat_map(u16::to_le_bytes).collect()
    }),
    ("UTF-16, big end first", |l, _| l.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ("UTF-8, marked", |l, _| text(format!("\u{feff}{l}"))),
    ("CRLF", |l, _| text(l.replace('\n', "\r\n"))),
    ("CR alone", |l, _| text(l.replace('\n', "\r"))),
    ("trailing blanks", |l, _| text(each(l, |_, t| format!("{t}   ")))),
    ("text behind", |l, _| {
        text(format!("{l}\nloader: giving up\n[ERROR] exit status 1\nmake: *** [load] Error 1\n"))
    }),
    ("text before and behind", |l, _| {
        text(format!(
            "$ sudo ./load\nR is for ready\nloading x.o ...\n{l}\nexit 1\n$ uname -r\n6.18.44\n"
        ))
    }),
    ("HTML", |l, _| {
        text(format!(
            "<pre><code>{}</code></pre>\n",
            l.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('\'', "&#39;")
        ))
    }),
    ("blank lines between", |l, _| text(l.replace('\n', "\n\n"))),
    ("numbered lines", |l, _| text(each(l, |i, t| format!("{:6}\t{t}", i + 1)))),
    ("grep", |l, _| text(each(l, |i, t| format!("run.log:{}:{t}", i + 1)))),
    ("joined by blanks", |l, _| text(l.replace('\n', " ") + "\n")),
    ("pytest", |l, _| text(each(l, |_, t| format!("E       {t}")))),
    ("Go test", |l, _| {
        text(format!("--- FAIL: TestLoad (0.01s)\n    load_test.go:45: program x: load program: permission denied:\n{}FAIL\n", each(l, |_, t| format!("        \t{t}"))))
    }),
    ("GitLab job", |l, _| {
        text(format!("section_start:1715000000:step\r\u{1b}[0K$ make load\n{}section_end:1715000009:step\r\u{1b}[0K\n", each(l, |_, t| format!("{t}\u{1b}[0;m"))))
    }),
    ("Jenkins", |l, _| text(each(l, |i, t| format!("[2024-05-06T10:11:{:02}.123Z] {t}", i % 60)))),
    ("Azure", |l, _| text(each(l, |_, t| format!("2024-05-06T10:11:12.1234567Z ##[error]{t}")))),
    ("diff", |l, _| text(each(l, |_, t| format!("+{t}")))),
    ("no statistics", |l, _| text(message(l).join("\n") + "\n")),
    ("two attempts", |l, n| {
        text(format!("libbpf: prog '{n}': -- BEGIN PROG LOAD LOG --\n{l}-- END PROG LOAD LOG --\nlibbpf: retrying\nlibbpf: prog '{n}': -- BEGIN PROG LOAD LOG --\n{l}-- END PROG LOAD LOG --\n"))
    }),
    ("mojibake", |l, _| {
        let mut bytes = b"\xff\xfe\x80 load \xc3\x28\n".to_vec();
        bytes[0] = b'\xc0';
        bytes.extend_from_slice(l.as_bytes());
        bytes
    }),
];

#[test]
fn ten_logs_in_every_framing() {
    let logs = logs();
    assert_eq!(logs.len(), 10);
    assert!(FRAMINGS.len() >= 40);
    let mut wrong = Vec::new();
    let mut right = 0;
    for (framing, make) in FRAMINGS {
        for log in &logs {
            let reading = read(make(&log.text, &log.name));
            let stories: Vec<Story> = reading.programs.iter().map(Story::of).collect();
            let told: Vec<_> = stories.iter().filter(|s| s.is_rejection()).collect();
            // A cut line of cilium/ebpf's may hold no instruction at all.
            let anywhere = *framing == "cilium/ebpf, one line";
            let good = told.len() == 1
                && told[0].code.map(|c| c.name) == Some(log.code)
                && (told[0].insn() == log.insn || (anywhere && told[0].insn().is_none()));
            if good {
                right += 1;
            } else {
                let got: Vec<_> = told.iter().map(|s| (s.code.map(|c| c.name), s.insn())).collect();
                wrong.push(format!(
                    "{framing}: {} wants {} at {:?}, got {got:?}",
                    log.name, log.code, log.insn
                ));
            }
        }
    }
    let all = FRAMINGS.len() * logs.len();
    println!("{right} of {all}");
    assert!(right * 100 >= all * 95, "{right} of {all}:\n{}", wrong.join("\n"));
    assert!(wrong.is_empty(), "{right} of {all}:\n{}", wrong.join("\n"));
}
