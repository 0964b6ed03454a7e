//! Programs out of choices.
//!
//! Mostly well-typed: registers are written before they are read, pointers are compared with NULL, offsets are
//! bounded before they are added.  One choice in a few is careless, so that the verifier has something to reject.

mod code;
mod memory;
mod mistakes;
mod statements;

use std::sync::{Arc, OnceLock};

use bpfassay_harness::engine::Input;
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{MapType, ProgType};

use crate::case::{Case, Maps};
use crate::choices::Choices;
use code::Writer;

/// Bytes that a program may read at its input: the context of a system call program, or the packet.
pub const INPUT: usize = 64;
/// Bytes of a map's value.
pub const VALUE: u32 = 64;
/// Runs of each program.
const INPUTS: usize = 3;

/// The case that these choices stand for.
pub fn case(name: String, mut choices: Choices) -> Case {
    let prog_type = choices.pick(&[ProgType::SchedCls, ProgType::Syscall]);
    let has_maps = choices.percent(45);
    let mut w = Writer::new(&mut choices, prog_type, has_maps);
    w.program();
    let spoil = w.spoil(statements::SPOILT);
    let insns = match spoil {
        None => w.finish(),
        Some(how) => mistakes::spoilt(w.finish(), how),
    };
    let mut program = Program::bare("generated", prog_type, insns);
    program.flags.sleepable = prog_type == ProgType::Syscall;
    if has_maps {
        program.maps = maps();
    }
    let inputs = (0..INPUTS).map(|_| input(&mut choices, prog_type)).collect();
    Case { name, program, inputs, choices: choices.into_taken() }
}

/// An array and a hash table, shared by all programs.
fn maps() -> Maps {
    static MAPS: OnceLock<Maps> = OnceLock::new();
    let map = |map_type, max_entries| MapDef {
        key_size: 4,
        value_size: VALUE,
        max_entries,
        ..MapDef::bare("m", "m", map_type)
    };
    MAPS.get_or_init(|| Arc::new(vec![map(MapType::Array, 4), map(MapType::Hash, 4)])).clone()
}

fn input(choices: &mut Choices, prog_type: ProgType) -> Input {
    let mut bytes = Vec::with_capacity(INPUT);
    for _ in 0..INPUT / 8 {
        bytes.extend(number(choices).to_le_bytes());
    }
    match prog_type {
        ProgType::Syscall => Input { ctx: bytes, ..Input::default() },
        _ => {
            // A frame of no known protocol.
            bytes[12..14].copy_from_slice(&[0x88, 0xb5]);
            Input { data: bytes, ..Input::default() }
        }
    }
}

/// A word that is often small, or near a power of two.
pub(crate) fn number(choices: &mut Choices) -> u64 {
    let kind = choices.below(8);
    match kind {
        0 => choices.below(256).into(),
        1 => u64::from(choices.below(256)).wrapping_neg(),
        2 => {
            let bit = 1u64 << choices.below(64);
            bit.wrapping_add(choices.below(3).into()).wrapping_sub(1)
        }
        3 => u64::from(choices.word() as u32),
        4 => (choices.word() as i32) as u64,
        5 => u64::from(choices.below(16)) << choices.below(64),
        _ => choices.word(),
    }
}
