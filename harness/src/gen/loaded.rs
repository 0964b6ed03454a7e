//! Random loaded programs: a context, packets, maps, helpers, callbacks, tail calls.
//!
//! Built on [`super::bare`], and safe for the same reasons: what may be null is compared, what may
//! lie beyond a packet too, addresses are overwritten after use, and every chain of calls ends.
//! Nothing here asks the verifier, whose rules are narrower.
//!
//! Stack below [`bare::STACK`]: a key at [`KEY`], a value or buffer of 32 bytes at [`BUFFER`].

use std::sync::Arc;

use bpfassay_isa::{AluOp, CallTarget, Cond, Imm64, Insn, Operand, RawInsn, Reg, Size, Width};
use bpfassay_object::model::{MapDef, Program};
use bpfassay_spec::{MapType, ProgType};

use super::bare::{Gen, Role, BASE, FP, NUMBERS, STACK};

/// What a program is handed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A system call program: plain memory of [`super::bare::MEMORY`] bytes.
    Plain,
    /// A classifier: a packet.
    Packet,
}

/// What is around a program.
pub(super) struct Around {
    kind: Kind,
    /// Functions other than callbacks, the first included.
    functions: u32,
    /// Tail calls in functions other than the first.
    tail_in_callees: bool,
}

/// A program, what it jumps to, and where in [`PROGRAMS`] that stands.
pub struct Loaded {
    pub main: Program,
    pub targets: Vec<(u32, Vec<RawInsn>)>,
}

const KEY: i16 = -72;
const BUFFER: i16 = -112;
const BUFFER_SIZE: u32 = 32;

// Maps, by index.
const ARRAY: i32 = 0;
const HASH: i32 = 1;
const PERCPU: i32 = 2;
const QUEUE: i32 = 3;
const STACK_MAP: i32 = 4;
const DATA: i32 = 5;
/// The map of programs.
pub const PROGRAMS: i32 = 6;
/// Map type, key size, value size, entries.
const MAPS: [(MapType, u32, u32, u32); 7] = [
    (MapType::Array, 4, 32, 8),
    (MapType::Hash, 4, 16, 6),
    (MapType::PercpuArray, 4, 8, 4),
    (MapType::Queue, 0, 8, 4),
    (MapType::Stack, 0, 8, 4),
    (MapType::Array, 4, 64, 1),
    (MapType::ProgArray, 4, 4, 4),
];

/// Helpers by number.
mod helper {
    pub const LOOKUP: i32 = 1;
    pub const UPDATE: i32 = 2;
    pub const DELETE: i32 = 3;
    pub const RANDOM: i32 = 7;
    pub const CPU: i32 = 8;
    pub const SKB_STORE: i32 = 9;
    pub const TAIL_CALL: i32 = 12;
    pub const SKB_LOAD: i32 = 26;
    pub const CSUM_DIFF: i32 = 28;
    pub const PUSH: i32 = 87;
    pub const POP: i32 = 88;
    pub const PEEK: i32 = 89;
    pub const FOR_EACH: i32 = 164;
    pub const LOOP: i32 = 181;
}

/// Registers that hold numbers while r1 holds an address behind a call.
const BESIDE_R1: [Reg; 3] = [Reg::R0, Reg::R6, Reg::R7];

/// The program of a seed, of about `len` instructions.
pub fn program(seed: u64, kind: Kind, len: u32) -> Loaded {
    let main = insns(seed, kind, len, true);
    let targets =
        (1..3u32).map(|i| (i - 1, insns(seed ^ u64::from(i) << 56, kind, len / 2, false)));
    Loaded { targets: targets.collect(), main: wrap(seed, kind, main) }
}

fn insns(seed: u64, kind: Kind, len: u32, tail_in_callees: bool) -> Vec<RawInsn> {
    let around = Around { kind, functions: 1, tail_in_callees };
    let mut g = Gen::new(!seed, Some(around));
    let callees = g.rng.below(3);
    if let Some(a) = &mut g.around {
        a.functions = 1 + callees;
    }
    g.function(len, callees, Role::Entry);
    for i in 0..callees {
        g.function(len / 3, callees - 1 - i, Role::Callee);
    }
    g.function(8, 0, Role::LoopBody);
    g.function(8, 0, Role::EachBody);
    g.finish()
}

