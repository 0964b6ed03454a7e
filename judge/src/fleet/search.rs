//! Search for the smallest set of differences that turns a verdict.

use std::collections::{BTreeMap, BTreeSet};

use bpfassay_object::Opened;
use bpfassay_spec::Difference;

use super::{instead, Flip};
use crate::program::Options;
use crate::report::{ObjectReport, ProgramReport, VerdictWord};
use crate::target::{Entry, Linked, Target};

/// Instructions that the search for one cause may have processed in all; beyond, the kind of cause is named.
const SEARCH_BUDGET: u64 = 20_000_000;

/// One thing that two targets have differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    Kernel(Difference),
    /// Types, functions and variables of kernel and modules; what of them, where the rejection tells.
    Types(Option<Culprit>),
    /// A configuration value, without `CONFIG_`.
    Config(String),
    /// `LINUX_KERNEL_VERSION`.
    Version,
}

/// What of a kernel's types decides.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Culprit {
    /// A function or variable.
    Symbol(String),
    /// What a CO-RE relocation asks for.
    Access(String),
    /// A kernel function that takes other arguments.
    Arguments(String),
    /// What the program attaches to.
    Target(String),
}

impl Culprit {
    fn name(&self) -> &str {
        match self {
            Culprit::Symbol(n) | Culprit::Access(n) => n,
            Culprit::Arguments(n) | Culprit::Target(n) => n,
        }
    }
}

impl Cause {
    fn kind(&self) -> &'static str {
        match self {
            Cause::Kernel(d) => d.kind(),
            Cause::Types(_) => "type",
            Cause::Config(_) => "configuration",
            Cause::Version => "fact",
        }
    }

    fn name(&self) -> String {
        match self {
            Cause::Kernel(d) => d.name(),
            Cause::Types(Some(culprit)) => culprit.name().to_string(),
            Cause::Types(None) => "types".to_string(),
            Cause::Config(name) => format!("CONFIG_{name}"),
            Cause::Version => "LINUX_KERNEL_VERSION".to_string(),
        }
    }

    fn commit(&self) -> Option<&'static str> {
        match self {
            Cause::Kernel(d) => d.commit(),
            _ => None,
        }
    }

    fn about(&self) -> String {
        match self {
            Cause::Kernel(d) => {
                let history = d.span().map(|s| s.describe()).filter(|s| !s.is_empty());
                let commit = d.commit().map(|c| format!("commit \"{c}\""));
                let when: Vec<String> = history.into_iter().chain(commit).collect();
                let about = d.about().trim_end_matches('.').to_string();
                match when.is_empty() {
                    true => about,
                    false => format!("{about} ({})", when.join("; ")),
                }
            }
            Cause::Types(Some(Culprit::Symbol(name))) => {
                format!("{name}, which only one of the kernels has")
            }
            Cause::Types(Some(Culprit::Access(what))) => {
                format!("{what}, which only one of the kernels has, or has with another type")
            }
            Cause::Types(Some(Culprit::Arguments(name))) => {
                format!("the types of the arguments of the kernel function {name}")
            }
            Cause::Types(Some(Culprit::Target(name))) => {
                format!("the types of {name}, which the program attaches to")
            }
            Cause::Types(None) => {
                "a type, function or variable that only one of the kernels has, or has otherwise"
                    .to_string()
            }
            Cause::Config(name) => format!("the option CONFIG_{name}"),
            Cause::Version => "the program asks which release it runs on".to_string(),
        }
    }

    /// Causes of one group are tried together before they are tried one by one.
    fn group(&self) -> usize {
        match self {
            Cause::Kernel(Difference::Feature(_)) => 0,
            Cause::Kernel(Difference::Row(_) | Difference::Absent(_)) => 1,
            Cause::Kernel(Difference::Limit(_)) => 2,
            Cause::Kernel(Difference::Jit(_)) => 3,
            Cause::Kernel(Difference::Config(_)) | Cause::Config(_) => 4,
            Cause::Types(_) | Cause::Kernel(Difference::Symbols) => 5,
            Cause::Kernel(Difference::Cpus) => 6,
            Cause::Version => 7,
        }
    }
}

const GROUPS: usize = 8;

/// For the set of differences that makes the new kernel answer as the old one.
pub(super) struct Search<'a> {
    pub opened: &'a Opened,
    /// Place of the program in the object.
    pub nth: usize,
    pub old: &'a Target,
    pub new: &'a Target,
    /// The old kernel's verdict, and the code of its reason to reject.
    pub wanted: VerdictWord,
    pub code: Option<&'static str>,
    pub options: &'a Options,
}

