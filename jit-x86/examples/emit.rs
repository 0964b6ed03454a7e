//! Writes the code of bare instructions (little-endian slots in a file) to standard output.
//!
//!     cargo run -p bpfassay-jit-x86 --example emit -- FILE > CODE
//!     objdump -D -b binary -m i386:x86-64 CODE

use std::io::Write;

use bpfassay_isa::RawInsn;
use bpfassay_jit::{OneAddress, Options, Source};
use bpfassay_jit_x86::{compile, Features};

fn main() {
    let file = std::env::args().nth(1).expect("file");
    let bytes = std::fs::read(file).expect("readable");
    let slots = bytes.chunks_exact(8).filter_map(|c| c.try_into().ok());
    let insns: Vec<RawInsn> = slots.map(RawInsn::from_le_bytes).collect();
    let options = Options { context: 0x7fff_1234_5678, blind: None };
    let features = Features { bmi2: true, movbe: true, ..Features::BASE };
    let out =
        compile(&Source::raw(&insns), &options, features, &mut OneAddress(0)).expect("compiles");
    let body = out.body as usize..out.body_end as usize;
    std::io::stdout().write_all(&out.code[body]).expect("written");
}
