//! A program, what it is run on, and how to make it again.

use std::sync::Arc;

use bpfassay_harness::engine::Input;
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;

/// What oracles look at.
#[derive(Clone, Debug)]
pub struct Case {
    /// For people: where it came from.
    pub name: String,
    pub program: Program,
    pub inputs: Vec<Input>,
    /// The choices it was made of; empty for programs of objects.
    pub choices: Vec<u64>,
}

impl Case {
    /// The same with other instructions.
    pub fn with_insns(&self, insns: Vec<RawInsn>) -> Case {
        let program = Program { insns, ..self.program.clone() };
        Case { program, choices: Vec::new(), ..self.clone() }
    }

    /// The instructions as the kernel's disassembler prints them, a line each.
    pub fn text(&self) -> String {
        let insns = &self.program.insns;
        let mut out = String::new();
        let mut i = 0;
        while i < insns.len() {
            out.push_str(&bpfassay_judge::insn_text(insns, i as u32).unwrap_or_default());
            out.push('\n');
            i += if insns[i].is_ld_imm64() { 2 } else { 1 };
        }
        out
    }

    pub fn has_map(&self) -> bool {
        !self.program.maps.is_empty()
    }
}

/// Shared by a generator's programs.
pub type Maps = Arc<Vec<bpfassay_object::model::MapDef>>;
