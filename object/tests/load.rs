//! Our own objects, loaded, beside what libbpf hands to the kernel for them (recorded in `data/*.libbpf.txt`).

use std::sync::Arc;

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::{Fact, LoadErrorKind, Loader, Object, Opened, Slot, Target};

mod dump;

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn kernel() -> Arc<Btf> {
    Arc::new(Btf::parse(&data("kernel.btf"), None).unwrap())
}

fn config(name: &str) -> Fact<String> {
    match name {
        "CONFIG_HZ" => Fact::Known("250".to_string()),
        "CONFIG_TUN" => Fact::Known("m".to_string()),
        "CONFIG_DEFAULT_HOSTNAME" => Fact::Known("\"(none) and more\"".to_string()),
        "CONFIG_ABSENT_OPTION" => Fact::Known("n".to_string()),
        _ => Fact::Unknown,
    }
}

fn target(btf: &Arc<Btf>) -> Target<'_> {
    Target { kconfig: &config, possible_cpus: 2, ..Target::of_btf(btf, 0x06122c) }
}

fn load(name: &str) -> Object {
    Opened::parse(&data(name), name).unwrap().link(&target(&kernel()))
}

fn compare(name: &str) {
    let recorded = String::from_utf8(data(&format!("{name}.libbpf.txt"))).unwrap();
    let recorded: Vec<&str> = recorded.lines().filter(|l| !l.starts_with('#')).collect();
    let ours = dump::object(&load(&format!("{name}.o")), false);
    for (i, (ours, theirs)) in ours.lines().zip(&recorded).enumerate() {
        assert_eq!(ours, *theirs, "{name}: fact {}", i + 1);
    }
    assert_eq!(ours.lines().count(), recorded.len());
}

#[test]
fn maps_and_externs_as_libbpf() {
    compare("maps");
}

#[test]
fn relocations_to_a_kernel_as_libbpf() {
    compare("core");
}

#[test]
fn subprograms_as_libbpf() {
    compare("calls");
}

#[test]
fn subprograms_keep_their_names() {
    let o = load("calls.o");
    let entry = o.programs.iter().find(|e| e.name == "entry_b").unwrap();
    let p = entry.program.as_ref().unwrap();
    let names: Vec<_> = p.subprogs.iter().map(|s| (s.name.as_str(), s.is_global)).collect();
    // Depth first: what a subprogram calls comes before what its caller calls next.
    let want = [
        ("entry_b", true),
        ("global_last", true),
        ("leaf", false),
        ("middle", false),
        ("hidden_one", false),
    ];
    assert_eq!(names, want);
    assert_eq!(p.subprogs.iter().map(|s| s.insn_cnt as usize).sum::<usize>(), p.insns.len());
    assert!(p.subprogs.windows(2).all(|w| w[0].insn_off + w[0].insn_cnt == w[1].insn_off));
}

#[test]
fn a_program_without_a_type_does_not_hide_the_others() {
    let o = load("calls.o");
    let kinds: Vec<_> =
        o.programs.iter().filter_map(|e| e.program.as_ref().err()).map(|e| e.kind).collect();
    assert_eq!(kinds, [LoadErrorKind::ProgType]);
    let mut opened = Opened::parse(&data("calls.o"), "calls.o").unwrap();
    assert!(opened.set_type("entry_untyped", bpfassay_spec::ProgType::SocketFilter, None));
    assert!(opened.link(&target(&kernel())).programs.iter().all(|e| e.program.is_ok()));
}

#[test]
fn an_unknown_kernel_btf_is_no_poison() {
    let empty = Arc::new(Btf::empty());
    let target = Target { btf: None, ..target(&empty) };
    let o = Opened::parse(&data("core.o"), "core.o").unwrap().link(&target);
    for e in &o.programs {
        let p = e.program.as_ref().unwrap();
        assert!(
            p.missing.iter().any(|m| m.contains("struct plain")),
            "{}: {:?}",
            e.name,
            p.missing
        );
    }
    // With the whole BTF, what is not there is known not to be.
    assert!(load("core.o").programs.iter().all(|e| e.program.as_ref().unwrap().missing.is_empty()));
}

