//! The campaign's state on disk: one line for each batch that is done, written whole.
//!
//! A line that a kill cut short is no line, and its batch is done again: nothing counts twice, and what is lost is
//! what was in flight.  Shards are stores with other batches of the same campaign, so merging is reading several.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::report::Tally;

const JOURNAL: &str = "journal.jsonl";

/// A finding and what it was seen on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub finding: Finding,
    /// The source's number: of a generated program, or of a program of the corpus and its mutation.
    pub number: u64,
    /// Of the same kind in the batch, this one included.
    pub count: u64,
}

/// What came of one batch.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Batch {
    pub number: u64,
    pub tally: Tally,
    pub seen: Vec<Seen>,
}

/// What tells campaigns apart.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub seed: u64,
    /// Cases of one batch; journals that do not say had 512.
    #[serde(default = "usual_batch")]
    pub batch: u64,
    pub kernel: String,
    pub oracles: Vec<String>,
    /// Of the corpus, in order.
    pub corpus: Vec<String>,
}

fn usual_batch() -> u64 {
    crate::engine::BATCH
}

/// A folder with a journal.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    journal: File,
}

/// A store's head, and its batches by number.
pub type Contents = (Head, BTreeMap<u64, Batch>);

impl Store {
    /// Opens or begins a campaign's store; gives the batches that are done.
    pub fn open(folder: &Path, head: &Head) -> Result<(Store, BTreeMap<u64, Batch>), String> {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let path = folder.join(JOURNAL);
        let at = |e: std::io::Error| format!("{}: {e}", path.display());
        let mut journal = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(at)?;
        let mut text = String::new();
        journal.read_to_string(&mut text).map_err(at)?;
        let whole = text.rfind('\n').map_or(0, |i| i + 1);
        // What a kill cut short goes.
        journal.set_len(whole as u64).map_err(at)?;
        journal.seek(SeekFrom::End(0)).map_err(at)?;
        let batches = match parse(&text[..whole]).map_err(|e| format!("{}: {e}", path.display()))? {
            Some((found, batches)) if found == *head => batches,
            Some(_) => return Err(format!("{} is of another campaign", path.display())),
            None => {
                let line = serde_json::to_string(head).map_err(|e| e.to_string())?;
                journal.write_all(format!("{line}\n").as_bytes()).map_err(at)?;
                BTreeMap::new()
            }
        };
        Ok((Store { folder: folder.to_path_buf(), journal }, batches))
    }

    /// Writes a batch down; it is done.
    pub fn add(&mut self, batch: &Batch) -> Result<(), String> {
        let line = serde_json::to_string(batch).map_err(|e| e.to_string())?;
        self.journal.write_all(format!("{line}\n").as_bytes()).map_err(|e| e.to_string())
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// What a store holds.
pub fn read(folder: &Path) -> Result<Contents, String> {
    let path = folder.join(JOURNAL);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let whole = text.rfind('\n').map_or(0, |i| i + 1);
    parse(&text[..whole])?.ok_or_else(|| format!("{} is empty", path.display()))
}

fn parse(text: &str) -> Result<Option<Contents>, String> {
    let mut lines = text.lines();
    let Some(head) = lines.next() else { return Ok(None) };
    let head = serde_json::from_str(head).map_err(|e| format!("line 1: {e}"))?;
    let mut batches = BTreeMap::new();
    for (i, line) in lines.enumerate() {
        let batch: Batch =
            serde_json::from_str(line).map_err(|e| format!("line {}: {e}", i + 2))?;
        batches.insert(batch.number, batch);
    }
    Ok(Some((head, batches)))
}

/// Several stores of one campaign as one; a batch that two have counts once.
pub fn merge(folders: &[PathBuf]) -> Result<Contents, String> {
    let mut merged: Option<Contents> = None;
    for folder in folders {
        let (head, batches) = read(folder)?;
        match &mut merged {
            None => merged = Some((head, batches)),
            Some((first, all)) if *first == head => all.extend(batches),
            Some(_) => return Err(format!("{} is of another campaign", folder.display())),
        }
    }
    merged.ok_or_else(|| "nothing to merge".to_string())
}
