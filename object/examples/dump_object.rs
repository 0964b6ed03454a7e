//! Prints what a kernel would be handed for each program of an object, one fact per line, to compare with what a
//! loader hands over: `dump_object OBJECT VMLINUX_BTF RELEASE [KCONFIG [KALLSYMS]]`.

use std::collections::HashMap;
use std::sync::Arc;

use bpfassay_object::btf::Btf;
use bpfassay_object::{Fact, Opened, Target};

#[path = "../tests/dump/mod.rs"]
mod dump;

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
    let version = release
        .split('.')
        .map(|n| n.parse::<u32>().unwrap_or(0))
        .fold(0, |v, n| v << 8 | n.min(255));
    let text = |i: usize| rest.get(i).map(|p| String::from_utf8_lossy(&read(p)).into_owned());
    let config: Option<HashMap<String, String>> = text(0).map(|t| {
        t.lines()
            .filter_map(|l| l.split_once('='))
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect()
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
    let target = Target {
        kconfig: &look,
        symbols: &address,
        possible_cpus: cpus,
        ..Target::of_btf(&btf, version)
    };
    let opened = match Opened::parse(&read(object), object) {
        Ok(o) => o,
        Err(e) => {
            println!("OPENERR {}: {e}", e.kind.name());
            return;
        }
    };
    print!("{}", dump::object(&opened.link(&target), true));
}
