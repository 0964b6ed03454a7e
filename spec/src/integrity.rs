//! What the tables owe each other.

use crate::generated::{callers, ctx, helpers};

/// Tables that no program type reaches would be dead facts.
#[test]
fn every_table_is_reached() {
    use crate::callers::Answer;
    use crate::ctx::Act;
    for at in 0..callers::TABLES.len() {
        let entry = callers::ENTRY.iter().any(|(_, t)| usize::from(*t) == at)
            || callers::STRUCT_OPS.iter().any(|(_, t)| usize::from(*t) == at);
        let inner = callers::TABLES
            .iter()
            .flat_map(|t| t.rules)
            .any(|r| matches!(r.answer, Answer::Go(t) | Answer::Try(t) if usize::from(t) == at));
        assert!(entry || inner, "{}", callers::TABLES[at].name);
    }
    let sock = [
        "bpf_sock_common_is_valid_access",
        "bpf_tcp_sock_is_valid_access",
        "bpf_xdp_sock_is_valid_access",
    ];
    for (at, table) in ctx::TABLES.iter().enumerate() {
        let entry = ctx::ENTRY.iter().any(|(_, t)| usize::from(*t) == at)
            || ctx::STRUCT_OPS.iter().any(|(_, t)| usize::from(*t) == at);
        let inner = ctx::TABLES
            .iter()
            .flat_map(|t| t.rules)
            .any(|r| matches!(r.act, Act::Goto(t) if usize::from(t) == at));
        assert!(entry || inner || sock.contains(&table.name), "{}", table.name);
    }
}

/// A prototype that no table answers with would be a dead fact.
#[test]
fn every_prototype_is_answered() {
    use crate::callers::Answer;
    for (at, proto) in helpers::PROTOS.iter().enumerate() {
        let used = callers::TABLES
            .iter()
            .flat_map(|t| t.rules)
            .any(|r| matches!(r.answer, Answer::Proto(p) if usize::from(p) == at));
        assert!(used, "{}", proto.symbol);
    }
}
