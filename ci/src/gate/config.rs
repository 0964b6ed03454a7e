//! `bpfassay.toml`: read, checked as far as the text alone allows, every value with its place.
//!
//! Keys are a contract; `docs/gate.md` describes them.  What needs the objects (does a program of that
//! name exist?) is found out later, with the places kept here.

use std::collections::BTreeMap;
use std::ops::Range;

use bpfassay_spec::Caps;
use serde::Deserialize;
use toml::Spanned;

use crate::gate::date::Date;
use crate::gate::error::{place_of, ConfigError};
use crate::gate::maps::{MapRule, MapTable};
use crate::gate::outcome::{ConfigPlace, FindingKind};
use crate::gate::programs::{ProgramRule, RawPrograms};
use crate::gate::values::{Limit, Pattern, Threshold, Tree};

/// A configuration whose text is in order.
#[derive(Clone, Default, Debug)]
pub struct Config {
    /// As read, for places.
    pub text: String,
    pub objects: Vec<Spanned<Pattern>>,
    pub exclude: Vec<Pattern>,
    /// Releases or paths of profiles; never empty.
    pub kernels: Vec<Spanned<String>>,
    /// Capabilities of whoever loads.
    pub caps: Caps,
    /// Whether users without CAP_BPF may load at all, where it is not as the kernel boots.
    pub unprivileged_bpf: Option<bool>,
    /// Objects are judged as built, beside the variants.
    pub as_built: bool,
    /// In the order of the text.
    pub variants: Vec<Variant>,
    pub budget: Budget,
    pub allow: Allow,
    pub programs: Vec<ProgramRule>,
    /// What the application sets of maps.
    pub maps: Vec<MapRule>,
    pub exceptions: Vec<Exception>,
    pub baseline: Option<Baseline>,
}

/// One shape of an object's global data.
#[derive(Clone, Debug)]
pub struct Variant {
    pub name: String,
    pub span: Range<usize>,
    /// Objects it is for; empty: every object that has one of its variables.
    pub objects: Vec<Spanned<Pattern>>,
    /// Values below `rodata`, `data` and `bss`: section stem, variable, value.
    pub values: Vec<(&'static str, Spanned<String>, Spanned<Tree>)>,
}

/// Limits of one program, or of all.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budget {
    /// Instructions processed, of 1,000,000.
    pub insns_processed: Option<Limit>,
    /// States kept in total; the kernel has no limit on them.
    pub states: Option<Spanned<Limit>>,
    /// Stack along the deepest chain of calls, of 512 bytes.
    pub stack_depth: Option<Limit>,
}

impl Budget {
    /// `self`, and what it leaves open from `other`.
    pub fn or(&self, other: &Budget) -> Budget {
        Budget {
            insns_processed: self.insns_processed.or(other.insns_processed),
            states: self.states.clone().or_else(|| other.states.clone()),
            stack_depth: self.stack_depth.or(other.stack_depth),
        }
    }
}

/// What programs may use; an absent list allows everything.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allow {
    pub helpers: Option<Vec<Spanned<String>>>,
    pub kfuncs: Option<Vec<Spanned<String>>>,
    pub program_types: Option<Vec<Spanned<String>>>,
    pub licences: Option<Vec<Spanned<String>>>,
}

/// A finding that is known and accepted until a day.
#[derive(Clone, Debug)]
pub struct Exception {
    pub place: ConfigPlace,
    pub object: Option<Pattern>,
    /// None for findings about whole objects.
    pub program: Option<Pattern>,
    pub code: Option<String>,
    /// Part of the message, or of the kernel's words.
    pub message: Option<String>,
    pub kind: Option<FindingKind>,
    pub reason: String,
    pub expires: Date,
}

