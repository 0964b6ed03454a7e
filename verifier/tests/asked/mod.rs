//! Programs that kernels were asked about, and a hash over what they answered: errnos and level-2 logs.

#![allow(dead_code, reason = "each test uses its part")]

use std::sync::Arc;

use bpfassay_builds::Build;
use bpfassay_isa::RawInsn;
use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_object::model::{AttachTarget, ProgFlags, Program};
use bpfassay_spec::{AttachType, Kernel, ProgType};
use bpfassay_verifier::log::LogLevel;
use bpfassay_verifier::{verify, Config, Verdict};

pub fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> RawInsn {
    let mut bytes = [code, src << 4 | dst, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&off.to_le_bytes());
    bytes[4..].copy_from_slice(&imm.to_le_bytes());
    RawInsn::from_le_bytes(bytes)
}

pub fn mov(dst: u8, imm: i32) -> RawInsn {
    insn(0xb7, dst, 0, 0, imm)
}

/// A served kernel and its types.
pub fn kernel(release: &str) -> (Kernel, Arc<Btf>) {
    let build = Build::find(release).expect("a served build");
    let bytes = build.vmlinux().expect("the BTF");
    let btf = Arc::new(Btf::parse(&bytes, None).expect("a kernel's BTF"));
    (build.kernel().expect("a whole build"), btf)
}

/// What programs of one kind have in common.
#[derive(Clone)]
pub struct Sort {
    pub prog_type: ProgType,
    pub attach: u32,
    pub target: Option<(BtfKind, String)>,
    pub flags: u32,
    pub returns: i32,
}

/// A kernel, what it answers, and the hash of that.
pub struct Asked<'k> {
    pub btf: &'k Btf,
    config: Config<'k>,
    pub accepted: usize,
    pub hash: u64,
}

impl<'k> Asked<'k> {
    pub fn new(kernel: &'k Kernel, btf: &'k Arc<Btf>) -> Asked<'k> {
        let mut config = Config { log_level: LogLevel(2), ..Config::new(kernel) };
        config.vmlinux = Some(btf.clone());
        Asked { btf, config, accepted: 0, hash: 0xcbf2_9ce4_8422_2325 }
    }

    /// Judges the program, which leaves what it returns to us.
    pub fn ask(&mut self, sort: &Sort, code: &[RawInsn]) {
        self.ask_whole(sort, [code, &[mov(0, sort.returns), insn(0x95, 0, 0, 0, 0)]].concat());
    }

    pub fn ask_whole(&mut self, sort: &Sort, insns: Vec<RawInsn>) {
        let mut program = Program {
            expected_attach_type: AttachType::from_number(sort.attach),
            flags: ProgFlags::default().with_bits(sort.flags),
            ..Program::bare("x", sort.prog_type, insns)
        };
        if let Some((kind, name)) = &sort.target {
            let Some(btf_id) = self.btf.find_by_name_kind(name, *kind) else { return };
            let ops = sort.prog_type == ProgType::StructOps;
            let member = ops.then_some(sort.attach);
            program.expected_attach_type = program.expected_attach_type.filter(|_| !ops);
            program.attach_target =
                Some(AttachTarget { name: name.clone(), btf_id, btf: 0, member, program: None });
        }
        let report = verify(&program, &self.config);
        let errno = match report.verdict {
            Verdict::Accepted => 0,
            Verdict::Rejected(e) => e.0,
            Verdict::Unsupported(_) => -1,
        };
        self.accepted += usize::from(errno == 0);
        self.note(&format!("{errno}\t{}\0", masked(&report.log)));
    }

    /// FNV-1a.
    fn note(&mut self, text: &str) {
        let step = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        self.hash = text.bytes().fold(self.hash, step);
    }
}

/// Without durations, BTF ids, which are other ones in each build of a release, and numbers of more than 32 bits.
fn masked(log: &str) -> String {
    let mut out = String::new();
    for line in log.split_inclusive('\n').filter(|l| !l.starts_with("verification time")) {
        let line = replaced(line, "btf_id ", |b| b.is_ascii_digit(), 1, "btf_id N");
        let is_digit = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        out += &replaced(&line, "0x", is_digit, 9, "ADDR");
    }
    out
}

/// With `by` for each `head` and the digits behind it, of which there must be `least` and are at most 16.
fn replaced(
    text: &str,
    head: &str,
    is_digit: impl Fn(&u8) -> bool,
    least: usize,
    by: &str,
) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(head) {
        let digits = at + head.len();
        let count = rest.bytes().skip(digits).take_while(|b| is_digit(b)).take(16).count();
        let (before, after) = rest.split_at(digits + count);
        out += if count < least { before } else { &before[..at] };
        out += if count < least { "" } else { by };
        rest = after;
    }
    out + rest
}
