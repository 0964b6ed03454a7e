//! From found objects to judgements: each object read once, linked per kernel and variant, programs in parallel.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;

use bpfassay_object::Opened;
use bpfassay_spec::Release;
use rayon::prelude::*;

use crate::files;
use crate::gate::calls::{calls, Callee};
use crate::gate::config::{Config, Variant};
use crate::gate::error::ConfigError;
use crate::gate::headroom::headroom;
use crate::gate::maps::{self, MapJudged};
use crate::gate::objects::Found;
use crate::gate::outcome::{Headroom, ObjectRead, Turn};
use crate::gate::programs;
use crate::gate::variant::{self, BadValue};
use bpfassay_judge::{
    flips, source_of, Entry, Flip, Linked, MapVerdict, ObjectError, Options, ProgramReport, Source,
    Target, VerdictWord,
};

/// One judgement and what the rules ask about it.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Index into the kernels, the variants (None as built), the objects.
    pub kernel: usize,
    pub variant: Option<usize>,
    pub object: usize,
    /// Place in the object's order.
    pub nth: usize,
    pub id: String,
    pub report: ProgramReport,
    pub headroom: Headroom,
    /// Why the program, though its object was read, could not be linked or judged.
    pub error: Option<ObjectError>,
    /// Of a rejected program: where the nearest kernel before or after it in age says otherwise.
    pub flips: Vec<Turn>,
    pub license: String,
    /// Callees with the instruction of the first call and its place in the source.
    pub calls: BTreeMap<Callee, (u32, Option<Source>)>,
}

/// Every object with every judgement of its programs, in report order.
pub struct Judgements {
    pub objects: Vec<ObjectRead>,
    pub judged: Vec<Judged>,
    pub maps: Vec<MapJudged>,
    /// An internal error was caught.
    pub panicked: bool,
}

/// Judges all objects for all kernels in all variants.
pub fn judge_all(
    config: &Config,
    found: &[Found],
    targets: &[(String, Target)],
) -> Result<Judgements, ConfigError> {
    let one = |(i, f): (usize, &Found)| {
        let done = catch_unwind(AssertUnwindSafe(|| object(config, i, f, targets)));
        done.unwrap_or_else(|cause| Ok(Done::failed(ObjectError::internal(&*cause))))
    };
    let done: Vec<Result<Done, BadValue>> = found.par_iter().enumerate().map(one).collect();
    let mut all =
        Judgements { objects: Vec::new(), judged: Vec::new(), maps: Vec::new(), panicked: false };
    let mut set: Vec<bool> = vec![false; config.maps.len()];
    let mut used: Vec<Vec<bool>> =
        config.variants.iter().map(|v| vec![false; v.values.len()]).collect();
    for (f, done) in found.iter().zip(done) {
        let done = done.map_err(|e| config.error(e.span, format!("{}: {}", f.path, e.message)))?;
        let errors = done.error.iter().chain(done.judged.iter().filter_map(|j| j.error.as_ref()));
        all.panicked |= errors.into_iter().any(ObjectError::is_internal);
        for (sum, own) in used.iter_mut().flatten().zip(done.used.iter().flatten()) {
            *sum |= own;
        }
        for (sum, own) in set.iter_mut().zip(&done.maps_set) {
            *sum |= own;
        }
        let path = f.path.clone();
        all.objects.push(ObjectRead { path, error: done.error, programs: done.programs });
        all.judged.extend(done.judged);
        all.maps.extend(done.maps);
    }
    unused_values(config, &used)?;
    if let Some((rule, _)) = config.maps.iter().zip(&set).find(|(_, set)| !**set) {
        let message = format!("no object has a map `{}`", rule.name.get_ref());
        return Err(config.error(rule.name.span(), message));
    }
    // By kernel, variant, object, program; as built comes before the variants.
    all.judged.sort_by_key(|j| (j.kernel, j.variant.map_or(0, |v| v + 1), j.object, j.nth));
    all.maps.sort_by_key(|m| (m.kernel, m.variant.map_or(0, |v| v + 1), m.object));
    Ok(all)
}

