//! A check as a gate without rules, for formats that the gate writes.

use std::collections::BTreeMap;

use bpfassay_judge::{CheckReport, ProgramReport};

use crate::gate::config::Config;
use crate::gate::judging::Judged;
use crate::gate::maps::MapJudged;
use crate::gate::outcome::{
    GateReport, GateSummary, Headroom, JudgedFor, KernelJudged, ObjectRead, SCHEMA,
};
use crate::gate::policy::Rules;
use crate::gate::{judging, settle};

/// The findings of a check: rejections, and what could not be judged or read.
pub fn of_check(report: &CheckReport) -> GateReport {
    let config = Config::default();
    let objects: Vec<ObjectRead> = report
        .objects
        .iter()
        .map(|o| ObjectRead {
            path: o.path.replace('\\', "/"),
            error: o.error.clone().filter(|_| o.programs.is_empty()),
            programs: o.programs.iter().map(|p| p.name.clone()).collect(),
        })
        .collect();
    let on = JudgedFor { kernel: report.kernel.clone(), variant: None };
    let rules = Rules { config: &config, baseline: None, objects: &objects };
    let mut findings: Vec<_> = objects.iter().filter_map(|o| rules.object(o)).collect();
    let mut judged = Vec::new();
    for (at, object) in report.objects.iter().enumerate() {
        let ids = judging::ids(&objects[at].path, &objects[at].programs);
        for ((nth, program), id) in object.programs.iter().enumerate().zip(ids) {
            judged.push(one(at, nth, id, program));
        }
        for map in &object.maps {
            let map = MapJudged { kernel: 0, variant: None, object: at, report: map.clone() };
            findings.extend(map.finding(&objects[at].path, &on));
        }
    }
    findings.extend(judged.iter().flat_map(|j| rules.judgement(j, &on)));
    settle::sort(&mut findings, &objects);
    settle::fingerprint(&mut findings);
    let (summary, verdict) = settle::verdict(&objects, &judged, &findings);
    GateReport {
        schema: SCHEMA,
        tool: report.tool.clone(),
        config: "check".to_string(),
        today: String::new(),
        verdict,
        exit_code: report.summary.exit_code(),
        summary: GateSummary { unreadable: report.summary.errors, ..summary },
        kernels: vec![KernelJudged {
            label: report.kernel.clone(),
            release: report.kernel.clone(),
            profile: report.profile.clone(),
            btf: report.btf.clone(),
        }],
        variants: Vec::new(),
        findings,
        exceptions: Vec::new(),
        baseline: None,
        objects,
        programs: Vec::new(),
        maps: Vec::new(),
    }
}

fn one(object: usize, nth: usize, id: String, report: &ProgramReport) -> Judged {
    Judged {
        kernel: 0,
        variant: None,
        object,
        nth,
        id,
        report: report.clone(),
        headroom: Headroom::default(),
        error: None,
        flips: Vec::new(),
        license: String::new(),
        calls: BTreeMap::new(),
    }
}
