//! Where two logs of one program part.

use super::line::{Kind, Line, Lines};
use super::mask::mask_line;
use super::state::State;

/// The first line in which two logs differ after masking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// 1-based number of the line, the same in both logs.
    pub line: usize,
    /// Our line, `None` where our log has ended.
    pub ours: Option<String>,
    /// The kernel's line, `None` where its log has ended.
    pub kernels: Option<String>,
    pub place: Place,
    /// What kind of line the kernel printed (ours, where its log has ended).
    pub kind: Kind,
}

/// What the differing line is about.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Place {
    /// Instruction of the line, or the last one named before it.
    pub insn: Option<u32>,
    /// First register or slot that differs (`R1`, `fp-8`).
    pub register: Option<String>,
    /// First field that differs inside it (`umax`, `var_off`, `type`, `precise`).
    pub field: Option<String>,
}

/// Compares line by line; `None` where the logs are equal.
pub fn diff(ours: &str, kernels: &str) -> Option<Difference> {
    let (mut a, mut b) = (Lines::new(ours), Lines::new(kernels));
    let mut last_insn = None;
    let mut number = 0;
    loop {
        number += 1;
        let (ours, kernels) = match (a.next(), b.next()) {
            (None, None) => return None,
            (Some(x), Some(y)) if x.text == y.text || mask_line(&x) == mask_line(&y) => {
                last_insn = y.insn.or(last_insn);
                continue;
            }
            pair => pair,
        };
        let shown = kernels.as_ref().or(ours.as_ref())?;
        return Some(Difference {
            line: number,
            place: place(ours.as_ref(), kernels.as_ref(), last_insn),
            kind: shown.kind,
            ours: ours.map(|l| l.text.to_owned()),
            kernels: kernels.map(|l| l.text.to_owned()),
        });
    }
}

fn place(ours: Option<&Line<'_>>, kernels: Option<&Line<'_>>, last_insn: Option<u32>) -> Place {
    let insn = kernels.or(ours).and_then(|l| l.insn).or(last_insn);
    let states = ours.and_then(|l| l.state).zip(kernels.and_then(|l| l.state));
    let found = states.and_then(|(x, y)| {
        let (x, y) = (State::parse(x), State::parse(y));
        x.first_difference(&y).map(|(r, f)| (r.to_owned(), f.map(str::to_owned)))
    });
    let (register, field) = found.map_or((None, None), |(r, f)| (Some(r), f));
    Place { insn, register, field }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(insn) = self.place.insn {
            write!(f, ", insn {insn}")?;
        }
        if let Some(register) = &self.place.register {
            write!(f, ", {register}")?;
        }
        if let Some(field) = &self.place.field {
            write!(f, " ({field})")?;
        }
        let or_end = |l: &Option<String>| l.clone().unwrap_or_else(|| "<end of log>".to_owned());
        write!(f, "\n  ours:   {}\n  kernel: {}", or_end(&self.ours), or_end(&self.kernels))
    }
}

#[cfg(test)]
mod tests {
    use super::diff;

    const KERNEL: &str = "func#0 @0\n0: (18) r1 = 0xffff888100000000       ; R1=map_ptr(ks=4,vs=8)\n\
                          2: (61) r2 = *(u32 *)(r1 +0)          ; R2=scalar(umax=255) R6=1\nverification time 4 usec\n";

    #[test]
    fn equal_after_masking() {
        let ours =
            KERNEL.replace("0xffff888100000000", "0xffff888100000111").replace("time 4", "time 9");
        assert_eq!(diff(&ours, KERNEL), None);
    }

    #[test]
    fn names_line_instruction_and_register() {
        let ours = KERNEL.replace("umax=255", "umax=254");
        let d = diff(&ours, KERNEL).expect("difference");
        assert_eq!((d.line, d.place.insn), (3, Some(2)));
        assert_eq!(
            (d.place.register.as_deref(), d.place.field.as_deref()),
            (Some("R2"), Some("umax"))
        );
    }

    #[test]
    fn a_log_that_ends_early_differs_there() {
        let d = diff("func#0 @0\n", KERNEL).expect("difference");
        assert_eq!((d.line, d.ours), (2, None));
    }
}