#[test]
fn unknown_configuration_is_missing_and_absent_strong_options_are_refused() {
    let btf = kernel();
    let opened = Opened::parse(&data("maps.o"), "maps.o").unwrap();
    let o = opened.link(&Target { kconfig: &|_| Fact::Unknown, ..target(&btf) });
    assert!(o.programs[0]
        .program
        .as_ref()
        .unwrap()
        .missing
        .contains(&"kernel configuration CONFIG_HZ".to_string()));
    // All of them are weak here: absent means zero.
    let o = opened.link(&Target { kconfig: &|_| Fact::Absent, ..target(&btf) });
    assert!(o.programs.iter().all(|e| e.program.as_ref().is_ok_and(|p| p.missing.is_empty())));
}

#[test]
fn globals_can_be_set_before_loading() {
    let mut opened = Opened::parse(&data("maps.o"), "maps.o").unwrap();
    opened.set_global("counter", &42i32.to_le_bytes()).unwrap();
    opened.set_global("zeroed", &[1; 12]).unwrap();
    assert!(opened.set_global("counter", &[0; 5]).is_err(), "longer than the variable");
    assert!(opened.set_global("no_such_variable", &[0]).is_err());
    let globals = opened.globals();
    let counter = globals.iter().find(|g| g.name == "counter").unwrap();
    assert_eq!((counter.section.as_str(), counter.size), (".data", 4));
    assert_eq!(opened.btf().unwrap().name(counter.type_id), "int");
    assert_eq!(opened.global_bytes(counter), 42u32.to_le_bytes());
    assert!(opened.write_global(counter, &[0; 5]).is_err(), "longer than the variable");
    let o = opened.link(&target(&kernel()));
    let map = |name: &str| o.maps.iter().find(|m| m.source_name == name).unwrap();
    let btf = o.btf.as_ref().unwrap();
    for (section, var, want) in
        [(".data", "counter", 42u32.to_le_bytes()), (".bss", "zeroed", [1; 4])]
    {
        let sec = btf.find_by_name_kind(section, BtfKind::Datasec).unwrap();
        let at = btf.ty(sec).unwrap().vars().find(|v| btf.name(v.type_id) == var).unwrap().offset
            as usize;
        assert_eq!(map(section).initial.as_ref().unwrap()[at..at + 4], want);
    }
}

#[test]
fn refusals_say_what_and_where() {
    let kind = |bytes: &[u8]| Opened::parse_for(bytes, "x.o", Loader::Libbpf).unwrap_err().kind;
    let good = data("maps.o");
    assert_eq!(kind(b"#!/bin/sh"), LoadErrorKind::Elf);
    assert_eq!(kind(&[]), LoadErrorKind::Elf);
    let with = |at: usize, bytes: &[u8]| {
        let mut b = good.clone();
        b[at..at + bytes.len()].copy_from_slice(bytes);
        b
    };
    assert_eq!(kind(&with(4, &[1])), LoadErrorKind::NotBpf, "32-bit");
    assert_eq!(kind(&with(18, &[62, 0])), LoadErrorKind::NotBpf, "x86-64");
    let mut big = with(5, &[2]);
    big[16..20].copy_from_slice(&[0, 1, 0, 247]);
    assert_eq!(kind(&big), LoadErrorKind::BigEndian);
    // Section names of another meaning: `maps` was one before libbpf 1.0, `.maps` without BTF is unusable.
    let rename = |from: &str, to: &str| {
        let at = good.windows(from.len()).rposition(|w| w == from.as_bytes()).unwrap();
        with(at, to.as_bytes())
    };
    assert_eq!(kind(&rename("license\0", "maps\0\0\0\0")), LoadErrorKind::LegacyMaps);
    assert_eq!(kind(&rename(".BTF\0", ".BTX\0")), LoadErrorKind::Btf);
}

#[test]
fn initial_slots_of_maps() {
    let o = load("maps.o");
    let index = |name: &str| o.maps.iter().position(|m| m.source_name == name).unwrap();
    // As maps.c writes them down.
    let outer = [(1, Slot::Map(index("inner_two"))), (3, Slot::Map(index("inner_one")))];
    assert_eq!(o.map_slots[index("outer")], outer);
    assert_eq!(o.map_slots[index("jumps")], [(1, Slot::Program("tail_target".to_string()))]);
    assert!(o.map_slots[index("hash")].is_empty());
}
