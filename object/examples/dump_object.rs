//! Prints what a kernel would be handed for each program of an object, one fact per line, to compare with what a
//! loader hands over: `dump_object OBJECT VMLINUX_BTF RELEASE [KCONFIG [KALLSYMS]]`.

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_object::model::{KernelBtfRef, Program};
use bpfassay_object::{Fact, Object, Opened, Target};

fn fnv(bytes: &[u8], len: usize) -> u64 {
    let all = bytes.iter().copied().chain(std::iter::repeat(0)).take(len);
    all.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3))
}

fn btf_name(p: &Program, index: u32) -> String {
    match p.btfs.get(index as usize) {
        Some(KernelBtfRef::Module(name)) => name.clone(),
        _ => "0".to_string(),
    }
}

fn print_maps(o: &Object) {
    for (i, m) in o.maps.iter().enumerate() {
        let init = m.initial.as_ref().filter(|_| m.map_type.number() == 2);
        let len = init.map_or(0, |_| m.value_size as usize);
        let data = init.map_or(&[][..], |d| d);
        println!(
            "MAP {i} name={} type={} key={} value={} max={} flags={:#x} extra={:#x} bk={} bv={} kname={} init={len}:{:016x}",
            m.source_name, m.map_type.number(), m.key_size, m.value_size, m.max_entries, m.map_flags, m.map_extra,
            m.btf_key_type_id, m.btf_value_type_id, m.name, if init.is_some() { fnv(data, len) } else { 0 },
        );
    }
}

fn print_program(p: &Program) {
    let at = p.attach_target.as_ref();
    let attach = at.and_then(|t| t.member).unwrap_or(p.expected_attach_type.map_or(0, |a| a.number()));
    let flags = (p.flags.sleepable as u32) << 4 | (p.flags.xdp_has_frags as u32) << 5;
    println!(
        "LOAD type={} attach={attach} flags={flags:#x} kver={:#x} btf_id={} btf={} license='{}' insns={} objbtf={}",
        p.prog_type.number(), p.kern_version, at.map_or(0, |t| t.btf_id), btf_name(p, at.map_or(0, |t| t.btf)),
        p.license, p.insns.len(), p.btf.is_some() as u32,
    );
    if let Some(b) = &p.btf {
        let bytes = b.to_bytes();
        println!("BTF {} {:016x}", bytes.len(), fnv(&bytes, bytes.len()));
    }
    let mut second = 0;
    for insn in &p.insns {
        let wide = second == 0 && insn.is_ld_imm64();
        let imm = match (second, wide, insn.src) {
            (3, ..) if insn.imm != 0 => btf_name(p, insn.imm as u32),
            (0, true, 1 | 2) => format!("M{}", insn.imm),
            _ => insn.imm.to_string(),
        };
        let off = match second == 0 && insn.code == 0x85 && insn.src == 2 && insn.off != 0 {
            true => btf_name(p, insn.off as u32),
            false => insn.off.to_string(),
        };
        println!("I {:02x} {} {} {off} {imm}", insn.code, insn.dst, insn.src);
        second = if wide { if insn.src == 3 { 3 } else { 9 } } else { 0 };
    }
    p.func_info.iter().for_each(|f| println!("F {} {}", f.insn_off, f.type_id));
    p.line_info.iter().for_each(|l| println!("L {} {} {} {}", l.insn_off, l.file_name_off, l.line_off, l.line_col));
    p.missing.iter().for_each(|m| println!("MISSING {m}"));
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [object, vmlinux, release, rest @ ..] = args.as_slice() else {
        eprintln!("usage: dump_object OBJECT VMLINUX_BTF RELEASE [KCONFIG [KALLSYMS]]");
        std::process::exit(64);
    };
    let btf = Arc::new(Btf::parse(&read(vmlinux), None).expect("vmlinux BTF"));
    let version = release.split('.').map(|n| n.parse::<u32>().unwrap_or(0)).fold(0, |v, n| v << 8 | n.min(255));
    let text = |i: usize| rest.get(i).map(|p| String::from_utf8_lossy(&read(p)).into_owned());
    let config: Option<HashMap<String, String>> = text(0).map(|t| {
        t.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_string(), v.to_string())).collect()
    });
    let symbols: Option<HashMap<String, u64>> = text(1).map(|t| {
        let row = |l: &str| {
            let mut f = l.split_whitespace();
            let address = u64::from_str_radix(f.next()?, 16).ok()?;
            Some((f.nth(1)?.to_string(), address))
        };
        t.lines().filter_map(row).collect()
    });
    let look = |name: &str| match &config {
        Some(c) => c.get(name).map_or(Fact::Absent, |v| Fact::Known(v.clone())),
        None => Fact::Unknown,
    };
    let address = |name: &str| match &symbols {
        Some(s) => s.get(name).map_or(Fact::Absent, |v| Fact::Known(*v)),
        None => Fact::Unknown,
    };
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let target = Target { kconfig: &look, symbols: &address, possible_cpus: cpus, ..Target::of_btf(&btf, version) };
    let opened = match Opened::parse(&read(object), object) {
        Ok(o) => o,
        Err(e) => {
            println!("OPENERR {}: {e}", e.kind.name());
            return;
        }
    };
    let o = opened.link(&target);
    let mut maps_printed = false;
    for e in &o.programs {
        println!("PROG {} sec={} autoload={}", e.name, e.section, e.autoload as u32);
        match &e.program {
            Ok(p) => {
                if !maps_printed {
                    print_maps(&o);
                    maps_printed = true;
                }
                print_program(p);
            }
            Err(e) => println!("FAIL {}: {e}", e.kind.name()),
        }
    }
}
