//! All patterns, arranged so that a line is compared with few of them.

use std::sync::OnceLock;

use super::pattern::{matches, weight};
use super::{all, Code};

struct Row {
    pattern: &'static str,
    weight: usize,
    code: &'static Code,
    closes: bool,
}

/// Rows by the first byte of their literal text; those that begin with any text apart.
struct Table {
    by_first: Vec<Vec<Row>>,
    open: Vec<Row>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table =
            Table { by_first: (0..256).map(|_| Vec::new()).collect(), open: Vec::new() };
        for code in all() {
            let own = code.messages.iter().map(|p| (*p, false));
            for (pattern, closes) in own.chain(code.closing.iter().map(|p| (*p, true))) {
                let row = Row { pattern, weight: weight(pattern), code, closes };
                match pattern.bytes().next() {
                    Some(b'{') if pattern.starts_with("{}") => table.open.push(row),
                    Some(first) => table.by_first[usize::from(first)].push(row),
                    None => {}
                }
            }
        }
        table
    })
}

/// The row with the most literal text that a line is of the form of.
pub(super) fn find(message: &str) -> Option<(&'static Code, bool, usize)> {
    const LONGEST: usize = 4096;
    if message.len() < LONGEST && message.contains("*(R11-") {
        return find(&stack_arguments_named(message));
    }
    let first = usize::from(message.bytes().next()?);
    if message.len() > LONGEST {
        return None;
    }
    let table = table();
    let mut best: Option<&Row> = None;
    for row in table.by_first[first].iter().chain(&table.open) {
        if best.is_none_or(|b| row.weight > b.weight) && matches(row.pattern, message) {
            best = Some(row);
        }
    }
    best.map(|r| (r.code, r.closes, r.weight))
}

/// Arguments on the stack, which 7.x prints as `*(R11-8)`, named like a register.
fn stack_arguments_named(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("*(R11-") {
        out.push_str(before);
        out.push_str("R11");
        rest = after.split_once(')').map_or("", |(_, r)| r);
    }
    out.push_str(rest);
    out
}
