//! GitHub workflow commands: `::error file=…,line=…,col=…,title=…::message`.
//!
//! Percent, carriage return and line feed are escaped everywhere, colon and comma in properties too.

use std::fmt::Write as _;

use super::{help, on, rule, subject, verdict_line, Places};
use crate::gate::outcome::{GateReport, Severity};

pub(super) fn render(report: &GateReport, places: &Places) -> String {
    let mut out = String::new();
    for f in report.findings.iter().filter(|f| f.excepted_by.is_none()) {
        let word = match f.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "notice",
        };
        let place = places.of(f, report);
        let _ = write!(out, "::{word} file={}", property(&place.path));
        if let Some(line) = place.line {
            let _ = write!(out, ",line={line}");
        }
        if let Some(column) = place.column {
            let _ = write!(out, ",col={column}");
        }
        let title = match &f.program {
            Some(p) => format!("{}: {p}", rule(f)),
            None => rule(f).to_string(),
        };
        let mut text = vec![f.message.clone()];
        text.extend(subject(f));
        text.extend(on(f, report).map(|on| format!("on {on}")));
        text.extend(f.flips.iter().map(|turn| turn.to_string()));
        text.extend(help(f));
        let _ = writeln!(out, ",title={}::{}", property(&title), data(&text.join("\n")));
    }
    // A line that is no command is simply shown in the log.
    let _ = writeln!(out, "bpfassay gate: {}", verdict_line(report));
    out
}

fn data(s: &str) -> String {
    s.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(s: &str) -> String {
    data(s).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::{data, property};

    #[test]
    fn what_ends_a_command_is_escaped() {
        assert_eq!(data("50 %\r\n::error::x"), "50 %25%0D%0A::error::x");
        assert_eq!(property("a,b:c%\n"), "a%2Cb%3Ac%25%0A");
    }
}
