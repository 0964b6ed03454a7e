//! What the tables owe each other.

use crate::callers::Test;
use crate::generated::{callers, ctx, helpers, kernels, kfuncs, maps, progs, sets};

/// Every configuration symbol that a row asks for.
fn asked() -> Vec<&'static str> {
    let in_tests = |tests: &'static [(bool, Test)]| {
        tests.iter().filter_map(|(_, t)| match t {
            Test::Config(name) => Some(*name),
            _ => None,
        })
    };
    let mut out: Vec<&'static str> = helpers::PROTOS.iter().filter_map(|p| p.config).collect();
    out.extend(callers::TABLES.iter().flat_map(|t| t.rules).flat_map(|r| in_tests(r.tests)));
    out.extend(ctx::TABLES.iter().flat_map(|t| t.rules).flat_map(|r| in_tests(r.tests)));
    out.extend(kfuncs::KFUNCS.iter().flat_map(|k| in_tests(k.tests)));
    out.extend(kfuncs::SETS.iter().filter_map(|s| s.config));
    out.extend(maps::MAPS.iter().flat_map(|m| m.config.iter().copied()));
    out.extend(progs::PROGS.iter().flat_map(|p| p.config.iter().copied()));
    let members = sets::SETS.iter().flat_map(|s| s.members).flat_map(|m| m.configs.iter());
    out.extend(members.flat_map(|c| c.split('|')).map(|c| c.trim_start_matches('!')));
    out
}

#[test]
fn every_build_answers_for_every_symbol_asked() {
    let asked = asked();
    assert!(asked.len() > 100);
    for build in &kernels::BUILDS {
        let known = [build.config, build.config_modules, build.config_absent].concat();
        for symbol in &asked {
            assert!(known.contains(symbol), "{} says nothing of CONFIG_{symbol}", build.release);
        }
    }
}

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

/// Fields of a layout lie inside it and leave no hole but alignment.
#[test]
fn layouts_are_whole() {
    for layout in &ctx::LAYOUTS {
        let mut end = 0;
        for (name, off, size) in layout.fields {
            assert!(off + size <= layout.size, "{}.{name}", layout.name);
            assert!(*off < end + 8, "{}: hole before {name}", layout.name);
            end = end.max(off + size);
        }
        let padded = layout.size - end;
        assert!(padded < 8, "{}: {padded} bytes unnamed at the end", layout.name);
    }
}
