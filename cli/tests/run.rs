//! `bpfassay run` as a person calls it: engines, maps, children, words for bad input.

mod program;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{json, Value};

/// A folder of this test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("bpfassay-run-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a temporary file");
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn bpfassay(args: &[&str]) -> Output {
    Command::new(program::path()).args(args).output().expect("the program runs")
}

fn object(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/objects/v3").join(name);
    path.display().to_string()
}

fn run_json(args: &[&str]) -> Value {
    let out = bpfassay(&[&["run", "--format", "json"], args].concat());
    let text = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| {
        panic!("{e}: {text}{}", String::from_utf8_lossy(&out.stderr));
    })
}

fn refused(args: &[&str]) -> String {
    let out = bpfassay(args);
    assert!(!out.status.success() && out.stdout.is_empty(), "{out:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Engines that every host of the workspace's tests has.
fn engines() -> Vec<&'static str> {
    let mut all = vec!["interp", "interp-unchecked"];
    all.extend(cfg!(target_arch = "x86_64").then_some("x86"));
    all
}

/// The running kernel, where it lets this user load.
fn kernel() -> Option<&'static str> {
    let object = object("tc/pacing.o");
    let run = bpfassay(&["run", &object, "--hex", &"00".repeat(14), "--engine", "kernel"]);
    run.status.success().then_some("kernel")
}

/// A TCP segment over IPv4, 1,500 bytes.
fn tcp() -> Vec<u8> {
    let mut frame = vec![0; 1500];
    frame[12..15].copy_from_slice(&[8, 0, 0x45]);
    frame[23] = 6;
    frame
}

#[test]
fn maps_are_filled_and_shown_by_type() {
    let folder = Folder::new("maps");
    let packet = folder.file("packet", &tcp()[..64]);
    let mut ctx = vec![0; 192];
    (ctx[8], ctx[32]) = (7, 2);
    let ctx = folder.file("ctx", ctx);
    let five = json!({"number": 80});
    let value = json!({"addr": 0x0100_007f, "ports": [{}, {}, {"hits": [9]}, {}, {}, five]});
    let hosts = folder.file("hosts.json", json!([{"key": 7, "value": value}]).to_string());
    let map = format!("hosts={hosts}");
    let object = object("map/value_struct.o");
    for engine in engines() {
        let args = [&object, "--engine", engine, "--data-in", &packet, "--ctx-in", &ctx];
        let doc = run_json(&[&args[..], &["--map", &map, "--dump-maps"]].concat());
        assert_eq!(doc["runs"][0]["retval"], 0, "{engine}: {doc}");
        let element = &doc["maps"][0]["elements"][0];
        let port = &element["value"]["ports"][2];
        assert_eq!((&doc["maps"][0]["name"], &element["key"]), (&json!("hosts"), &json!(7)));
        assert_eq!(port["hits"], json!([10, 0, 0, 0]), "{engine}");
        assert_eq!(port["flags"], json!([0, 0, 0, 0, 0, 1]), "{engine}");
        assert_eq!(element["value"]["ports"][5]["number"], 80, "{engine}");
    }
    let wrong = |text: &str| {
        let file = folder.file("wrong.json", text);
        refused(&["run", &object, "--data-in", &packet, "--map", &format!("hosts={file}")])
    };
    assert!(wrong("[{\"key\": 1}]").contains("[0]: no value"));
    assert!(wrong("[{\"key\": -9999999999, \"value\": \"00\"}]").contains("does not fit 4 bytes"));
    assert!(wrong("[{\"key\": 1, \"value\": {\"port\": 1}}]").contains("no such member"));
    assert!(wrong("{}").contains("not a list"));
    assert!(wrong("[").contains("wrong.json: "));
    let unknown = format!("guests={hosts}");
    let unknown = refused(&["run", &object, "--data-in", &packet, "--map", &unknown]);
    assert!(unknown.contains("no map `guests`; there are: hosts"), "{unknown}");
}

#[test]
fn tail_calls_go_where_the_map_says() {
    let folder = Folder::new("tail");
    let packet = folder.file("packet", tcp());
    let stages = folder.file("stages.json", "[{\"key\": 0, \"value\": \"stage_tcp\"}]");
    let object = object("xdp/tail_dispatch.o");
    const XDP_DROP: u32 = 1;
    const XDP_PASS: u32 = 2;
    for engine in engines().into_iter().chain(kernel()) {
        let args = [&object, "--prog", "dispatch", "--engine", engine, "--data-in", &packet];
        assert_eq!(run_json(&args)["runs"][0]["retval"], XDP_PASS, "{engine}");
        let map = format!("stages={stages}");
        let doc = run_json(&[&args[..], &["--map", &map]].concat());
        assert_eq!(doc["runs"][0]["retval"], XDP_DROP, "{engine}");
    }
}

