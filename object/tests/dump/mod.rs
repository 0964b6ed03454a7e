//! What a kernel would be handed for an object, one fact per line; see `examples/dump_object.rs`.

use std::fmt::Write;

use bpfassay_object::model::{KernelBtfRef, Program};
use bpfassay_object::Object;

fn fnv(bytes: &[u8], len: usize) -> u64 {
    let all = bytes.iter().copied().chain(std::iter::repeat(0)).take(len);
    all.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3))
}

/// As C's `%#x`.
fn hex(n: u64) -> String {
    if n == 0 {
        return "0".to_string();
    }
    format!("{n:#x}")
}

fn btf_name(p: &Program, index: u32) -> String {
    match p.btfs.get(index as usize) {
        Some(KernelBtfRef::Module(name)) => name.clone(),
        _ => "0".to_string(),
    }
}

fn maps(o: &Object, out: &mut String) {
    for (i, m) in o.maps.iter().enumerate() {
        let init = m.initial.as_ref().filter(|_| m.map_type.number() == 2);
        let len = init.map_or(0, |_| m.value_size as usize);
        let data = init.map_or(&[][..], |d| d);
        let _ = writeln!(
            out,
            "MAP {i} type={} key={} value={} max={} flags={} extra={} bk={} bv={} kname={} init={len}:{:016x}",
            m.map_type.number(), m.key_size, m.value_size, m.max_entries, hex(m.map_flags as u64), hex(m.map_extra),
            m.btf_key_type_id, m.btf_value_type_id, m.name, if init.is_some() { fnv(data, len) } else { 0 },
        );
    }
}

fn program(p: &Program, out: &mut String) {
    let at = p.attach_target.as_ref();
    let attach =
        at.and_then(|t| t.member).unwrap_or(p.expected_attach_type.map_or(0, |a| a.number()));
    let flags = (p.flags.sleepable as u32) << 4 | (p.flags.xdp_has_frags as u32) << 5;
    let _ = writeln!(
        out,
        "LOAD type={} attach={attach} flags={} kver={:#x} btf_id={} btf={} license='{}' insns={} objbtf={}",
        p.prog_type.number(), hex(flags as u64), p.kern_version, at.map_or(0, |t| t.btf_id), btf_name(p, at.map_or(0, |t| t.btf)),
        p.license, p.insns.len(), p.btf.is_some() as u32,
    );
    if let Some(b) = &p.btf {
        let bytes = b.to_bytes();
        let _ = writeln!(out, "BTF {} {:016x}", bytes.len(), fnv(&bytes, bytes.len()));
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
        let _ = writeln!(out, "I {:02x} {} {} {off} {imm}", insn.code, insn.dst, insn.src);
        second = if wide {
            if insn.src == 3 {
                3
            } else {
                9
            }
        } else {
            0
        };
    }
    for f in &p.func_info {
        let _ = writeln!(out, "F {} {}", f.insn_off, f.type_id);
    }
    for l in &p.line_info {
        let _ = writeln!(out, "L {} {} {} {}", l.insn_off, l.file_name_off, l.line_off, l.line_col);
    }
    for m in &p.missing {
        let _ = writeln!(out, "MISSING {m}");
    }
}

/// The whole object; the reason of a refusal stands behind FAIL where `reasons` asks for it.
pub fn object(o: &Object, reasons: bool) -> String {
    let mut out = String::new();
    let mut maps_shown = false;
    for e in &o.programs {
        let _ = writeln!(out, "PROG {} sec={} autoload={}", e.name, e.section, e.autoload as u32);
        match &e.program {
            Ok(p) => {
                if !maps_shown {
                    maps(o, &mut out);
                    maps_shown = true;
                }
                program(p, &mut out);
            }
            Err(e) if reasons => {
                let _ = writeln!(out, "FAIL {}: {e}", e.kind.name());
            }
            Err(_) => out.push_str("FAIL\n"),
        }
    }
    out
}