fn wrap(seed: u64, kind: Kind, insns: Vec<RawInsn>) -> Program {
    let map = |(map_type, key_size, value_size, max_entries): (MapType, u32, u32, u32)| {
        let name = format!("{map_type:?}");
        MapDef { key_size, value_size, max_entries, ..MapDef::bare(&name, &name, map_type) }
    };
    let prog_type = match kind {
        Kind::Plain => ProgType::Syscall,
        Kind::Packet => ProgType::SchedCls,
    };
    let maps = Arc::new(MAPS.map(map).to_vec());
    Program { maps, ..Program::bare(format!("loaded_{seed}"), prog_type, insns) }
}

impl Gen {
    /// A unit that reaches beyond registers and stack.
    pub(super) fn outside(&mut self, role: Role) {
        let Some(Around { kind, functions, tail_in_callees }) = self.around else { return };
        let start = self.out.len();
        match role {
            Role::LoopBody | Role::EachBody => {
                let limit = if role == Role::LoopBody { STACK } else { 16 };
                let size = self.size();
                let off = self.place(size, limit);
                let insn = self.access(size, BASE, off);
                return self.out.push(insn);
            }
            Role::Callee if !tail_in_callees && self.rng.percent(10) => {
                return self.helper_number()
            }
            _ if self.rng.percent(4) => self.tail_call(),
            _ if kind == Kind::Packet && self.rng.percent(60) => match self.rng.below(6) {
                0 | 1 => self.packet(),
                2 => self.packet_load(),
                3 => self.skb_helper(),
                _ => return self.skb_field(),
            },
            _ if kind == Kind::Plain && self.rng.percent(35) => return self.memory(),
            _ => match self.rng.below(12) {
                0..=3 => self.lookup(),
                4 | 5 => self.update(),
                6 => self.queue(),
                7 => self.data(),
                8 => self.iterate(functions),
                9 => self.each(functions),
                10 => self.csum_diff(),
                _ => self.helper_number(),
            },
        }
        self.unbroken(start);
    }

    fn call_helper(&mut self, id: i32) {
        self.out.push(Insn::Call { target: CallTarget::Helper(id) });
    }

    /// After a helper that gives a number.
    fn called(&mut self, id: i32) {
        self.call_helper(id);
        self.refresh();
    }

    fn map(&mut self, dst: Reg, map: i32) {
        self.out.push(Insn::LoadImm64 { dst, value: Imm64::MapFd(map) });
    }

    fn on_stack(&mut self, dst: Reg, off: i16) {
        self.mov(dst, Operand::Reg(FP));
        self.alu(AluOp::Add, dst, Operand::Imm(off.into()));
    }

    /// Map in r1, key in r2; the key is known, or not.
    fn map_and_key(&mut self, map: i32) {
        let size = Size::W;
        let src = if self.rng.percent(40) {
            Operand::Imm(self.rng.below(10) as i32)
        } else {
            let r = self.reg();
            self.alu(AluOp::And, r, Operand::Imm(15));
            Operand::Reg(r)
        };
        self.out.push(Insn::Store { size, dst: FP, off: KEY, src });
        if self.rng.percent(50) {
            self.map(Reg::R1, map);
            self.on_stack(Reg::R2, KEY);
        } else {
            self.on_stack(Reg::R2, KEY);
            self.map(Reg::R1, map);
        }
    }

    /// Fills the buffer and puts its address into a register.
    fn buffer(&mut self, dst: Reg) {
        for i in (0..BUFFER_SIZE as i16).step_by(8) {
            let src = Operand::Reg(self.rng.pick(&[Reg::R6, Reg::R7]));
            let off = BUFFER + i;
            self.out.push(Insn::Store { size: Size::Dw, dst: FP, off, src });
        }
        self.on_stack(dst, BUFFER);
    }

    /// A jump that `land` gives its distance.
    fn leave_if(&mut self, cond: Cond, dst: Reg, src: Operand) -> usize {
        self.out.push(Insn::CondJump { cond, width: Width::W64, dst, src, off: 0 });
        self.out.len()
    }