#[test]
fn the_json_contract_is_exact() {
    let folder = Folder::new("contract");
    let packet = folder.file("packet", tcp());
    let doc = run_json(&[&object("xdp/pass.o"), "--data-in", &packet, "--repeat", "3"]);
    let keys = |v: &Value| v.as_object().map(|o| o.keys().cloned().collect::<Vec<_>>());
    let names = |n: &str| Some(n.split(' ').map(str::to_string).collect::<Vec<_>>());
    assert_eq!(keys(&doc), names("agree runs schema"));
    assert_eq!((&doc["schema"], &doc["agree"]), (&json!("bpfassay.run/1"), &json!(true)));
    let run = &doc["runs"][0];
    let fields = "code_bytes compile_ns data_out duration_ns engine r0 repeat retval trap";
    assert_eq!(keys(run), names(fields));
    assert_eq!((&run["r0"], &run["retval"], &run["repeat"]), (&json!("0x2"), &json!(2), &json!(3)));
    assert_eq!(run["data_out"].as_str().map(str::len), Some(3000));
}

/// `*(u64 *)(r0 + 0) = r0` with r0 = 16.
const WILD_STORE: [u8; 24] =
    [0xb7, 0, 0, 0, 16, 0, 0, 0, 0x7b, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

#[cfg(unix)]
#[test]
fn a_crash_in_the_child_is_a_result() {
    let folder = Folder::new("crash");
    let raw = folder.file("raw", WILD_STORE);
    // Under qemu-user there is no filter; with one the flag means nothing.
    let trap = |engine: &str| {
        let run = run_json(&["--raw", &raw, "--engine", engine, "--no-filter"]);
        run["runs"][0]["trap"].clone()
    };
    let checked = trap("interp");
    assert_eq!((&checked["kind"], &checked["insn_idx"]), (&json!("memory"), &json!(1)));
    let crash = trap("interp-unchecked");
    assert_eq!((&crash["kind"], &crash["insn_idx"]), (&json!("crash"), &Value::Null));
    assert!(crash["detail"].as_str().is_some_and(|d| d.contains("SIGSEGV")), "{crash}");
    let out = bpfassay(&["run", "--raw", &raw, "--no-filter"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("child process"), "{out:?}");
}

#[test]
fn a_rejected_program_says_so_and_why() {
    let folder = Folder::new("rejected");
    let packet = folder.file("packet", tcp());
    let out = bpfassay(&["run", &object("reject/gpl_only_bad.o"), "--data-in", &packet]);
    let words = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(words.contains("the verifier rejects it with errno 22: cannot call GPL"), "{words}");
}

#[test]
fn classic_filters_are_judged_shown_and_run() {
    let folder = Folder::new("classic");
    // IPv4 passes.
    let filter = "{ 0x28, 0, 0, 0xc },\n{ 0x15, 0, 1, 0x800 },\n{ 0x6, 0, 0, 0x40000 },\n{ 0x6, 0, 0, 0 },\n";
    let file = folder.file("filter", filter);
    let packet = folder.file("packet", tcp());
    let doc = run_json(&["--cbpf", &file, "--data-in", &packet]);
    assert_eq!(doc["runs"][0]["retval"], 0x40000);
    let check = bpfassay(&["check", "--cbpf", &file]);
    assert!(check.status.success(), "{check:?}");
    let disasm = bpfassay(&["disasm", "--cbpf", &file]);
    assert!(String::from_utf8_lossy(&disasm.stdout).contains("exit"), "{disasm:?}");
    let broken = folder.file("broken", "{ 0x15, 9, 9, 0x800 },\n{ 0x6, 0, 0, 0 },\n");
    assert!(refused(&["check", "--cbpf", &broken]).contains("EINVAL"));
}

/// Every length the help names is the last or first that is taken, and the next one is refused.
#[test]
fn a_refused_input_says_what_is_asked() {
    let folder = Folder::new("asks");
    let object = object("tc/pacing.o");
    let run = |bytes: usize| {
        let file = folder.file("frame", vec![0u8; bytes]);
        let out = bpfassay(&["run", &object, "--data-in", &file]);
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    for (bytes, is_taken) in [(13, false), (14, true), (3712, true), (3713, false)] {
        let text = run(bytes);
        assert_eq!(!text.contains("help: a sched_cls program takes"), is_taken, "{bytes}: {text}");
    }
}
