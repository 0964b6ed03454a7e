//! `--sort` and `--filter`: which programs are shown, and in which order.

use std::cmp::Ordering;

use bpfassay_ci::gate::values::Pattern;
use bpfassay_judge::{ObjectReport, ProgramReport};
use clap::ValueEnum;

/// A column of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Column {
    Verdict,
    Object,
    Program,
    Type,
    Insns,
    Processed,
    States,
    Stack,
    Time,
}

/// What stands in a column: text, or a number.
enum Cell {
    Text(String),
    Number(u64),
}

impl Column {
    fn of(self, object: &ObjectReport, p: &ProgramReport) -> Cell {
        let text = |s: &str| Cell::Text(s.to_string());
        match self {
            Column::Verdict => text(p.verdict.as_str()),
            Column::Object => text(&object.path),
            Column::Program => text(&p.name),
            Column::Type => text(p.prog_type),
            Column::Insns => Cell::Number(p.insn_cnt as u64),
            Column::Processed => Cell::Number(p.stats.insns_processed.into()),
            Column::States => Cell::Number(p.stats.total_states.into()),
            Column::Stack => Cell::Number(p.stats.stack_depth.into()),
            Column::Time => Cell::Number(p.stats.verification_us),
        }
    }

    fn is_number(self) -> bool {
        use Column as C;
        matches!(self, C::Insns | C::Processed | C::States | C::Stack | C::Time)
    }
}

/// A column and a direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sort {
    column: Column,
    descending: bool,
}

impl Sort {
    /// `COLUMN`, or `-COLUMN` from the greatest down.
    pub fn parse(text: &str) -> Result<Sort, String> {
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        Ok(Sort { column: column(name)?, descending })
    }
}

fn column(name: &str) -> Result<Column, String> {
    Column::from_str(name, true).map_err(|_| {
        let all = Column::value_variants().iter().filter_map(|c| c.to_possible_value());
        let all: Vec<String> = all.map(|v| v.get_name().to_string()).collect();
        format!("no column `{name}`; there are {}", all.join(", "))
    })
}

/// A condition on a column.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Text like a glob, or unlike it.
    Text(Column, Pattern, bool),
    /// A number that compares so with another.
    Number(Column, &'static [Ordering], u64),
}

impl Filter {
    /// `COLUMN=GLOB`, `COLUMN!=GLOB`, and for numbers also `<`, `<=`, `>`, `>=`.
    pub fn parse(text: &str) -> Result<Filter, String> {
        use Ordering::{Equal, Greater, Less};
        const SIGNS: [(&str, &[Ordering]); 6] = [
            ("!=", &[Less, Greater]),
            ("<=", &[Less, Equal]),
            (">=", &[Greater, Equal]),
            ("=", &[Equal]),
            ("<", &[Less]),
            (">", &[Greater]),
        ];
        let at = text.find(['!', '<', '>', '=']).ok_or("write COLUMN=VALUE, or another sign")?;
        let (name, rest) = text.split_at(at);
        let column = column(name.trim())?;
        let sign = SIGNS.into_iter().find_map(|(s, o)| Some((s, o, rest.strip_prefix(s)?)));
        let (sign, orders, value) = sign.ok_or("signs are =, !=, <, <=, >, >=")?;
        if column.is_number() {
            let number = value.trim().parse();
            let number = number.map_err(|_| format!("`{value}` is no number"))?;
            return Ok(Filter::Number(column, orders, number));
        }
        if !matches!(sign, "=" | "!=") {
            return Err(format!("`{}` is text, which takes = and != only", name.trim()));
        }
        Ok(Filter::Text(column, Pattern::new(value.trim())?, sign == "="))
    }

    fn takes(&self, object: &ObjectReport, program: &ProgramReport) -> bool {
        match self {
            Filter::Text(column, glob, wanted) => match column.of(object, program) {
                Cell::Text(text) => glob.matches_object(&text) == *wanted,
                Cell::Number(_) => true,
            },
            Filter::Number(column, orders, to) => match column.of(object, program) {
                Cell::Number(n) => orders.contains(&n.cmp(to)),
                Cell::Text(_) => true,
            },
        }
    }
}

/// The programs to show, in order.
pub fn select<'r>(
    objects: &'r [ObjectReport],
    filters: &[Filter],
    sort: Option<Sort>,
) -> Vec<(&'r ObjectReport, &'r ProgramReport)> {
    let all = objects.iter().flat_map(|o| o.programs.iter().map(move |p| (o, p)));
    let mut shown: Vec<_> = all.filter(|(o, p)| filters.iter().all(|f| f.takes(o, p))).collect();
    if let Some(Sort { column, descending }) = sort {
        let order = |a: &(&ObjectReport, &ProgramReport), b: &(&ObjectReport, &ProgramReport)| {
            let order = match (column.of(a.0, a.1), column.of(b.0, b.1)) {
                (Cell::Text(a), Cell::Text(b)) => a.cmp(&b),
                (Cell::Number(a), Cell::Number(b)) => a.cmp(&b),
                _ => Ordering::Equal,
            };
            if descending {
                order.reverse()
            } else {
                order
            }
        };
        // Stable: equals stay in the report's order.
        shown.sort_by(order);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_condition_says_so() {
        for (text, part) in [
            ("processed", "COLUMN=VALUE"),
            ("colour=red", "no column `colour`"),
            ("processed>many", "no number"),
            ("program<x", "= and != only"),
            ("stack!3", "signs are"),
        ] {
            let said = Filter::parse(text).expect_err(text);
            assert!(said.contains(part), "{text}: {said}");
        }
        assert!(Filter::parse("processed >= 10").is_ok() && Filter::parse("program!=x*").is_ok());
        assert_eq!(Sort::parse("-stack"), Ok(Sort { column: Column::Stack, descending: true }));
        assert!(Sort::parse("size").is_err());
    }
}
