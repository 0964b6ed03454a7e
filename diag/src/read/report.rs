//! The block that 7.3 prints below its message (`kernel/bpf/diagnostics.c`), read as data.

/// What the kernel itself says of a rejection.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Report {
    /// `Register Type Safety`.
    pub category: String,
    /// `Invalid dereference`.
    pub title: String,
    pub reason: String,
    pub suggestion: String,
    /// Instruction the report points at.
    pub insn: Option<u32>,
    /// `FILE:LINE:COLUMN` it points at.
    pub place: Option<String>,
    /// The source line.
    pub source: Option<String>,
    /// What it marks there: `invalid dereference of R0 (map value or NULL)`.
    pub problem: String,
    /// What happened on the way, oldest first.
    pub events: Vec<Event>,
}

/// One event of the causal path.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Event {
    pub insn: Option<u32>,
    pub place: Option<String>,
    pub source: Option<String>,
    /// `update: R0 changed from … to …`.
    pub text: String,
}

/// First words of a report.
pub const HEADER: &str = "Verification failed: ";

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Section {
    #[default]
    Head,
    Reason,
    At,
    Path,
    Suggestion,
    Other,
}

/// Headings of its sections.
const HEADINGS: [(&str, Section); 5] = [
    ("Reason:", Section::Reason),
    ("At:", Section::At),
    ("Causal path:", Section::Path),
    ("Suggestion:", Section::Suggestion),
    ("Active lock:", Section::Other),
];

/// The section that a line begins; None for other lines.
pub fn heading(line: &str) -> Option<Section> {
    HEADINGS.iter().find(|(text, _)| *text == line).map(|(_, section)| *section)
}

/// Reads the lines of a report one by one.
#[derive(Default, Debug)]
pub struct Reader {
    report: Report,
    section: Section,
    event: Event,
    /// The marked line is a source line, or an instruction.
    in_source: bool,
    /// The text behind a caret goes on.
    in_note: bool,
}

impl Reader {
    /// `line` begins with [`HEADER`].
    pub fn new(line: &str) -> Reader {
        let rest = line.strip_prefix(HEADER).unwrap_or(line);
        let (category, title) = rest.split_once(": ").unwrap_or((rest, ""));
        let mut reader = Reader::default();
        reader.report.category = category.trim().to_string();
        reader.report.title = title.trim().to_string();
        reader
    }

    /// True if the line belongs to the report.
    pub fn take(&mut self, line: &str) -> bool {
        let text = line.trim();
        if text.is_empty() {
            return true;
        }
        let Some(section) = heading(text) else {
            if text.starts_with("processed ") || text.starts_with("verification time ") {
                return false;
            }
            self.inside(text);
            return true;
        };
        self.end_event();
        self.section = section;
        true
    }

    pub fn finish(mut self) -> Report {
        self.end_event();
        self.report
    }

    fn end_event(&mut self) {
        self.in_note = false;
        let event = std::mem::take(&mut self.event);
        match self.section {
            Section::At => {
                let r = &mut self.report;
                (r.insn, r.place, r.source) = (event.insn, event.place, event.source);
                r.problem = event.text;
            }
            Section::Path if event != Event::default() => self.report.events.push(event),
            _ => {}
        }
    }

    fn inside(&mut self, text: &str) {
        match self.section {
            Section::Reason => join(&mut self.report.reason, text),
            Section::Suggestion => join(&mut self.report.suggestion, text),
            Section::At | Section::Path => self.located(text),
            Section::Head | Section::Other => {}
        }
    }

    fn located(&mut self, text: &str) {
        if let Some((_, note)) = text.split_once("^-- ") {
            join(&mut self.event.text, note);
            self.in_note = true;
        } else if let (true, Some(more)) = (self.in_note, text.strip_prefix("| ")) {
            join(&mut self.event.text, more.trim());
        } else if text == "Source context:" {
            (self.in_source, self.in_note) = (true, false);
        } else if text == "Instruction context:" {
            (self.in_source, self.in_note) = (false, false);
        } else if let Some((number, words)) = marked(text) {
            if self.in_source {
                self.event.source = Some(words.to_string());
            } else {
                self.event.insn = number;
            }
        } else if let Some(n) = text.strip_prefix("insn ").and_then(|n| n.parse().ok()) {
            self.event.insn = Some(n);
        } else if let Some((_, place)) = text.split_once(" @ ") {
            // A place begins the next event.
            if self.section == Section::Path && self.event.place.is_some() {
                self.end_event();
            }
            self.event.place = Some(place.to_string());
        }
    }
}

/// `>>> 14 | *v += 1;`.
fn marked(text: &str) -> Option<(Option<u32>, &str)> {
    let (number, words) = text.strip_prefix(">>> ")?.split_once('|')?;
    Some((number.trim().parse().ok(), words.trim()))
}

fn join(to: &mut String, text: &str) {
    if !to.is_empty() {
        to.push(' ');
    }
    to.push_str(text);
}