impl Search<'_> {
    pub fn run(&self, target: &Target, rejected: &ProgramReport) -> Flip {
        let mut spent = 0;
        let mut causes = self.smallest(&mut spent);
        if causes.is_empty() && self.code.is_some() {
            // The same reason cannot be had: another one will do.
            causes = Search { code: None, ..*self }.smallest(&mut spent);
        }
        for cause in &mut causes {
            if let Cause::Types(culprit) = cause {
                *culprit = self.culprit(target, rejected);
            }
        }
        let kind = causes.first().map_or("behaviour", Cause::kind);
        // A function's row, its absence and the types without it are one cause.
        let mut seen = BTreeSet::new();
        causes.retain(|c| seen.insert(c.name()));
        let names: Vec<String> = match causes.len() {
            0 => vec!["unknown".to_string()],
            1..=8 => causes.iter().map(Cause::name).collect(),
            n => vec![format!("{n} differences of {kind}")],
        };
        let about = match causes.as_slice() {
            [] => "no set of differences that we can tell apart turns the verdict".to_string(),
            few => few.iter().take(4).map(Cause::about).collect::<Vec<_>>().join("; "),
        };
        let commit = causes.iter().find_map(Cause::commit);
        let instead = instead::advice(causes.first(), rejected);
        let bites = bites(target, rejected);
        let mut text = format!("{about}; {bites}");
        if let Some(instead) = &instead {
            text.push_str("; instead: ");
            text.push_str(instead);
        }
        let against = self.old.label();
        Flip { against, by: names.join(" + "), kind, commit, instead, about, bites, text }
    }

    /// What of the kernel's types the rejection is about.
    fn culprit(&self, target: &Target, rejected: &ProgramReport) -> Option<Culprit> {
        let message = rejected.message.as_deref()?;
        let quoted = |text: &str| text.split('\'').nth(1).map(str::to_string);
        if let Some(number) = message.strip_prefix("invalid func unknown#") {
            return match self.opened.absent_function(number.parse().ok()?) {
                Some(name) => Some(Culprit::Symbol(name.to_string())),
                None => self.access(target, rejected.insn_idx?).map(Culprit::Access),
            };
        }
        let is_absent = message.ends_with("not found in kernel BTF")
            || message.ends_with("kernel symbol is not found");
        if is_absent {
            return message
                .split_once(": symbol ")
                .and_then(|(_, s)| quoted(s))
                .map(Culprit::Symbol);
        }
        if message.starts_with("ldimm64 failed to find") {
            return quoted(message).map(Culprit::Symbol);
        }
        if let Some((name, _)) =
            message.strip_prefix("kernel function ").and_then(|m| m.split_once(" args#"))
        {
            return Some(Culprit::Arguments(name.to_string()));
        }
        let entries = target.link_alone(self.opened).entries;
        let program = entries.get(self.nth)?.program.as_ref().ok()?;
        Some(Culprit::Target(program.attach_target.as_ref()?.name.clone()))
    }

    /// What the relocation of that instruction asks for.
    fn access(&self, target: &Target, insn: u32) -> Option<String> {
        let entries = target.link_alone(self.opened).entries;
        let program = entries.get(self.nth)?.program.as_ref().ok()?;
        self.opened.core_access(program, insn)
    }

    /// Every difference, behaviours first.
    fn differences(&self) -> Vec<Cause> {
        let mut out: Vec<Cause> = self
            .new
            .kernel
            .differences(&self.old.kernel)
            .into_iter()
            .filter(|d| !matches!(d, Difference::Config(_)))
            .map(Cause::Kernel)
            .collect();
        let names: BTreeSet<&String> =
            self.new.kconfig.keys().chain(self.old.kconfig.keys()).collect();
        let differs = |n: &&String| self.new.kconfig.get(*n) != self.old.kconfig.get(*n);
        out.extend(names.into_iter().filter(differs).map(|n| Cause::Config(n.clone())));
        out.push(Cause::Types(None));
        if self.new.version_code != self.old.version_code {
            out.push(Cause::Version);
        }
        out
    }

    fn smallest(&self, spent: &mut u64) -> Vec<Cause> {
        let all = self.differences();
        let group = |g: usize| all.iter().filter(|c| c.group() == g).cloned().collect::<Vec<_>>();
        let groups: Vec<Vec<Cause>> = (0..GROUPS).map(group).filter(|g| !g.is_empty()).collect();
        if let Some(one) = groups.iter().find(|g| self.turns(g, spent)) {
            return self.reduce(Vec::new(), one.clone(), spent);
        }
        let mut needed = groups;
        if !self.turns(&needed.concat(), spent) {
            return Vec::new();
        }
        let mut at = needed.len();
        while at > 0 {
            at -= 1;
            let without: Vec<Cause> = needed
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != at)
                .flat_map(|(_, g)| g.clone())
                .collect();
            if self.turns(&without, spent) {
                needed.remove(at);
            }
        }
        for at in 0..needed.len() {
            let others: Vec<Cause> = needed
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != at)
                .flat_map(|(_, g)| g.clone())
                .collect();
            needed[at] = self.reduce(others, needed[at].clone(), spent);
        }
        needed.concat()
    }

    /// The smallest part of `causes` found that turns the verdict together with `fixed`: halves, then single ones.
    fn reduce(&self, fixed: Vec<Cause>, mut causes: Vec<Cause>, spent: &mut u64) -> Vec<Cause> {
        let mut chunk = causes.len().div_ceil(2);
        while causes.len() > 1 && chunk >= 1 && *spent < SEARCH_BUDGET {
            let mut at = 0;
            let mut dropped = false;
            while at < causes.len() && causes.len() > 1 && *spent < SEARCH_BUDGET {
                let end = (at + chunk).min(causes.len());
                let rest = [&fixed[..], &causes[..at], &causes[end..]].concat();
                if rest.len() > fixed.len() && self.turns(&rest, spent) {
                    causes.drain(at..end);
                    dropped = true;
                } else {
                    at = end;
                }
            }
            if chunk == 1 && !dropped {
                break;
            }
            chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
        }
        causes
    }

    /// Whether the new kernel, with these taken from the old one, gives the old one's verdict.
    fn turns(&self, causes: &[Cause], spent: &mut u64) -> bool {
        let target = self.mixed(causes);
        let Linked { entries, maps } = target.link_alone(self.opened);
        let Some(entry) = entries.get(self.nth) else { return false };
        let judged = Entry::judge(entry, &target, self.options);
        // What a judgement costs beside its instructions: linking the object.
        *spent += u64::from(judged.report.stats.insns_processed) + 2_000;
        let report = ObjectReport::of("", maps, vec![judged]).programs.pop();
        report.is_some_and(|r| {
            r.verdict == self.wanted && (self.code.is_none() || r.code == self.code)
        })
    }

    fn mixed(&self, causes: &[Cause]) -> Target {
        let mut of_kernel = Vec::new();
        let mut target = self.new.clone();
        for cause in causes {
            match cause {
                Cause::Kernel(d) => of_kernel.push(d.clone()),
                Cause::Config(name) => {
                    copy(&mut target.kconfig, &self.old.kconfig, name);
                    of_kernel.push(Difference::Config(name.clone()));
                }
                Cause::Types(_) => {
                    target.vmlinux.clone_from(&self.old.vmlinux);
                    target.modules.clone_from(&self.old.modules);
                    target.symbols = self.old.symbols.clone();
                    of_kernel.push(Difference::Symbols);
                }
                Cause::Version => target.version_code = self.old.version_code,
            }
        }
        target.kernel = self.new.kernel.with(&self.old.kernel, &of_kernel);
        target
    }
}

fn copy(to: &mut BTreeMap<String, String>, from: &BTreeMap<String, String>, name: &str) {
    match from.get(name) {
        Some(value) => to.insert(name.to_string(), value.clone()),
        None => to.remove(name),
    };
}

/// Where the rejecting kernel stopped, and its words.
fn bites(target: &Target, rejected: &ProgramReport) -> String {
    let mut out = format!("{} says", target.label());
    match &rejected.message {
        Some(message) => out.push_str(&format!(" `{message}`")),
        None => out.push_str(" nothing"),
    }
    if let Some(at) = rejected.insn_idx {
        let text = rejected.detail.insn_text.as_deref().unwrap_or("");
        out.push_str(&format!(" at insn {at} `{text}`"));
    }
    if let Some(source) = &rejected.source {
        out.push_str(&format!(" ({}:{}: `{}`)", source.file, source.line, source.text.trim()));
    }
    out
}
