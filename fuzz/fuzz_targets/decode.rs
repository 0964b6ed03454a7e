//! Any bytes as instruction slots: every slot prints, and what decodes encodes back to itself.
#![no_main]

use bpfassay_isa::disasm::{write_insn, NoNames};
use bpfassay_isa::{decode, encode, RawInsn};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let slots: Vec<RawInsn> = data
        .chunks_exact(8)
        .filter_map(|c| Some(RawInsn::from_le_bytes(c.try_into().ok()?)))
        .collect();
    let mut text = String::new();
    for (i, raw) in slots.iter().enumerate() {
        let next = slots.get(i + 1).copied();
        let _ = write_insn(&mut text, &NoNames, *raw, next);
        if let Ok(insn) = decode(*raw, next) {
            let (first, second) = encode(&insn);
            assert_eq!(first, *raw);
            assert!(second.is_none() || second == next);
        }
    }
});
