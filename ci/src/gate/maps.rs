//! `[map.NAME]`: what the application sets of a map before loading, and what is found out about maps.

use bpfassay_judge::{MapReport, MapVerdict};
use bpfassay_object::{MapOverride, Opened};
use serde::Deserialize;
use toml::Spanned;

use crate::gate::outcome::{Finding, FindingKind as K, JudgedFor, Severity};
use crate::gate::policy::finding;
use crate::gate::variant::BadValue;

/// One `[map.NAME]` table; what is left out stays as the object defines it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MapTable {
    key_size: Option<u32>,
    value_size: Option<u32>,
    max_entries: Option<u32>,
    map_flags: Option<u32>,
    map_extra: Option<u64>,
    numa_node: Option<u32>,
    /// False: the application does not create it.
    autocreate: Option<bool>,
    /// Name of the map that is the template of a map of maps.
    inner: Option<String>,
}

/// A map's name with its place, and what is set.
#[derive(Clone, Debug)]
pub struct MapRule {
    pub name: Spanned<String>,
    pub to: MapOverride,
}

impl MapRule {
    pub fn new(name: Spanned<String>, t: MapTable) -> MapRule {
        let to = MapOverride {
            key_size: t.key_size,
            value_size: t.value_size,
            max_entries: t.max_entries,
            map_flags: t.map_flags,
            map_extra: t.map_extra,
            numa_node: t.numa_node,
            autocreate: t.autocreate,
            inner: t.inner,
        };
        MapRule { name, to }
    }
}

/// Sets what the rules say; true for each rule whose map the object has.
pub fn apply(rules: &[MapRule], opened: &mut Opened) -> Result<Vec<bool>, BadValue> {
    let one = |rule: &MapRule| {
        let done = opened.override_map(rule.name.get_ref(), &rule.to);
        done.map_err(|e| BadValue { span: rule.name.span(), message: e.to_string() })
    };
    rules.iter().map(one).collect()
}

/// One map on one kernel, in one variant.
#[derive(Clone, Debug)]
pub struct MapJudged {
    /// Index into the kernels, the variants (None as built), the objects.
    pub kernel: usize,
    pub variant: Option<usize>,
    pub object: usize,
    pub report: MapReport,
}

impl MapJudged {
    /// What is wrong with it, if anything: a refusal fails the gate, what the application must set is a warning.
    pub fn finding(&self, path: &str, on: &JudgedFor) -> Option<Finding> {
        let r = &self.report;
        let (kind, severity, what) = match r.verdict {
            MapVerdict::Rejected => (K::MapRejected, Severity::Error, "cannot be made"),
            MapVerdict::Unset => (K::MapUnset, Severity::Warning, "is not complete"),
            MapVerdict::Unsupported => (K::MapUnset, Severity::Error, "cannot be judged"),
            MapVerdict::Accepted => return None,
        };
        let why = r.message.as_deref().unwrap_or("unknown reason");
        let mut f = finding(kind, severity, format!("map `{}` {what}: {why}", r.name));
        if r.verdict == MapVerdict::Unset {
            f.help = Some(format!("`[map.{}]` says what the application sets", r.name));
        }
        f.object = Some(path.to_string());
        f.on = vec![on.clone()];
        f.code = r.code.map(str::to_string);
        f.errno = r.errno;
        Some(f)
    }
}