/// The file that a run is compared with.
#[derive(Clone, Debug)]
pub struct Baseline {
    /// As written, relative to the configuration's folder.
    pub file: Spanned<String>,
    /// Growth of instructions processed or states that is a finding.
    pub drift: f64,
    /// Differences of fewer instructions or states than this are none.
    pub drift_floor: u32,
    /// A baseline that is out of date (new, removed, newly accepted programs) fails the gate.
    pub strict: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Raw {
    objects: Spanned<Vec<Spanned<Pattern>>>,
    #[serde(default)]
    exclude: Vec<Pattern>,
    kernels: Option<Spanned<Vec<Spanned<String>>>>,
    privileges: Option<Spanned<String>>,
    unprivileged_bpf: Option<bool>,
    as_built: Option<Spanned<bool>>,
    #[serde(default)]
    variant: BTreeMap<Spanned<String>, RawVariant>,
    #[serde(default)]
    budget: Budget,
    #[serde(default)]
    allow: Allow,
    #[serde(default)]
    program: RawPrograms,
    #[serde(default)]
    map: BTreeMap<Spanned<String>, MapTable>,
    #[serde(default)]
    exception: Vec<Spanned<RawException>>,
    baseline: Option<RawBaseline>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawVariant {
    #[serde(default)]
    objects: Vec<Spanned<Pattern>>,
    rodata: Option<Spanned<Tree>>,
    data: Option<Spanned<Tree>>,
    bss: Option<Spanned<Tree>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawException {
    object: Option<Pattern>,
    program: Option<Pattern>,
    code: Option<Spanned<String>>,
    message: Option<Spanned<String>>,
    kind: Option<Spanned<String>>,
    reason: Spanned<String>,
    expires: Date,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RawBaseline {
    file: Spanned<String>,
    drift: Option<Threshold>,
    drift_floor: Option<u32>,
    #[serde(default)]
    strict: bool,
}

/// Growth in percent that is drift where the configuration names none.
const DRIFT: f64 = 10.0;
/// Instructions or states that are noise where the configuration names none.
const DRIFT_FLOOR: u32 = 100;

impl Config {
    /// Reads a configuration.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|e| {
            let mut message = e.message().trim_end().replace('\n', " ");
            // How the reader of TOML passes a date on, where a value of a variable stands.
            if message.contains("$__toml_private_datetime") {
                message = "a global variable cannot hold a date".to_string();
            }
            match e.span() {
                Some(span) => ConfigError::at(text, span, message),
                None => ConfigError::new(message),
            }
        })?;
        Reader { text }.config(raw)
    }

    /// Line and column of a byte of the text.
    pub fn place(&self, byte: usize) -> ConfigPlace {
        place_of(&self.text, byte)
    }

    /// An error at a place of this configuration.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(&self.text, span, message)
    }
}

