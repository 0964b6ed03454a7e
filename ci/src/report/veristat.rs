//! CSV as `veristat -o csv` writes and `veristat -C` reads it: file and program name are the key.
//!
//! The format has two verdicts and no kernels: a program that was not judged counts as failed, and
//! a further kernel or variant is told by the file's name (`x.o@6.18.15`, `x.o@6.18+quiet`).

use std::fmt::Write as _;

use crate::gate::outcome::{GateReport, ProgramRun};
use bpfassay_judge::VerdictWord;

const HEADER: &str = "file_name,prog_name,verdict,duration,total_insns,total_states,peak_states,\
                      max_states_per_insn,max_mark_read_len,prog_size,stack_depth";

pub(super) fn render(report: &GateReport) -> String {
    let mut out = format!("{HEADER}\n");
    let first = report.kernels.first().map_or("", |k| k.label.as_str());
    for run in &report.programs {
        let (p, s) = (&run.program, &run.program.stats);
        let verdict = match p.verdict {
            VerdictWord::Accepted => "success",
            VerdictWord::Rejected | VerdictWord::Unsupported => "failure",
        };
        let _ = writeln!(
            out,
            "{},{},{verdict},{},{},{},{},{},{},{},{}",
            cell(&file(run, first)),
            cell(&p.name),
            s.verification_us,
            s.insns_processed,
            s.total_states,
            s.peak_states,
            s.max_states_per_insn,
            s.mark_read,
            p.insn_cnt,
            s.stack_depth
        );
    }
    out
}

/// veristat names objects by their last part.
fn file(run: &ProgramRun, first: &str) -> String {
    let name = run.object.rsplit('/').next().unwrap_or(&run.object);
    match (&run.variant, run.kernel == first) {
        (None, true) => name.to_string(),
        (None, false) => format!("{name}@{}", run.kernel),
        (Some(v), _) => format!("{name}@{}+{v}", run.kernel),
    }
}

/// Its reader splits at commas, whatever quotes say, and takes no empty cell.
fn cell(s: &str) -> String {
    match s {
        "" => "-".to_string(),
        s => s.replace([',', '\n', '\r'], "_"),
    }
}