    fn land(&mut self, from: usize) {
        let distance = (self.out.len() - from) as i16;
        if let Some(Insn::CondJump { off, .. }) = self.out.get_mut(from - 1) {
            *off = distance;
        }
    }

    /// A few accesses to `limit` bytes at r1.
    fn accesses(&mut self, limit: i16) {
        self.pool = &BESIDE_R1;
        for _ in 0..=self.rng.below(3) {
            let size = self.size();
            let off = self.place(size, limit);
            let insn = self.access(size, Reg::R1, off);
            self.out.push(insn);
        }
        self.pool = &NUMBERS;
    }

    fn lookup(&mut self) {
        let map = self.rng.pick(&[ARRAY, ARRAY, HASH, HASH, PERCPU, DATA]);
        let value = MAPS[map as usize].2 as i16;
        self.map_and_key(map);
        self.call_helper(helper::LOOKUP);
        let miss = self.leave_if(Cond::Eq, Reg::R0, Operand::Imm(0));
        if self.rng.percent(40) {
            let size = self.size();
            let off = self.place(size, value);
            let insn = match self.rng.below(3) {
                0 => Insn::Load { size, sign_extend: false, dst: Reg::R6, src: Reg::R0, off },
                1 => Insn::Store { size, dst: Reg::R0, off, src: Operand::Reg(Reg::R7) },
                _ => Insn::Store { size, dst: Reg::R0, off, src: Operand::Imm(self.imm()) },
            };
            self.out.push(insn);
        }
        if self.rng.percent(70) {
            self.mov(Reg::R1, Operand::Reg(Reg::R0));
            self.number(Reg::R0);
            self.accesses(value);
        }
        self.land(miss);
        self.number(Reg::R0);
        self.refresh();
    }

    fn update(&mut self) {
        let map = self.rng.pick(&[ARRAY, HASH, HASH, PERCPU]);
        self.map_and_key(map);
        if map == HASH && self.rng.percent(30) {
            return self.called(helper::DELETE);
        }
        self.buffer(Reg::R3);
        let flags = self.rng.below(4) as i32;
        self.mov(Reg::R4, Operand::Imm(flags));
        self.called(helper::UPDATE);
    }

    fn queue(&mut self) {
        let map = self.rng.pick(&[QUEUE, STACK_MAP]);
        self.buffer(Reg::R2);
        self.map(Reg::R1, map);
        let overwrite = self.rng.below(2) as i32 * 2;
        self.mov(Reg::R3, Operand::Imm(overwrite));
        let id = self.rng.pick(&[helper::PUSH, helper::POP, helper::PEEK]);
        self.called(id);
        let dst = self.reg();
        self.out.push(Insn::Load { size: Size::Dw, sign_extend: false, dst, src: FP, off: BUFFER });
    }

    /// Global data.
    fn data(&mut self) {
        let size = MAPS[DATA as usize].2;
        let off = self.rng.below(2) * 16;
        self.out.push(Insn::LoadImm64 { dst: Reg::R1, value: Imm64::MapValue { fd: DATA, off } });
        self.number(Reg::R0);
        self.accesses((size - off) as i16);
        self.refresh();
    }

    fn function_in(&mut self, dst: Reg, function: u32) {
        self.out.push(Insn::LoadImm64 { dst, value: Imm64::Func(function as i32) });
    }

    fn iterate(&mut self, callback: u32) {
        let n = self.rng.below(6) as i32;
        self.mov(Reg::R1, Operand::Imm(n));
        self.function_in(Reg::R2, callback);
        self.on_stack(Reg::R3, -STACK);
        self.mov(Reg::R4, Operand::Imm(0));
        self.called(helper::LOOP);
    }

    fn each(&mut self, callbacks: u32) {
        let map = self.rng.pick(&[ARRAY, HASH]);
        self.map(Reg::R1, map);
        self.function_in(Reg::R2, callbacks + 1);
        self.on_stack(Reg::R3, -STACK);
        self.mov(Reg::R4, Operand::Imm(0));
        self.called(helper::FOR_EACH);
    }