/// A variable or pattern of a variant that no object has.
fn unused_values(config: &Config, used: &[Vec<bool>]) -> Result<(), ConfigError> {
    for (variant, used) in config.variants.iter().zip(used) {
        for ((stem, name, _), used) in variant.values.iter().zip(used) {
            if !used {
                let name_text = name.get_ref();
                let message = format!("no object has a variable `{name_text}` in .{stem}");
                return Err(config.error(name.span(), message));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Done {
    error: Option<ObjectError>,
    programs: Vec<String>,
    judged: Vec<Judged>,
    used: Vec<Vec<bool>>,
    maps: Vec<MapJudged>,
    /// By rule of the configuration.
    maps_set: Vec<bool>,
}

impl Done {
    fn failed(error: ObjectError) -> Done {
        Done { error: Some(error), ..Done::default() }
    }
}

fn object(
    config: &Config,
    index: usize,
    found: &Found,
    targets: &[(String, Target)],
) -> Result<Done, BadValue> {
    if let Some(why) = &found.error {
        return Ok(Done::failed(ObjectError::io(why)));
    }
    let mut opened = match open(&found.file, &found.path) {
        Ok(opened) => opened,
        Err(error) => return Ok(Done::failed(error)),
    };
    programs::apply(&config.programs, &found.path, &mut opened);
    let maps_set = maps::apply(&config.maps, &mut opened)?;
    let mut done = Done { maps_set, ..Done::default() };
    let mut shapes: Vec<(Option<usize>, Opened)> = Vec::new();
    for (v, variant) in config.variants.iter().enumerate() {
        let mut used = vec![false; variant.values.len()];
        if let Some(patched) = shape(&opened, variant, &found.path, &mut used)? {
            shapes.push((Some(v), patched));
        }
        done.used.push(used);
    }
    // An object that no variant is for has one shape: as built.
    if config.as_built || shapes.is_empty() {
        shapes.insert(0, (None, opened));
    }
    let wants_calls = config.allow.helpers.is_some() || config.allow.kfuncs.is_some();
    for (kernel, (_, target)) in targets.iter().enumerate() {
        for (variant, opened) in &shapes {
            let Linked { entries, maps } = target.link_with_maps(opened);
            let refused = maps.iter().find(|m| m.verdict == MapVerdict::Rejected);
            if done.programs.is_empty() {
                done.programs = entries.iter().map(|e| e.name.clone()).collect();
            }
            let ids = ids(&found.path, &done.programs);
            let judged = entries.par_iter().enumerate().map(|(nth, entry)| {
                let id = ids[nth].clone();
                let at = (kernel, *variant, index, nth);
                let mut judged = program(at, id, entry, target, wants_calls);
                if let Some(map) = refused {
                    judged.report.refuse_for(map);
                }
                judged
            });
            let judged: Vec<Judged> = judged.collect();
            done.judged.extend(judged);
            let (variant, object) = (*variant, index);
            let of = |report| MapJudged { kernel, variant, object, report };
            done.maps.extend(maps.into_iter().map(of));
        }
    }
    for (variant, opened) in &shapes {
        find_flips(&mut done.judged, *variant, opened, targets);
    }
    Ok(done)
}

/// Tells rejected programs of one shape of the object which neighbouring kernel takes them, and why.
fn find_flips(
    judged: &mut [Judged],
    variant: Option<usize>,
    opened: &Opened,
    targets: &[(String, Target)],
) {
    let mut by_program: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (place, j) in judged.iter().enumerate().filter(|(_, j)| j.variant == variant) {
        by_program.entry(j.nth).or_default().push(place);
    }
    let age = |place: &usize| Release::parse(&targets[judged[*place].kernel].1.kernel.release);
    let found: Vec<(usize, Turn)> = by_program
        .into_par_iter()
        .flat_map_iter(|(nth, mut places)| {
            places.retain(|p| judged[*p].report.verdict != VerdictWord::Unsupported);
            places.sort_by_key(age);
            let answer = |p: &usize| (&targets[judged[*p].kernel].1, &judged[*p].report);
            let answers: Vec<_> = places.iter().map(answer).collect();
            let found = flips(opened, nth, &answers, &Options::default());
            let turn = |(later, flip): (usize, Flip)| {
                let (target, report) = answers[later];
                let verdict = report.verdict;
                let rejects = if verdict == VerdictWord::Rejected { later } else { later - 1 };
                let kernel = target.label();
                (places[rejects], Turn { kernel, verdict, flip })
            };
            found.into_iter().map(turn).collect::<Vec<_>>()
        })
        .collect();
    for (place, turn) in found {
        judged[place].flips.push(turn);
    }
}

fn open(file: &Path, name: &str) -> Result<Opened, ObjectError> {
    let bytes = files::read(file, files::MAX_OBJECT).map_err(ObjectError::io)?;
    Opened::parse(&bytes, name).map_err(ObjectError::from)
}

/// The object in a variant's shape; None if the variant is not for it.
fn shape(
    opened: &Opened,
    variant: &Variant,
    path: &str,
    used: &mut [bool],
) -> Result<Option<Opened>, BadValue> {
    let named = variant.objects.iter().any(|p| p.get_ref().matches_object(path));
    if !variant.objects.is_empty() && !named {
        return Ok(None);
    }
    let shape = variant::apply(opened, variant, used)?;
    if named {
        // Named objects have every variable, or the configuration is wrong.
        if let Some(i) = used.iter().position(|u| !u) {
            let (stem, name, _) = &variant.values[i];
            let message = format!("no variable `{}` in .{stem}", name.get_ref());
            return Err(BadValue { span: span_of(name), message });
        }
    }
    Ok(shape)
}

fn span_of(name: &toml::Spanned<String>) -> Range<usize> {
    name.span()
}

/// `object:program` of each program, with `#n` for the n-th of one name.
pub(crate) fn ids(path: &str, names: &[String]) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let nth = seen.entry(name).or_default();
        *nth += 1;
        ids.push(match *nth {
            1 => format!("{path}:{name}"),
            n => format!("{path}:{name}#{n}"),
        });
    }
    ids
}

fn program(
    (kernel, variant, object, nth): (usize, Option<usize>, usize, usize),
    id: String,
    entry: &Entry,
    target: &Target,
    wants_calls: bool,
) -> Judged {
    let bpfassay_judge::Judged { report, error } =
        entry.judge(target, &Options { explain: true, ..Options::default() });
    let failed = error.is_some();
    let mut judged = Judged {
        kernel,
        variant,
        object,
        nth,
        id,
        report,
        headroom: Headroom::default(),
        error,
        flips: Vec::new(),
        license: String::new(),
        calls: BTreeMap::new(),
    };
    let Some(program) = entry.ok() else { return judged };
    judged.license = program.license.clone();
    if failed {
        return judged;
    }
    judged.headroom = headroom(program, &judged.report);
    if wants_calls {
        let visits = match judged.report.verdict {
            VerdictWord::Accepted => judged.report.detail.insn_visits.as_slice(),
            _ => &[],
        };
        let found = calls(program, target, visits).into_iter();
        judged.calls = found.map(|(c, idx)| (c, (idx, source_of(program, idx)))).collect();
    }
    judged.report.detail.insn_visits = Vec::new();
    judged
}
