//! The gate: a configuration, the objects it names, and what a build should make of them.
//!
//! [`run`] is the whole of it; [`outcome`] is the result as plain data, and whoever renders it needs
//! nothing else.  Files are read here; the clock, the environment and the terminal are the caller's.

pub mod baseline;
pub mod calls;
pub mod config;
pub mod date;
pub mod error;
pub mod headroom;
pub mod judging;
pub mod kernels;
pub mod maps;
pub mod objects;
pub mod of_check;
pub mod outcome;
pub mod policy;
pub mod programs;
mod settle;
pub mod values;
pub mod variant;

use std::collections::HashMap;
use std::path::Path;

use self::baseline::Baseline;
use self::config::Config;
use self::date::Date;
use self::error::ConfigError;
use self::judging::{judge_all, Judged, Judgements};
use self::maps::MapJudged;
use self::outcome::{
    BaselineStatus, Finding, FindingKind, GateReport, GateVerdict, Headroom, JudgedFor,
    KernelJudged, MapRun, ProgramRun, Severity, SCHEMA,
};
use self::policy::{finding, Rules};
use crate::files;
use bpfassay_judge::Target;

/// A gate run.
#[derive(Clone)]
pub struct Request<'a> {
    pub config: &'a Config,
    /// What reports call the configuration.
    pub config_name: String,
    /// Folder the configuration's paths are relative to.
    pub folder: &'a Path,
    pub today: Date,
    /// Write the baseline anew and judge against that.
    pub update_baseline: bool,
    /// `bpfassay` and its version.
    pub tool: String,
}

/// Judges everything the configuration names.  An error is never a verdict: the configuration cannot be carried out.
pub fn run(request: &Request<'_>) -> Result<GateReport, ConfigError> {
    let mut config = request.config.clone();
    programs::read_targets(&mut config.programs, request.folder)
        .map_err(|(span, why)| request.config.error(span, why))?;
    let request = &Request { config: &config, ..request.clone() };
    let config = &config;
    let old = read_baseline(request)?;
    let targets = kernels::targets(config, request.folder)?;
    let found = objects::find(config, request.folder)?;
    let mut all = judge_all(config, &found, &targets)?;

    let judged_for = |kernel: usize, variant: Option<usize>| JudgedFor {
        kernel: targets.get(kernel).map_or_else(String::new, |(label, _)| label.clone()),
        variant: variant.and_then(|v| config.variants.get(v)).map(|v| v.name.clone()),
    };
    let on = |j: &Judged| judged_for(j.kernel, j.variant);
    let on_map = |m: &MapJudged| judged_for(m.kernel, m.variant);
    let new = Baseline::of(&all.judged, on, request.today);
    let against = if request.update_baseline { Some(&new) } else { old.as_ref() };
    let against = against.filter(|_| config.baseline.is_some());
    let rules = Rules { config, baseline: against, objects: &all.objects };
    let (mut findings, exceptions) = findings(request, &rules, &all, on, on_map);
    let headrooms: Vec<Headroom> = all.judged.iter().map(|j| rules.headroom(j)).collect();
    let status = baseline_status(request, &all, old.as_ref(), on);
    if let (true, Some(b), false) = (request.update_baseline, &config.baseline, all.panicked) {
        // Nothing new, nothing written: the day it was taken stays.
        if old.as_ref().is_none_or(|o| o.rows != new.rows) {
            let path = request.folder.join(b.file.get_ref());
            files::replace(&path, new.to_text(&request.tool).as_bytes()).map_err(|e| {
                config.error(b.file.span(), format!("baseline `{}`: {e}", b.file.get_ref()))
            })?;
        }
    }
    for (j, headroom) in all.judged.iter_mut().zip(headrooms) {
        j.headroom = headroom;
    }
    settle::fingerprint(&mut findings);
    let (summary, verdict) = settle::verdict(&all.objects, &all.judged, &findings);
    let exit_code = match verdict {
        _ if all.panicked => 3,
        GateVerdict::Pass => 0,
        GateVerdict::Fail => 1,
        GateVerdict::NotJudged => 2,
    };
    let maps = all.maps.iter().map(|m| MapRun {
        kernel: on_map(m).kernel,
        variant: on_map(m).variant,
        object: all.objects.get(m.object).map_or_else(String::new, |o| o.path.clone()),
        map: m.report.clone(),
    });
    let maps = maps.collect();
    let programs = runs(all.judged, &all.objects, &findings, on);
    Ok(GateReport {
        schema: SCHEMA,
        tool: request.tool.clone(),
        config: request.config_name.clone(),
        today: request.today.to_string(),
        verdict,
        exit_code,
        summary,
        kernels: targets.iter().map(|(label, t)| kernel_judged(label, t)).collect(),
        variants: config.variants.iter().map(|v| v.name.clone()).collect(),
        findings,
        exceptions,
        baseline: status,
        objects: all.objects,
        programs,
        maps,
    })
}

