//! What text for people is written on.

use annotate_snippets::Renderer;

/// Colours, and the width of a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Paper {
    pub colour: bool,
    /// Columns; None where it is no terminal.
    pub width: Option<usize>,
}

/// Widest column of prose.
const PROSE: usize = 88;
/// Narrowest, whatever the terminal.
const NARROW: usize = 24;
/// Room that a diagnostic takes left of its prose.
const MARGIN: usize = 12;

impl Paper {
    /// Draws diagnostics as the paper takes them.
    pub fn renderer(self) -> Renderer {
        let renderer = if self.colour { Renderer::styled() } else { Renderer::plain() };
        match self.width {
            Some(width) => renderer.term_width(width.max(NARROW + MARGIN)),
            None => renderer,
        }
    }

    /// Columns for prose beside a margin.
    pub fn prose(self) -> usize {
        self.width.map_or(PROSE, |w| w.saturating_sub(MARGIN).clamp(NARROW, PROSE))
    }

    /// Prose broken into lines that fit beside a diagnostic's margin; code in backticks stays on one line.
    pub fn wrapped(self, text: &str) -> String {
        wrapped(text, self.prose())
    }

    /// Lines that are kept as they are, but on a terminal that they do not fit.
    pub fn fitted(self, text: &str) -> String {
        match self.width {
            None => text.to_string(),
            Some(w) => {
                let most = w.saturating_sub(MARGIN).max(NARROW);
                text.lines().map(|l| wrapped(l, most)).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

fn wrapped(text: &str, most: usize) -> String {
    let mut in_code = false;
    let at_break = |c: char| {
        in_code ^= c == '`';
        c == ' ' && !in_code
    };
    let (mut out, mut width) = (String::new(), 0);
    for (i, word) in text.split(at_break).enumerate() {
        let len = word.chars().count();
        if width > 0 && width + 1 + len > most {
            out.push('\n');
            width = 0;
        } else if i > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += len;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_as_wide_as_the_terminal_lets_it_be() {
        let text =
            "Compare the pointer with the end of the packet: `if (p + 1 > end) return 0;` first.";
        let on = |width| Paper { colour: false, width };
        assert_eq!(on(None).wrapped(text), text);
        for width in [20, 40, 60, 80] {
            let most = on(Some(width)).prose();
            for line in on(Some(width)).wrapped(text).lines() {
                assert!(line.chars().count() <= most || !line.contains(' ') || line.contains('`'));
            }
        }
        assert_eq!(on(Some(300)).wrapped(text), text);
        assert_eq!(on(None).fitted("a\nb"), "a\nb");
    }
}
