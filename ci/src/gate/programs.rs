//! `[program.NAME]` and `[[program]]`: what holds for one program, and what the application sets of it before loading.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bpfassay_object::{AttachProgram, Opened, ProgramOverride};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::files;
use crate::gate::config::{Budget, Reader};
use crate::gate::error::ConfigError;
use crate::gate::values::Pattern;
use crate::gate::variant;

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
    /// Values of the object that it attaches to, as `NAME=VALUE`.
    pub attach_set: Vec<String>,
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

/// Reads the objects of the programs that rules attach to; an error has the rule's place.
pub fn read_targets(
    rules: &mut [ProgramRule],
    folder: &Path,
) -> Result<(), (Range<usize>, String)> {
    for rule in rules {
        let Some(text) = &rule.to.attach_target else { continue };
        let at = |why: String| (rule.span.clone(), why);
        let Some(mut of) = attach_program(text, folder).map_err(at)? else {
            match rule.attach_set.is_empty() {
                true => continue,
                false => return Err(at(format!("`{text}` names no object to set values of"))),
            }
        };
        if !rule.attach_set.is_empty() {
            let shape = variant::of_assignments(&rule.attach_set).map_err(at)?;
            let set = variant::in_shape(&of.object, &shape).map_err(at)?;
            of.object = Arc::new(set);
        }
        (rule.to.attach_program, rule.to.attach_target) = (Some(of), None);
    }
    Ok(())
}

/// A program of another object, as `OBJECT:PROGRAM[:FUNCTION]`; None where the text before no colon is a file.
///
/// # Errors
/// An object that cannot be read, or a text that names none of its programs.
pub fn attach_program(text: &str, folder: &Path) -> Result<Option<AttachProgram>, String> {
    let mut colons = text.match_indices(':').map(|(at, _)| text.split_at(at));
    let Some((name, rest)) = colons.find(|(file, _)| folder.join(file).is_file()) else {
        return Ok(None);
    };
    let (program, function) = match rest[1..].split_once(':') {
        Some((program, function)) => (program, Some(function.to_string())),
        None => (&rest[1..], None),
    };
    let path = folder.join(name);
    let bytes = files::read(&path, files::MAX_OBJECT).map_err(|e| format!("{name}: {e}"))?;
    let opened = Opened::parse(&bytes, name).map_err(|e| format!("{name}: {e}"))?;
    if !opened.program_names().any(|n| n == program) {
        return Err(format!("{name}: no program `{program}`"));
    }
    Ok(Some(AttachProgram { object: Arc::new(opened), program: program.to_string(), function }))
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
    #[serde(default)]
    attach_set: Vec<String>,
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
    let attach_target = raw.attach_target.map(Spanned::into_inner);
    let to = ProgramOverride { prog_type, attach_target, attach_program: None };
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
        attach_set: raw.attach_set,
    })
}
