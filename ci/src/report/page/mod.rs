//! A rejection as one page that needs nothing else: source beside instructions, the state at every step, the lineage
//! and the control flow drawn, by keyboard, light and dark.

mod blocks;

use std::collections::BTreeMap;

use bpfassay_diag::story::{PathLine, Source, Step, Story};
use bpfassay_judge::explain::{Explanation, Words};
use serde::Serialize;

/// Everything the page shows; [`Page::render`] makes the file.
#[derive(Serialize, Debug, Default)]
pub struct Page {
    title: String,
    r#where: String,
    message: Vec<String>,
    needs: Option<String>,
    knows: Option<String>,
    class: Option<String>,
    fix: Option<String>,
    tried: Option<String>,
    verified: bool,
    register: Option<String>,
    /// Text of each instruction, by its number.
    insns: BTreeMap<u32, String>,
    lines: Vec<Line>,
    /// Instruction, frame, index into `lines` or -1, and what it changed.
    steps: Vec<(u32, u8, i32, String)>,
    /// Whole states where a frame begins, by step.
    begins: BTreeMap<usize, String>,
    lineage: Vec<Link>,
    blocks: Vec<blocks::Block>,
    /// Edges between blocks that the path took.
    taken: Vec<(usize, usize)>,
}

#[derive(Serialize, Debug, PartialEq, Eq, Clone)]
struct Line {
    file: String,
    line: Option<u32>,
    text: String,
}

/// One event of the value's history.
#[derive(Serialize, Debug)]
struct Link {
    /// Place in the path, -1 if it is not on it.
    step: i64,
    insn: u32,
    what: String,
    text: String,
    value: String,
    source: String,
    bad: bool,
}

impl Page {
    /// Of a rejection that this verifier found.
    pub fn of_explanation(e: &Explanation, kernel: &str) -> Page {
        let words = Words::of(e, kernel);
        let fix = words.fix.as_ref();
        let mut page = Page {
            fix: fix.map(|f| f.text.clone()),
            tried: fix
                .and_then(|f| f.tried.clone())
                .map(|t| t.trim_start_matches("Tried: ").into()),
            verified: fix.is_some_and(|f| f.verified),
            ..Page::of_story(&e.story)
        };
        for l in &e.listing {
            page.insns.insert(l.insn_idx, l.text.clone());
        }
        page.set_path(&e.path());
        page
    }

    /// Of a rejection that a log tells.
    pub fn of_log(story: &Story, path: &[PathLine]) -> Page {
        let mut page = Page::of_story(story);
        page.fix.clone_from(&story.fix);
        for l in path {
            page.insns.insert(l.insn, l.text.clone());
        }
        page.set_path(path);
        page
    }

    fn of_story(s: &Story) -> Page {
        let title = match s.code {
            Some(c) => format!("{}: {}", c.name, c.title),
            None => "A message that is not known here".to_string(),
        };
        let place = s.at.as_ref().map(|at| match place(at.source.as_ref()) {
            Some(p) => format!("{p}, insn {}", at.insn),
            None => format!("insn {}", at.insn),
        });
        let program = s.program.as_ref().map(|p| format!("program {p}"));
        let class = s.class.map(|c| match &s.why_class {
            Some(why) => format!("{}: {why}", c.title()),
            None => c.title().to_string(),
        });
        Page {
            title,
            r#where: [place, program].into_iter().flatten().collect::<Vec<_>>().join(", "),
            message: s.message.clone(),
            needs: s.needs.clone(),
            knows: s.knows.clone(),
            class,
            register: s.register.clone(),
            lineage: links(s),
            ..Page::default()
        }
    }

    fn set_path(&mut self, path: &[PathLine]) {
        let mut index: BTreeMap<(String, Option<u32>, String), usize> = BTreeMap::new();
        for l in path.iter().filter_map(|l| l.source.as_ref()) {
            index.insert((l.file.clone().unwrap_or_default(), l.line, l.text.clone()), 0);
        }
        for (i, ((file, line, text), at)) in index.iter_mut().enumerate() {
            *at = i;
            self.lines.push(Line { file: file.clone(), line: *line, text: text.clone() });
        }
        for (i, l) in path.iter().enumerate() {
            let line = l.source.as_ref().and_then(|s| {
                index.get(&(s.file.clone().unwrap_or_default(), s.line, s.text.clone()))
            });
            let line = line.map_or(-1, |at| *at as i32);
            self.steps.push((l.insn, l.frame, line, l.changes.clone()));
            if !l.begins.is_empty() {
                self.begins.insert(i, l.begins.clone());
            }
        }
        for link in &mut self.lineage {
            let at = self.steps.iter().rposition(|s| s.0 == link.insn);
            link.step = at.map_or(-1, |at| at as i64);
        }
        self.blocks = blocks::of(&self.insns);
        self.taken = blocks::taken(&self.blocks, self.steps.iter().map(|s| s.0));
    }

    /// The file's text.
    pub fn render(&self) -> String {
        // Nothing inside may end the element that holds it.
        let data = serde_json::to_string(self).unwrap_or_default().replace('<', "\\u003c");
        let title = self.title.replace('&', "&amp;").replace('<', "&lt;");
        // The data comes last: it may hold the other marks.
        include_str!("page.html")
            .replace("@TITLE@", &title)
            .replace("@STYLE@", include_str!("page.css"))
            .replace("@SCRIPT@", include_str!("page.js"))
            .replacen("@DATA@", &data, 1)
    }
}

fn links(s: &Story) -> Vec<Link> {
    let added = s.added.iter().flat_map(|(_, steps)| steps);
    let mut steps: Vec<&Step> = s.lineage.iter().chain(added).collect();
    let end = s.at.as_ref().filter(|at| steps.last().is_none_or(|l| l.insn != at.insn));
    steps.extend(end);
    let cause = s.cause.as_ref().map(|c| c.insn);
    let link = |step: &&Step| Link {
        step: -1,
        insn: step.insn,
        what: match (step.what, Some(step.insn) == s.at.as_ref().map(|a| a.insn)) {
            (Some(what), _) => what.as_str().to_string(),
            (None, true) => "rejected".to_string(),
            (None, false) => String::new(),
        },
        text: step.text.clone(),
        value: match (&step.place, &step.value) {
            (Some(p), Some(v)) => format!("{p}={v}"),
            _ => String::new(),
        },
        source: place(step.source.as_ref()).unwrap_or_default(),
        bad: step.what.is_none() || cause == Some(step.insn),
    };
    steps.iter().map(link).collect()
}

/// `prog.c:12`.
fn place(source: Option<&Source>) -> Option<String> {
    let s = source?;
    Some(format!("{}:{}", s.file.as_deref()?, s.line?))
}
