//! Kernel constant names to the Rust names that `spec/src/{types,uapi}.rs` give them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::spans::Lines;
use super::{rows, Result};

pub struct Names {
    /// `ARG_PTR_TO_MEM` → `("ArgBase", "Mem")`.
    base: BTreeMap<String, (String, String)>,
    /// `ARG_PTR_TO_MEM_OR_NULL` → its parts.
    alias: BTreeMap<String, String>,
    /// `("AttachType", "trace_iter")` → `TraceIter`.
    uapi: BTreeMap<(String, String), String>,
    /// Helper name without prefix → number.
    pub helpers: BTreeMap<String, i64>,
    pub lines: Lines,
}

impl Names {
    pub fn read(root: &Path) -> Result<Names> {
        let file = |p: &str| fs::read_to_string(root.join(p)).map_err(|e| format!("{p}: {e}"));
        let mut base = BTreeMap::new();
        let mut enum_name = String::new();
        for line in file("spec/src/types.rs")?.lines() {
            if let Some((_, name)) =
                line.split_once("Type, ").filter(|_| line.trim_end().ends_with('{'))
            {
                enum_name = name.trim_end_matches([' ', '{', ',']).to_string();
            }
            if let Some((variant, kernel)) = variant_row(line) {
                base.insert(kernel, (enum_name.clone(), variant));
            }
        }
        let mut uapi = BTreeMap::new();
        for line in file("spec/src/uapi.rs")?.lines() {
            if let Some((name, _)) =
                line.split_once(", \"bpf_").filter(|_| line.trim_end().ends_with('{'))
            {
                enum_name = name.trim().to_string();
            }
            if let Some((variant, kernel)) = variant_row(line) {
                uapi.insert((enum_name.clone(), kernel), variant);
            }
        }
        let table = rows::read(root, "spec/data/helpers/names.toml")?;
        let pairs =
            |key: &str| table.get(key).and_then(|v| v.as_table()).cloned().unwrap_or_default();
        let alias = pairs("alias")
            .into_iter()
            .filter_map(|(k, v)| Some((k, v.as_str()?.to_string())))
            .collect();
        let helpers =
            pairs("ids").into_iter().filter_map(|(k, v)| Some((k, v.as_integer()?))).collect();
        Ok(Names { base, alias, uapi, helpers, lines: Lines::read(root)? })
    }

    /// `ARG_PTR_TO_MEM | MEM_RDONLY` → `ArgType::with(ArgBase::Mem, TypeFlags(512))`.
    pub fn type_word(&self, word: &str, kind: &str) -> Result<String> {
        let (mut base, mut flags) = (None, Vec::new());
        self.split(word, kind, &mut base, &mut flags)?;
        let base = base.ok_or_else(|| format!("no base type in {word}"))?;
        Ok(if flags.is_empty() {
            format!("{kind}Type::of({kind}Base::{base})")
        } else {
            let flags: Vec<String> = flags.iter().map(|f| format!("F::{f}.0")).collect();
            format!("{kind}Type::with({kind}Base::{base}, F({}))", flags.join(" | "))
        })
    }

    fn split(
        &self,
        word: &str,
        kind: &str,
        base: &mut Option<String>,
        flags: &mut Vec<String>,
    ) -> Result<()> {
        for part in word.split('|').map(str::trim) {
            if let Some(parts) = self.alias.get(part) {
                self.split(parts, kind, base, flags)?;
            } else if let Some((owner, variant)) = self.base.get(part) {
                if *owner != format!("{kind}Base") || base.replace(variant.clone()).is_some() {
                    return Err(format!("bad type word {word}"));
                }
            } else if part.starts_with("MEM_")
                || part.starts_with("PTR_")
                || part.starts_with("DYNPTR_")
                || part.starts_with("OBJ_")
            {
                flags.push(part.to_string());
            } else {
                return Err(format!("unknown constant {part} in {word}"));
            }
        }
        Ok(())
    }

    /// Variant of `ProgType`, `AttachType` or `MapType` by lower-case kernel name, as a path.
    pub fn uapi(&self, owner: &str, name: &str) -> Result<String> {
        match self.uapi.get(&(owner.to_string(), name.to_string())) {
            Some(variant) => Ok(format!("{owner}::{variant}")),
            None => Err(format!("unknown {owner} {name}")),
        }
    }
}

/// `Variant = 3 "KERNEL_NAME",` split into its names.
fn variant_row(line: &str) -> Option<(String, String)> {
    let (variant, rest) = line.trim().split_once(" = ")?;
    let (number, rest) = rest.split_once(" \"")?;
    number.parse::<u32>().ok()?;
    let kernel = rest.strip_suffix("\",")?;
    Some((variant.to_string(), kernel.to_string()))
}
