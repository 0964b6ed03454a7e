//! `[program.NAME]` and `[[program]]`: what holds for one program, and what the application sets of it before loading.

use std::fmt;
use std::ops::Range;

use bpfassay_object::{Opened, ProgramOverride};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::gate::config::{Budget, Reader};
use crate::gate::error::ConfigError;
use crate::gate::values::Pattern;

/// What holds for one program.
#[derive(Clone, Debug)]
pub struct ProgramRule {
    pub span: Range<usize>,
    pub name: String,
    pub object: Option<Pattern>,
    pub budget: Budget,
    /// Not being judged is no failure.
    pub allow_unsupported: bool,
    /// What the application sets.
    pub to: ProgramOverride,
}

impl ProgramRule {
    /// True for programs of the object at `path`.
    pub fn is_for(&self, path: &str) -> bool {
        self.object.as_ref().is_none_or(|o| o.matches_object(path))
    }
}

/// Sets what the rules say of an object's programs; a rule that names the object comes after one that names none.
pub fn apply(rules: &[ProgramRule], path: &str, opened: &mut Opened) {
    let general = rules.iter().filter(|r| r.object.is_none());
    let own = rules.iter().filter(|r| r.object.is_some() && r.is_for(path));
    for rule in general.chain(own) {
        opened.override_programs(Some(&rule.name), &rule.to);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawProgram {
    name: Option<Spanned<String>>,
    object: Option<Pattern>,
    #[serde(default)]
    budget: Budget,
    unsupported: Option<Spanned<String>>,
    #[serde(rename = "type")]
    prog_type: Option<Spanned<String>>,
    attach_target: Option<Spanned<String>>,
}

/// Rules as written: a table per name, or a list of tables with names.
#[derive(Default)]
pub(crate) struct RawPrograms(Vec<(Option<Spanned<String>>, Spanned<RawProgram>)>);

impl<'de> Deserialize<'de> for RawPrograms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RawPrograms, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawPrograms;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tables `[program.NAME]`, or `[[program]]` with a name each")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawPrograms, A::Error> {
                let mut out = Vec::new();
                while let Some(rule) = seq.next_element()? {
                    out.push((None, rule));
                }
                Ok(RawPrograms(out))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawPrograms, A::Error> {
                let mut out = Vec::new();
                while let Some((name, rule)) = map.next_entry()? {
                    out.push((Some(name), rule));
                }
                Ok(RawPrograms(out))
            }
        }
        from.deserialize_any(Either)
    }
}

impl RawPrograms {
    pub(crate) fn rules(self, at: &Reader<'_>) -> Result<Vec<ProgramRule>, ConfigError> {
        let mut rules = Vec::new();
        for (key, raw) in self.0 {
            rules.push(rule(at, key, raw)?);
        }
        rules.sort_by_key(|r| r.span.start);
        let object = |r: &ProgramRule| r.object.as_ref().map(|o| o.text.clone());
        for (i, r) in rules.iter().enumerate() {
            if rules[..i].iter().any(|o| o.name == r.name && object(o) == object(r)) {
                return Err(at.error(r.span.clone(), format!("program `{}` has two rules", r.name)));
            }
        }
        Ok(rules)
    }
}

fn rule(
    at: &Reader<'_>,
    key: Option<Spanned<String>>,
    raw: Spanned<RawProgram>,
) -> Result<ProgramRule, ConfigError> {
    let whole = raw.span();
    let raw = raw.into_inner();
    let name = match (key, raw.name) {
        (Some(_), Some(again)) => {
            return Err(at.error(again.span(), "the program's name stands in the table's name"));
        }
        (Some(name), None) | (None, Some(name)) => name,
        (None, None) => return Err(at.error(whole, "missing field `name`")),
    };
    let (span, name) = (name.span(), name.into_inner());
    if name.is_empty() {
        return Err(at.error(span, "a program rule needs a name"));
    }
    at.budget(&raw.budget)?;
    if let Some(u) = raw.unsupported.as_ref().filter(|u| u.get_ref() != "allow") {
        let message = format!("`unsupported` is \"allow\" or left out, not `{}`", u.get_ref());
        return Err(at.error(u.span(), message));
    }
    let prog_type = match &raw.prog_type {
        Some(t) => {
            let parsed = ProgramOverride::parse_type(t.get_ref());
            Some(parsed.map_err(|why| at.error(t.span(), why))?)
        }
        None => None,
    };
    if let Some(t) = raw.attach_target.as_ref().filter(|t| t.get_ref().is_empty()) {
        return Err(at.error(t.span(), "`attach-target` names a function or hook"));
    }
    let to =
        ProgramOverride { prog_type, attach_target: raw.attach_target.map(Spanned::into_inner) };
    let b = &raw.budget;
    let sets = b.insns_processed.is_some() || b.states.is_some() || b.stack_depth.is_some();
    if !sets && raw.unsupported.is_none() && to == ProgramOverride::default() {
        return Err(at.error(whole, format!("the rule for program `{name}` says nothing")));
    }
    Ok(ProgramRule {
        span,
        name,
        object: raw.object,
        budget: raw.budget,
        allow_unsupported: raw.unsupported.is_some(),
        to,
    })
}
