//! A program with instructions put in: jumps, calls, functions and lines move along.

use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_isa::field::{Class, JmpCode};
use bpfassay_isa::RawInsn;
use bpfassay_object::model::Program;

/// Instructions to put before the one at `at`; who jumped there comes to them first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Insertion {
    pub at: u32,
    /// In the assembler's syntax; a label at the end stands for the instruction at `at`.
    pub text: String,
    /// Only the jump from this earlier instruction comes to them.
    pub only_from: Option<u32>,
}

impl Insertion {
    pub fn new(at: u32, text: impl Into<String>) -> Insertion {
        Insertion { at, text: text.into(), only_from: None }
    }

    /// On the way of one jump to `at`.
    pub fn on_edge(from: u32, at: u32, text: impl Into<String>) -> Insertion {
        let text = format!("goto after\n{}\nafter:", text.into());
        Insertion { at, text, only_from: Some(from).filter(|f| *f < at) }
    }
}

/// The program with every insertion made; None where one does not assemble or a jump no longer reaches.
pub fn insert(program: &Program, insertions: &[Insertion]) -> Option<Program> {
    let mut sorted: Vec<&Insertion> = insertions.iter().collect();
    // From the end, so that places before it stay what they are.
    sorted.sort_by_key(|i| std::cmp::Reverse(i.at));
    let mut program = program.clone();
    for i in sorted {
        let new = assemble(&i.text, &NoNames).ok()?;
        one(&mut program, i.at, &new)?;
        if let Some(from) = i.only_from {
            let jump = program.insns.get_mut(from as usize)?;
            jump.off = jump.off.checked_add(1)?;
        }
    }
    Some(program)
}

/// Where an instruction of the changed program stood before; that of the insertion itself for those put in.
pub fn before(insertions: &[Insertion], idx: u32) -> u32 {
    let mut sorted: Vec<&Insertion> = insertions.iter().collect();
    sorted.sort_by_key(|i| i.at);
    let mut back = idx;
    for i in sorted {
        let n = assemble(&i.text, &NoNames).map_or(0, |new| new.len() as u32);
        if back >= i.at + n {
            back -= n;
        } else if back >= i.at {
            return i.at;
        }
    }
    back
}

fn one(program: &mut Program, at: u32, new: &[RawInsn]) -> Option<()> {
    let n = new.len() as i64;
    let len = program.insns.len() as u32;
    // Tables of indirect jumps stand in maps, which stay as they are.
    if at >= len || program.insns.iter().any(|i| i.is_gotox()) {
        return None;
    }
    let moved = |t: i64| if t > i64::from(at) { t + n } else { t };
    let mut i = 0;
    while i < len {
        let insn = &mut program.insns[i as usize];
        let wide = insn.is_ld_imm64();
        let from = i64::from(i) + if i >= at { n } else { 0 };
        if let Some(distance) = distance(*insn) {
            let to = i64::from(i) + 1 + distance;
            let new = moved(to) - from - 1;
            match in_imm(*insn) {
                true => insn.imm = i32::try_from(new).ok()?,
                false => insn.off = i16::try_from(new).ok()?,
            }
        }
        i += if wide { 2 } else { 1 };
    }
    program.insns.splice(at as usize..at as usize, new.iter().copied());
    let n = new.len() as u32;
    program.func_info.iter_mut().filter(|f| f.insn_off > at).for_each(|f| f.insn_off += n);
    program.line_info.iter_mut().filter(|l| l.insn_off > at).for_each(|l| l.insn_off += n);
    for s in &mut program.subprogs {
        if s.insn_off > at {
            s.insn_off += n;
        } else if at < s.insn_off + s.insn_cnt {
            s.insn_cnt += n;
        }
    }
    Some(())
}

/// How far a jump, a call within the program or an address of one of its functions leads.
fn distance(insn: RawInsn) -> Option<i64> {
    if insn.is_pseudo_func() || insn.is_pseudo_call() {
        return Some(i64::from(insn.imm));
    }
    let is_jump = matches!(insn.class(), Class::Jmp | Class::Jmp32)
        && !matches!(insn.jmp_op(), JmpCode::Exit | JmpCode::Call | JmpCode::UndefinedF);
    is_jump.then(|| match insn.is_gotol() {
        true => i64::from(insn.imm),
        false => i64::from(insn.off),
    })
}

fn in_imm(insn: RawInsn) -> bool {
    insn.is_pseudo_func() || insn.is_pseudo_call() || insn.is_gotol()
}

#[cfg(test)]
mod tests {
    use bpfassay_isa::asm::{assemble, NoNames};
    use bpfassay_object::model::Program;
    use bpfassay_spec::ProgType;

    use super::{before, insert, Insertion};

    fn program(text: &str) -> Program {
        let insns = assemble(text, &NoNames).expect("it assembles");
        Program::bare("p", ProgType::SocketFilter, insns)
    }

    #[test]
    fn jumps_lead_where_they_led() {
        let p = program("r0 = 0\nif r1 == 0x0 goto out\nr0 = 1\ngoto out\nr0 = 2\nout:\nexit");
        let put = [Insertion::new(2, "r2 = 0\nr3 = 0"), Insertion::new(5, "r4 = 0")];
        let changed = insert(&p, &put).expect("it can be put in");
        let want = program(
            "r0 = 0\nif r1 == 0x0 goto out\nr2 = 0\nr3 = 0\nr0 = 1\ngoto out\nr0 = 2\nout:\nr4 = 0\nexit",
        );
        assert_eq!(changed.insns, want.insns);
        let back: Vec<u32> = (0..9).map(|i| before(&put, i)).collect();
        assert_eq!(back, [0, 1, 2, 2, 2, 3, 4, 5, 5]);
    }

    #[test]
    fn one_jump_alone_is_led_through_new_code() {
        let p = program("r0 = 0\nif r1 == 0x0 goto out\nif r2 == 0x0 goto out\nr0 = 2\nout:\nexit");
        let changed = insert(&p, &[Insertion::on_edge(1, 4, "r4 = 0")]).expect("it can be put in");
        let want = program(
            "r0 = 0\nif r1 == 0x0 goto new\nif r2 == 0x0 goto old\nr0 = 2\nold:\ngoto out\nnew:\nr4 = 0\nout:\nexit",
        );
        assert_eq!(changed.insns, want.insns);
    }

    #[test]
    fn loops_and_calls_come_along() {
        let p = program("top:\nr0 = 0\nif r1 != 0x0 goto top\ncall pc+1\nexit\nr0 = 0\nexit");
        let changed = insert(&p, &[Insertion::new(1, "r2 = 0")]).expect("it can be put in");
        assert_eq!((changed.insns[2].off, changed.insns[3].imm), (-3, 1));
        let changed = insert(&p, &[Insertion::new(3, "r0 = 1")]).expect("it can be put in");
        assert_eq!(changed.insns[2].imm, 2);
        assert!(insert(&p, &[Insertion::new(6, "r0 = 1")]).is_none());
    }
}
