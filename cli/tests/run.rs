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
    assert_eq!(keys(&doc), names("agree runs schema verdict"));
    assert_eq!((&doc["schema"], &doc["agree"]), (&json!("bpfassay.run/1"), &json!(true)));
    let run = &doc["runs"][0];
    let fields =
        "code_bytes compile_ns data_out duration_ns engine r0 repeat retval retval_name trap";
    assert_eq!(keys(run), names(fields));
    assert_eq!((&run["r0"], &run["retval"], &run["repeat"]), (&json!("0x2"), &json!(2), &json!(3)));
    assert_eq!(run["retval_name"], "XDP_PASS");
    assert_eq!(doc["verdict"], json!({"verdict": "accepted"}));
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
    assert!(words.contains("the verifier rejects it with EINVAL: cannot call GPL"), "{words}");
    // It ran all the same, and that is no pass.
    assert_eq!(out.status.code(), Some(1));
    let doc = run_json(&[&object("reject/gpl_only_bad.o"), "--data-in", &packet]);
    assert_eq!(doc["verdict"]["verdict"], "rejected");
    assert_eq!(
        (&doc["verdict"]["errno"], &doc["verdict"]["errno_name"]),
        (&json!(22), &json!("EINVAL"))
    );
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

#[test]
fn what_is_expected_decides_the_exit_status() {
    let folder = Folder::new("expect");
    let packet = folder.file("packet", tcp());
    let object = object("xdp/pass.o");
    let run = |expect: &str| {
        let out = bpfassay(&["run", &object, "--data-in", &packet, "--expect", expect]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    for met in ["2", "0x2", "XDP_PASS"] {
        assert_eq!(run(met).0, Some(0), "{met}");
    }
    let (status, text) = run("XDP_DROP");
    assert_eq!(status, Some(1));
    assert!(text.contains("expected 1 XDP_DROP, got 2 XDP_PASS (interp)"), "{text}");
    assert_eq!(run("-1").0, Some(1));
    assert_eq!(run("TC_ACT_OK").0, Some(64));
    let doc = run_json(&[&object, "--data-in", &packet, "--expect", "1"]);
    assert_eq!(doc["expected"], json!({"retval": 1, "retval_name": "XDP_DROP", "met": false}));
}

/// A pcap file of this link type, one packet after another.
fn pcap(link: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = [0xa1b2_c3d4u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4]].concat();
    file.extend(65_535u32.to_le_bytes());
    file.extend(link.to_le_bytes());
    for p in packets {
        let len = (p.len() as u32).to_le_bytes();
        file.extend([[0; 4], [0; 4], len, len].concat());
        file.extend(*p);
    }
    file
}

/// The same packets as Ethernet frames, raw IP and cooked, where the program sees the same; and a radio's.
#[test]
fn a_capture_is_read_by_its_link_type() {
    let folder = Folder::new("links");
    let object = object("xdp/parse_ipv4_tcp.o");
    // A SYN to port 23, which is dropped.
    let mut frame = tcp();
    (frame[37], frame[47]) = (23, 2);
    let cooked = [&[0; 14][..], &frame[12..]].concat();
    let counts = |name: &str, link: u32, packet: &[u8]| {
        let file = folder.file(name, pcap(link, &[packet, packet]));
        let doc = run_json(&[&object, "--pcap", &file]);
        assert_eq!(doc["packets"], 2, "{name}");
        doc["retvals"].to_string()
    };
    let ethernet = counts("ethernet", 1, &frame);
    assert_eq!(ethernet, json!({"1": 2}).to_string());
    assert_eq!(counts("raw", 101, &frame[14..]), ethernet);
    assert_eq!(counts("cooked", 113, &cooked), ethernet);
    // As a frame the cooked packet is none of IPv4.
    assert_ne!(counts("wrong", 1, &cooked), ethernet);
    let radio = folder.file("radio", pcap(127, &[&frame]));
    let said = refused(&["run", &object, "--pcap", &radio]);
    assert!(said.contains("link type 127"), "{said}");
    let cut = folder.file("cut", &pcap(1, &[&frame])[..100]);
    assert!(refused(&["run", &object, "--pcap", &cut]).contains("packet 0 is cut off"));
}

/// By hand as `bpf_prog_test_run_raw_tp` has it: EINVAL below `max_ctx_offset`.
#[test]
fn a_raw_tracepoint_program_needs_the_arguments_it_reads() {
    let folder = Folder::new("raw_tp");
    let object = object("raw_tp/sys_enter.o");
    let run = |bytes: usize, engine: &str| {
        let ctx = folder.file("ctx", vec![0; bytes]);
        let out = bpfassay(&["run", &object, "--engine", engine, "--ctx-in", &ctx, "--no-filter"]);
        (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned())
    };
    for engine in engines().into_iter().chain(kernel()) {
        let none = bpfassay(&["run", &object, "--engine", engine, "--no-filter"]);
        assert_eq!(none.status.code(), Some(2), "{engine}: {none:?}");
        assert!(String::from_utf8_lossy(&none.stdout).contains("EINVAL"), "{engine}: {none:?}");
        let (status, text) = run(96, engine);
        assert!(!text.contains("EINVAL"), "{engine}: {text}");
        assert_ne!(status, Some(2), "{engine}: {text}");
    }
}

#[cfg(unix)]
#[test]
fn the_time_limit_binds_verified_programs_on_every_engine() {
    let folder = Folder::new("limit");
    let packet = folder.file("packet", tcp());
    let object = object("xdp/pass.o");
    for engine in engines().into_iter().chain(kernel()) {
        let start = std::time::Instant::now();
        let args = ["--engine", engine, "--data-in", &packet, "--repeat", "4000000000"];
        let doc = run_json(&[&[&*object, "--time-limit", "1"][..], &args].concat());
        assert_eq!(doc["runs"][0]["trap"]["kind"], "time_limit", "{engine}: {doc}");
        assert!(start.elapsed().as_secs() < 30, "{engine}");
    }
}

#[test]
fn global_data_is_set_from_the_command_line() {
    let folder = Folder::new("set");
    let packet = folder.file("packet", tcp());
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/tests/data/shapes.o");
    let shapes = shapes.display().to_string();
    let verdict = |set: &[&str]| {
        let sets: Vec<String> = set.iter().map(|s| format!("--set={s}")).collect();
        let mut args = vec!["check", &shapes, "--prog", "p_enum", "--format", "json"];
        args.extend(sets.iter().map(String::as_str));
        let out = bpfassay(&args);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    // `p_enum` is refused exactly when `mode` is FAST (shapes.c).
    assert_eq!(verdict(&[]).0, Some(0));
    for fast in ["mode=FAST", "rodata.mode=\"FAST\"", "rodata.mode=FAST"] {
        assert_eq!(verdict(&[fast]).0, Some(1), "{fast}");
    }
    assert_eq!(verdict(&["mode=SWIFT"]).0, Some(2));
    assert_eq!(verdict(&["no_such=1"]).0, Some(2));
    assert_eq!(verdict(&["mode"]).0, Some(64));
    let run =
        bpfassay(&["run", &shapes, "--prog", "p_enum", "--set", "mode=FAST", "--data-in", &packet]);
    assert!(String::from_utf8_lossy(&run.stderr).contains("the verifier rejects it"), "{run:?}");
}