    fn csum_diff(&mut self) {
        let seed = self.reg();
        self.mov(Reg::R5, Operand::Reg(seed));
        self.on_stack(Reg::R1, -STACK);
        self.on_stack(Reg::R3, -32);
        for r in [Reg::R2, Reg::R4] {
            let len = self.rng.below(9) as i32 * 4;
            self.mov(r, Operand::Imm(len));
        }
        self.called(helper::CSUM_DIFF);
    }

    fn helper_number(&mut self) {
        let start = self.out.len();
        let id = self.rng.pick(&[helper::RANDOM, helper::CPU]);
        self.called(id);
        self.unbroken(start);
    }

    fn tail_call(&mut self) {
        self.mov(Reg::R1, Operand::Reg(BASE));
        if self.rng.percent(50) {
            let index = self.rng.below(4) as i32;
            self.mov(Reg::R3, Operand::Imm(index));
        } else {
            self.alu(AluOp::And, Reg::R3, Operand::Imm(3));
        }
        self.map(Reg::R2, PROGRAMS);
        self.call_helper(helper::TAIL_CALL);
        self.number(Reg::R0);
        self.refresh();
    }

    // A classifier's.

    /// Direct access to the packet.
    fn packet(&mut self) {
        const DATA_OFF: i16 = 76;
        let load = |dst, off| Insn::Load { size: Size::W, sign_extend: false, dst, src: BASE, off };
        let n = 8 * (1 + self.rng.below(12) as i32);
        self.out.push(load(Reg::R1, DATA_OFF));
        self.out.push(load(Reg::R2, DATA_OFF + 4));
        self.mov(Reg::R3, Operand::Reg(Reg::R1));
        self.alu(AluOp::Add, Reg::R3, Operand::Imm(n));
        let beyond = self.leave_if(Cond::Gt, Reg::R3, Operand::Reg(Reg::R2));
        self.accesses(n as i16);
        self.land(beyond);
        self.refresh();
    }

    fn packet_load(&mut self) {
        let size = self.rng.pick(&[Size::B, Size::H, Size::W]);
        let imm = self.rng.below(64) as i32;
        let index = if self.rng.percent(50) {
            let r = self.rng.pick(&[Reg::R2, Reg::R6, Reg::R7]);
            self.alu(AluOp::And, r, Operand::Imm(31));
            Some(r)
        } else {
            None
        };
        self.out.push(Insn::LoadPacket { size, index, imm });
        self.refresh();
    }

    fn skb_helper(&mut self) {
        self.buffer(Reg::R3);
        let from = self.reg();
        self.alu(AluOp::And, Reg::R2, Operand::Imm(63));
        if !matches!(from, Reg::R1 | Reg::R3) {
            self.mov(Reg::R2, Operand::Reg(from));
            self.alu(AluOp::And, Reg::R2, Operand::Imm(63));
        }
        let len = 1 + self.rng.below(BUFFER_SIZE) as i32;
        self.mov(Reg::R4, Operand::Imm(len));
        self.mov(Reg::R1, Operand::Reg(BASE));
        self.mov(Reg::R5, Operand::Imm(0));
        let id = self.rng.pick(&[helper::SKB_LOAD, helper::SKB_STORE]);
        self.called(id);
        let dst = self.reg();
        self.out.push(Insn::Load { size: Size::Dw, sign_extend: false, dst, src: FP, off: BUFFER });
    }

    fn skb_field(&mut self) {
        const READ: [i16; 9] = [0, 8, 16, 32, 48, 52, 56, 60, 64];
        const WRITTEN: [i16; 6] = [8, 32, 48, 52, 56, 64];
        let insn = if self.rng.percent(60) {
            let size = self.rng.pick(&[Size::W, Size::W, Size::H, Size::B]);
            let off = self.rng.pick(&READ);
            Insn::Load { size, sign_extend: false, dst: self.reg(), src: BASE, off }
        } else {
            let src = Operand::Reg(self.reg());
            Insn::Store { size: Size::W, dst: BASE, off: self.rng.pick(&WRITTEN), src }
        };
        self.out.push(insn);
    }
}