/// Turns what TOML's reader gave into a configuration, with the text for places.
pub(crate) struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn config(&self, raw: Raw) -> Result<Config, ConfigError> {
        let span = raw.objects.span();
        let objects = raw.objects.into_inner();
        if objects.is_empty() {
            return Err(self.error(span, "`objects` is empty: there is nothing to judge"));
        }
        let caps = raw.privileges.as_ref().map(|p| self.caps(p)).transpose()?.unwrap_or_default();
        let mut variants = Vec::new();
        for (name, variant) in raw.variant {
            variants.push(self.variant(name, variant)?);
        }
        variants.sort_by_key(|v| v.span.start);
        let as_built = raw.as_built.as_ref().is_none_or(|b| *b.get_ref());
        if let (false, true, Some(b)) = (as_built, variants.is_empty(), &raw.as_built) {
            return Err(self.error(b.span(), "`as-built = false` without a variant judges nothing"));
        }
        self.budget(&raw.budget)?;
        self.allow(&raw.allow)?;
        let programs = raw.program.rules(self)?;
        Ok(Config {
            text: self.text.to_string(),
            objects,
            exclude: raw.exclude,
            kernels: self.kernels(raw.kernels)?,
            caps,
            unprivileged_bpf: raw.unprivileged_bpf,
            as_built,
            variants,
            budget: raw.budget,
            allow: raw.allow,
            programs,
            maps: raw.map.into_iter().map(|(name, t)| MapRule::new(name, t)).collect(),
            exceptions: raw
                .exception
                .into_iter()
                .map(|e| self.exception(e))
                .collect::<Result<_, _>>()?,
            baseline: raw.baseline.map(|b| self.baseline(b)).transpose()?,
        })
    }

    fn caps(&self, p: &Spanned<String>) -> Result<Caps, ConfigError> {
        match p.get_ref().as_str() {
            "root" => Ok(Caps::ALL),
            text => Caps::parse(text).ok_or_else(|| {
                self.error(p.span(), format!("privileges `{text}` are not known"))
                    .help("known are root, none, bpf, net and perfmon, joined by +")
            }),
        }
    }

    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        ConfigError::at(self.text, span, message)
    }

    fn kernels(
        &self,
        raw: Option<Spanned<Vec<Spanned<String>>>>,
    ) -> Result<Vec<Spanned<String>>, ConfigError> {
        let Some(raw) = raw else { return Ok(vec![Spanned::new(0..0, "6.18".to_string())]) };
        let span = raw.span();
        let kernels = raw.into_inner();
        if kernels.is_empty() {
            return Err(self.error(span, "`kernels` is empty: there is no kernel to judge for"));
        }
        for (i, k) in kernels.iter().enumerate() {
            if kernels[..i].iter().any(|o| o.get_ref() == k.get_ref()) {
                return Err(
                    self.error(k.span(), format!("kernel `{}` stands here twice", k.get_ref()))
                );
            }
        }
        Ok(kernels)
    }

    fn variant(&self, name: Spanned<String>, raw: RawVariant) -> Result<Variant, ConfigError> {
        let span = name.span();
        let name = name.into_inner();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            let message = format!("`{name}` is no name for a variant");
            return Err(self
                .error(span, message)
                .help("letters, digits, `-`, `_` and `.` make a name"));
        }
        let mut values = Vec::new();
        for (stem, tree) in [("rodata", raw.rodata), ("data", raw.data), ("bss", raw.bss)] {
            let Some(tree) = tree else { continue };
            let span = tree.span();
            match tree.into_inner() {
                Tree::Table(rows) => values.extend(rows.into_iter().map(|(k, v)| (stem, k, v))),
                other => {
                    let message = format!("`{stem}` is {}, not variables and values", other.kind());
                    return Err(self
                        .error(span, message)
                        .help(format!("write `{stem}.NAME = value`")));
                }
            }
        }
        if values.is_empty() {
            return Err(self.error(span, format!("variant `{name}` sets no variable")));
        }
        Ok(Variant { name, span, objects: raw.objects, values })
    }

    pub(crate) fn budget(&self, budget: &Budget) -> Result<(), ConfigError> {
        match &budget.states {
            Some(s) if matches!(s.get_ref(), Limit::Percent(_)) => Err(self
                .error(s.span(), "the kernel has no limit on states, so there is no share of it")
                .help("write a number")),
            _ => Ok(()),
        }
    }

    fn allow(&self, allow: &Allow) -> Result<(), ConfigError> {
        for h in allow.helpers.iter().flatten() {
            if bpfassay_spec::helper::func_id(
                h.get_ref().strip_prefix("bpf_").unwrap_or(h.get_ref()),
            )
            .is_none()
            {
                return Err(self.error(h.span(), format!("no helper is called `{}`", h.get_ref())));
            }
        }
        for t in allow.program_types.iter().flatten() {
            if bpfassay_spec::ProgType::from_name(t.get_ref()).is_none() {
                return Err(
                    self.error(t.span(), format!("no program type is called `{}`", t.get_ref()))
                );
            }
        }
        Ok(())
    }

    fn exception(&self, raw: Spanned<RawException>) -> Result<Exception, ConfigError> {
        let whole = raw.span();
        let raw = raw.into_inner();
        for text in [&raw.code, &raw.message, &raw.kind].into_iter().flatten().chain([&raw.reason])
        {
            if text.get_ref().trim().is_empty() {
                return Err(self.error(text.span(), "an exception needs words here"));
            }
        }
        if let Some(code) = &raw.code {
            if bpfassay_diag::explain::by_name(code.get_ref()).is_none() {
                let message = format!("no message has the code `{}`", code.get_ref());
                return Err(self
                    .error(code.span(), message)
                    .help("`bpfassay explain --list` names them"));
            }
        }
        let kind = raw.kind.as_ref().map(|k| self.kind(k)).transpose()?;
        if raw.code.is_none() && raw.message.is_none() && kind.is_none() {
            return Err(self
                .error(whole, "the exception does not say what it is about")
                .help("give `code`, part of the `message`, or the `kind` of finding"));
        }
        let about_object = kind.is_some_and(FindingKind::is_about_object);
        if raw.program.is_none() && !(about_object && raw.object.is_some()) {
            return Err(self.error(whole, "the exception names no program").help(
                "only those of kind \"unreadable\", \"no-program\", \"map-rejected\" or \"map-unset\" may name just an object",
            ));
        }
        Ok(Exception {
            place: place_of(self.text, whole.start),
            object: raw.object,
            program: raw.program,
            code: raw.code.map(Spanned::into_inner),
            message: raw.message.map(Spanned::into_inner),
            kind,
            reason: raw.reason.into_inner(),
            expires: raw.expires,
        })
    }

    fn kind(&self, word: &Spanned<String>) -> Result<FindingKind, ConfigError> {
        let may = |k: &FindingKind| k.may_be_excepted();
        let found = FindingKind::ALL.into_iter().filter(may).find(|k| k.as_str() == word.get_ref());
        found.ok_or_else(|| {
            let known: Vec<_> =
                FindingKind::ALL.into_iter().filter(may).map(FindingKind::as_str).collect();
            self.error(word.span(), format!("no exception can be of kind `{}`", word.get_ref()))
                .help(format!("kinds are {}", known.join(", ")))
        })
    }

    fn baseline(&self, raw: RawBaseline) -> Result<Baseline, ConfigError> {
        if raw.file.get_ref().is_empty() {
            return Err(self.error(raw.file.span(), "the baseline needs a file name"));
        }
        Ok(Baseline {
            file: raw.file,
            drift: raw.drift.map_or(DRIFT, |t| t.0),
            drift_floor: raw.drift_floor.unwrap_or(DRIFT_FLOOR),
            strict: raw.strict,
        })
    }
}
