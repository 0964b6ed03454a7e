//! Judging the programs of one object or array, as root and without capabilities.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bpfassay_harness::contain::Limits;
use bpfassay_harness::kernel::{symbols, Session};
use bpfassay_harness::rewriting::Addresses;
use bpfassay_harness::selftests::annotations::{Annotations, Way};
use bpfassay_harness::selftests::arrays::ArrayTest;
use bpfassay_harness::selftests::judge::{judge, Expectation, Options};
use bpfassay_harness::selftests::run::Runner;
use bpfassay_harness::selftests::tally::{Outcome as Found, Row};
use bpfassay_harness::session::EngineKind;
use bpfassay_harness::testrun::MapSlots;
use bpfassay_judge::{judge_maps, MapVerdict};
use bpfassay_object::model::Program;
use bpfassay_object::{Entry, Object};
use bpfassay_spec::Caps;

use super::{name_of, Args};
use crate::setup::Target;

/// Who judges: the kernel asked for, and the same for those who lack capabilities.
pub struct Judges<'a> {
    root: &'a Target,
    args: &'a Args,
    others: Mutex<Vec<Arc<Target>>>,
    /// Of the running kernel, where rewritten programs are compared.
    addresses: Option<Addresses>,
}

impl<'a> Judges<'a> {
    pub fn new(root: &'a Target, args: &'a Args) -> Judges<'a> {
        let addresses = args.xlated.then(|| Addresses::new(symbols()));
        Judges { root, args, others: Mutex::new(Vec::new()), addresses }
    }

    /// The kernel for a loader with these capabilities, with `kernel.unprivileged_bpf_disabled` 0.
    fn without(&self, caps: Caps) -> Arc<Target> {
        let mut others = self.others.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = others.iter().find(|t| t.caps == caps) {
            return Arc::clone(known);
        }
        let mut target = self.root.clone();
        (target.caps, target.kernel.unprivileged_bpf) = (caps, true);
        others.push(Arc::new(target));
        Arc::clone(&others[others.len() - 1])
    }

    fn session(&self, caps: Caps) -> Option<Session> {
        (!self.args.no_kernel).then(|| Session::with_caps(caps))
    }

    /// Every program of an object, and once more those that say what happens without capabilities.
    pub fn object(&self, origin: &str, object: &Path) -> Vec<Row> {
        let refused = |why: String| Row {
            origin: origin.to_string(),
            program: String::new(),
            prog_type: "unspec",
            way: Way::Privileged,
            outcome: Found::Refused { why, expected: None },
        };
        let bytes = match fs::read(object) {
            Ok(bytes) => bytes,
            Err(e) => return vec![refused(e.to_string())],
        };
        // The kernel sees names cut from the object's: `x.bpf.o`, as the tree's own build calls it.
        let loaded = match self.root.load_object(&bytes, &name_of(object)) {
            Ok(loaded) => loaded,
            Err(e) => return vec![refused(e.message)],
        };
        let source = name_of(&object.with_extension("c"));
        let btf = loaded.programs.iter().find_map(|e| e.program.as_ref().ok()?.btf.clone());
        let annotations: Vec<Annotations> = loaded
            .programs
            .iter()
            .map(|e| btf.as_ref().map(|b| Annotations::of(b, &e.name)).unwrap_or_default())
            .collect();
        let mut rows = self.rows(origin, &source, self.root, &loaded, Way::Privileged, |nth| {
            Some(&annotations[nth])
        });
        let mut all_caps: Vec<Caps> = Vec::new();
        for a in annotations.iter().filter(|a| a.expects_success_unprivileged().is_some()) {
            if !all_caps.contains(&a.unprivileged_caps()) {
                all_caps.push(a.unprivileged_caps());
            }
        }
        for caps in all_caps {
            let target = self.without(caps);
            let Ok(loaded) = target.load_object(&bytes, &name_of(object)) else { continue };
            rows.extend(self.rows(origin, &source, &target, &loaded, Way::Unprivileged, |nth| {
                Some(&annotations[nth]).filter(|a| {
                    a.expects_success_unprivileged().is_some() && a.unprivileged_caps() == caps
                })
            }));
        }
        rows
    }

    fn rows<'n>(
        &self,
        origin: &str,
        source: &str,
        target: &Target,
        loaded: &Object,
        way: Way,
        annotations: impl Fn(usize) -> Option<&'n Annotations>,
    ) -> Vec<Row> {
        let (entries, slots) = (&loaded.programs, &loaded.map_slots);
        let others: Vec<&Program> =
            entries.iter().filter_map(|e| e.program.as_ref().ok()).collect();
        let mut session = self.session(target.caps);
        let unmade = match way {
            Way::Privileged => Vec::new(),
            Way::Unprivileged => unmade(loaded, target),
        };
        let mut row = |nth: usize, e: &Entry| {
            let expectation =
                Expectation::of_annotations(annotations(nth)?, target.kernel.arch.as_str(), way);
            let refused = |why: String| Found::Refused { why, expected: expectation.success };
            let outcome = match (&expectation.skip, &e.program) {
                (Some(why), _) => Found::Skipped(why.clone()),
                (None, Err(err)) => refused(err.to_string()),
                (None, Ok(program)) => match unmade.iter().find(|name| uses(program, name)) {
                    Some(_) => refused("a map of its type is root's to make".to_string()),
                    None => {
                        let run = self.runner(source, &others, slots, way);
                        self.one(program, &expectation, session.as_mut(), target, run)
                    }
                },
            };
            let prog_type = e.program.as_ref().map_or("unspec", |p| p.prog_type.name());
            Some(Row {
                origin: origin.to_string(),
                program: e.name.clone(),
                prog_type,
                way,
                outcome,
            })
        };
        entries.iter().enumerate().filter_map(|(nth, e)| row(nth, e)).collect()
    }

    /// Who runs the programs of a source, if they are to be run.
    fn runner<'r>(
        &self,
        source: &'r str,
        others: &[&'r Program],
        slots: &'r [MapSlots],
        way: Way,
    ) -> Option<Runner<'r>> {
        let engine = EngineKind::from_name(&self.args.engine)?;
        let limits = Limits { may_lack_filter: self.args.no_filter, ..Limits::default() };
        (self.args.run && way == Way::Privileged).then(|| Runner {
            engine,
            limits,
            source,
            others: others.to_vec(),
            slots,
        })
    }

    /// One of the older tests, and once more where the tree's own loader drops its capabilities for it.
    pub fn array(&self, test: &ArrayTest) -> Vec<Row> {
        let ways: &[Way] = match test.has_unprivileged {
            true => &[Way::Privileged, Way::Unprivileged],
            false => &[Way::Privileged],
        };
        ways.iter().map(|way| self.array_one_way(test, *way)).collect()
    }

    fn array_one_way(&self, test: &ArrayTest, way: Way) -> Row {
        let expectation = Expectation::of_array(test, way);
        let other;
        let target = match way {
            Way::Privileged => self.root,
            Way::Unprivileged => {
                other = self.without(Caps::NONE);
                &*other
            }
        };
        let mut session = self.session(target.caps);
        let outcome = match &test.program {
            Ok(p) => {
                let runner = self.runner("verifier", &[], &[], way);
                let mut program = p.clone();
                if !target.caps.bpf {
                    target.drop_for_privilege(&mut program);
                }
                self.one(&program, &expectation, session.as_mut(), target, runner)
            }
            Err(why) => Found::Refused { why: why.clone(), expected: None },
        };
        let prog_type = test.program.as_ref().map_or("unspec", |p| p.prog_type.name());
        let program = format!("#{} {}", test.index, test.description);
        Row { origin: "verifier".to_string(), program, prog_type, way, outcome }
    }

    fn one(
        &self,
        program: &Program,
        expectation: &Expectation,
        session: Option<&mut Session>,
        target: &Target,
        run: Option<Runner<'_>>,
    ) -> Found {
        let config = target.config();
        let mut program = program.clone();
        program.flags = program.flags.with_bits(expectation.flags);
        let options = Options {
            run,
            addresses: self.addresses.as_ref(),
            max_log: usize::from(self.args.max_log) << 20,
        };
        Found::Judged(Box::new(judge(&program, expectation, &config, session, &options)))
    }
}

/// Names of the maps that this loader may not make.
fn unmade(object: &Object, target: &Target) -> Vec<String> {
    let reports = judge_maps(object, target).into_iter();
    reports.filter(|m| m.verdict == MapVerdict::Rejected).map(|m| m.name).collect()
}

/// The program's instructions name this map.
fn uses(program: &Program, map: &str) -> bool {
    let index = program.maps.iter().position(|m| m.source_name == map);
    let index = index.and_then(|i| i32::try_from(i).ok());
    program.insns.iter().any(|i| {
        use bpfassay_isa::opcode::{PSEUDO_MAP_FD, PSEUDO_MAP_VALUE};
        i.is_ld_imm64() && matches!(i.src, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE) && Some(i.imm) == index
    })
}
