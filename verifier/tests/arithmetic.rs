//! Divisions of bounded scalars and comparisons of two, on releases that bound them differently.
//!
//! `arithmetic.txt` holds programs in hexadecimal, and below each what kernels answered (Debian's, in virtual machines,
//! 29 November 2026): release and hash of errno and level-2 log.

mod asked;

use asked::{Asked, Sort};
use bpfassay_isa::RawInsn;
use bpfassay_spec::ProgType;

fn insns(hex: &str) -> Vec<RawInsn> {
    let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
    bytes.chunks_exact(8).map(|c| RawInsn::from_le_bytes(c.try_into().expect("a slot"))).collect()
}

#[test]
fn bounds_are_those_of_each_kernel() {
    let sort = |prog_type| Sort { prog_type, attach: 0, target: None, flags: 0, returns: 0 };
    for release in ["6.18.15", "6.19.14", "7.0.13", "7.1.13", "7.2.13"] {
        let (kernel, btf) = asked::kernel(release);
        let (mut head, mut rows, mut wrong) = ("", 0, Vec::new());
        for line in include_str!("arithmetic.txt").lines().filter(|l| !l.starts_with('#')) {
            let Some((at, hash)) = line.strip_prefix("  ").and_then(|l| l.split_once(' ')) else {
                head = line;
                continue;
            };
            if at != release {
                continue;
            }
            let (prog_type, code) = head.split_once(' ').expect("a type and code");
            let prog_type = ProgType::from_name(prog_type).expect("a type");
            let mut asked = Asked::new(&kernel, &btf);
            asked.ask_whole(&sort(prog_type), insns(code));
            if format!("{:016x}", asked.hash) != hash {
                wrong.push(code);
            }
            rows += 1;
        }
        assert!(wrong.is_empty(), "{release}: {} of {rows}\n{}", wrong.len(), wrong.join("\n"));
        assert!(rows >= 40, "{release}: {rows}");
    }
}
