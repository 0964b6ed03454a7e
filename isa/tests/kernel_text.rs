//! Our text against what a kernel printed for the same bytes (`kernel_text.txt`).

use std::fmt::{self, Write};

use bpfassay_isa::disasm::{Names, Text};
use bpfassay_isa::RawInsn;

/// The four helper names the recorded lines use.
struct Helpers;

impl Names for Helpers {
    fn helper(&self, id: i32, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let name = match id {
            0 => "bpf_unspec",
            1 => "bpf_map_lookup_elem",
            5 => "bpf_ktime_get_ns",
            211 => "bpf_cgrp_storage_delete",
            _ => return Ok(false),
        };
        out.write_str(name).map(|()| true)
    }

    /// The kernel function that has this BTF id there.
    fn call(&self, insn: RawInsn, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let found = insn.is_kfunc_call() && insn.imm == 99_999;
        if found {
            out.write_str("secpath_set")?;
        }
        Ok(found)
    }
}

fn slots(hex: &str) -> Vec<RawInsn> {
    let bytes: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect();
    bytes.chunks(8).map(|c| RawInsn::from_le_bytes(c.try_into().unwrap())).collect()
}

#[test]
fn text_is_the_kernels() {
    let path = std::env::var("BPFASSAY_KERNEL_TEXT");
    let recorded = match &path {
        Ok(p) => std::fs::read_to_string(p).unwrap(),
        Err(_) => include_str!("kernel_text.txt").to_string(),
    };
    let (mut lines, mut wrong) = (0, Vec::new());
    for line in recorded.lines().filter(|l| !l.starts_with('#')) {
        let (hex, text) = line.split_once(' ').unwrap();
        let raw = slots(hex);
        let ours = Text { insn: raw[0], next: raw.get(1).copied(), names: &Helpers }.to_string();
        lines += 1;
        if ours != text {
            wrong.push(format!("{hex}\n  kernel {text}\n  ours   {ours}"));
        }
    }
    assert!(lines > 400, "only {lines} recorded lines");
    assert!(wrong.is_empty(), "{} of {lines} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_known_opcode_is_recorded() {
    let recorded = include_str!("kernel_text.txt");
    let missing: Vec<String> = (0..=255u8)
        .filter(|c| bpfassay_isa::opcode::is_known(*c))
        .map(|c| format!("{c:02x}"))
        .filter(|c| !recorded.lines().any(|l| l.starts_with(c.as_str())))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