fn findings(
    request: &Request<'_>,
    rules: &Rules<'_>,
    all: &Judgements,
    on: impl Fn(&Judged) -> JudgedFor,
    on_map: impl Fn(&MapJudged) -> JudgedFor,
) -> (Vec<Finding>, Vec<outcome::ExceptionApplied>) {
    let config = request.config;
    let with: Vec<(&Judged, JudgedFor)> = all.judged.iter().map(|j| (j, on(j))).collect();
    let mut found: Vec<Finding> = all.objects.iter().filter_map(|o| rules.object(o)).collect();
    found.extend(with.iter().flat_map(|(j, on)| rules.judgement(j, on)));
    let path = |object: usize| all.objects.get(object).map_or("", |o| o.path.as_str());
    found.extend(all.maps.iter().filter_map(|m| m.finding(path(m.object), &on_map(m))));
    found.extend(rules.removed(&with));
    found.extend(settle::unknown_rules(config, &all.objects));
    let mut found = settle::merge(found);
    let exceptions = settle::except(config, &all.objects, request.today, &mut found);
    settle::sort(&mut found, &all.objects);
    if all.judged.is_empty() && found.is_empty() {
        found.push(finding(FindingKind::NoProgram, Severity::Error, "no program found"));
    }
    (found, exceptions)
}

fn runs(
    judged: Vec<Judged>,
    objects: &[outcome::ObjectRead],
    findings: &[Finding],
    on: impl Fn(&Judged) -> JudgedFor,
) -> Vec<ProgramRun> {
    let mut by_id: HashMap<&str, Vec<&Finding>> = HashMap::new();
    for f in findings {
        if let Some(id) = &f.id {
            by_id.entry(id.as_str()).or_default().push(f);
        }
    }
    judged
        .into_iter()
        .map(|j| {
            let on = on(&j);
            let own = by_id.get(j.id.as_str()).map_or(&[][..], |v| v);
            ProgramRun {
                status: settle::status(&j, &on, own),
                kernel: on.kernel,
                variant: on.variant,
                object: objects.get(j.object).map_or_else(String::new, |o| o.path.clone()),
                id: j.id,
                headroom: j.headroom,
                program: j.report,
            }
        })
        .collect()
}

fn kernel_judged(label: &str, target: &Target) -> KernelJudged {
    KernelJudged {
        label: label.to_string(),
        release: target.label(),
        profile: target.profile.clone(),
        btf: target.btf_hash.clone(),
    }
}

/// The baseline the configuration names; None if it names none, or the file is to be made.
fn read_baseline(request: &Request<'_>) -> Result<Option<Baseline>, ConfigError> {
    let config = request.config;
    let Some(b) = &config.baseline else {
        return match request.update_baseline {
            true => {
                Err(ConfigError::new("--update-baseline, but the configuration names no baseline")
                    .help("add `[baseline]` with `file = \"bpfassay-baseline.json\"`"))
            }
            false => Ok(None),
        };
    };
    let (name, span) = (b.file.get_ref(), b.file.span());
    let wrong = |e: String| config.error(span.clone(), format!("baseline `{name}`: {e}"));
    match files::read_text(&request.folder.join(name), files::MAX_TEXT) {
        Ok(text) => Baseline::parse(&text).map(Some).map_err(wrong),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => match request.update_baseline {
            true => Ok(None),
            false => Err(wrong("no such file".to_string()).help("--update-baseline writes it")),
        },
        Err(e) => Err(wrong(e.to_string())),
    }
}

/// How the run compares with the baseline as it was before.
fn baseline_status(
    request: &Request<'_>,
    all: &Judgements,
    old: Option<&Baseline>,
    on: impl Fn(&Judged) -> JudgedFor,
) -> Option<BaselineStatus> {
    let b = request.config.baseline.as_ref()?;
    let none = Baseline::default();
    let against = old.unwrap_or(&none);
    let rules = Rules { config: request.config, baseline: Some(against), objects: &all.objects };
    let with: Vec<(&Judged, JudgedFor)> = all.judged.iter().map(|j| (j, on(j))).collect();
    let found: Vec<Finding> = with.iter().flat_map(|(j, on)| rules.judgement(j, on)).collect();
    let count = |kind| found.iter().filter(|f| f.kind == kind).count();
    let known =
        |(j, on): &&(&Judged, JudgedFor)| against.rows.contains_key(&(j.id.clone(), on.clone()));
    let compared = with.iter().filter(known).count();
    Some(BaselineStatus {
        path: b.file.get_ref().replace('\\', "/"),
        taken: old.and_then(|o| o.taken.clone()),
        updated: request.update_baseline,
        compared,
        newly_rejected: count(FindingKind::NewlyRejected),
        newly_accepted: count(FindingKind::NewlyAccepted),
        cost_drift: count(FindingKind::CostDrift),
        new: with.len() - compared,
        removed: rules.removed(&with).len(),
    })
}
