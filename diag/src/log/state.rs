//! Register states as the verifier prints them, taken apart (`print_verifier_state`, `print_reg_state`).

/// A printed state: one frame's registers and slots.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct State<'a> {
    /// 0 where the line names none.
    pub frame: u32,
    /// In printed order.
    pub entries: Vec<Entry<'a>>,
    /// `refs=`, `cb` and `async_cb` behind them.
    pub trailer: Vec<&'a str>,
}

/// One register or stack slot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// `R1`, `fp-8`.
    pub name: &'a str,
    /// All that stands behind the equals sign.
    pub value: &'a str,
    /// `P` before a scalar.
    pub precise: bool,
    /// Kind of value: `scalar`, `ctx`, `map_value_or_null`, `fp-8`, a constant, slot types (`mmmm????`).
    pub head: &'a str,
    /// Inside the parentheses, in printed order.
    pub fields: Vec<Field<'a>>,
}

/// `umax=255`; joined names (`smin=umin=1`) give one field per name; `id=1+4` keeps its delta in the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

impl<'a> State<'a> {
    /// Reads the state part of a line (`frame1: R0=1 fp-8=mmmmmmmm refs=2`).
    pub fn parse(text: &'a str) -> State<'a> {
        let mut state = State::default();
        let mut rest = text.trim();
        if let Some((frame, after)) = rest.strip_prefix("frame").and_then(|r| r.split_once(':')) {
            if let Ok(n) = frame.parse() {
                state.frame = n;
                rest = after.trim_start();
            }
        }
        for word in words(rest) {
            match word.split_once('=') {
                Some((name, value)) if name.starts_with('R') || name.starts_with("fp") => {
                    state.entries.push(Entry::parse(name, value));
                }
                _ => state.trailer.push(word),
            }
        }
        state
    }

    /// The entry of that name.
    pub fn get(&self, name: &str) -> Option<&Entry<'a>> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// Name of the first register or slot in which the two states differ, and of the first differing
    /// field inside it where both have the register.
    pub fn first_difference<'b>(
        &'b self,
        other: &'b State<'a>,
    ) -> Option<(&'a str, Option<&'a str>)> {
        for e in &self.entries {
            match other.get(e.name) {
                None => return Some((e.name, None)),
                Some(o) if o.value != e.value => return Some((e.name, e.first_difference(o))),
                Some(_) => {}
            }
        }
        other.entries.iter().find(|o| self.get(o.name).is_none()).map(|o| (o.name, None))
    }
}

impl<'a> Entry<'a> {
    fn parse(name: &'a str, value: &'a str) -> Entry<'a> {
        // A spilled register stands behind its slot types: `r` `P`…; types alone have no register.
        let precise = value.strip_prefix('P').is_some_and(|v| {
            v.starts_with("scalar")
                || v.starts_with('-')
                || v.starts_with(|c: char| c.is_ascii_digit())
        });
        let body = if precise { value.get(1..).unwrap_or("") } else { value };
        let (head, inside) = match body.split_once('(') {
            Some((head, inside)) => (head, inside.strip_suffix(')').unwrap_or(inside)),
            None => (body, ""),
        };
        let mut fields = Vec::new();
        for part in commas(inside) {
            let mut names: Vec<&str> = part.split('=').collect();
            let value = if names.len() > 1 { names.pop().unwrap_or("") } else { "" };
            fields.extend(names.into_iter().map(|name| Field { name, value }));
        }
        Entry { name, value, precise, head, fields }
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|f| f.name == name).map(|f| f.value)
    }

    fn first_difference(&self, other: &Entry<'a>) -> Option<&'a str> {
        if self.head != other.head {
            return Some("type");
        }
        if self.precise != other.precise {
            return Some("precise");
        }
        let missing_in = |a: &Entry<'a>, b: &Entry<'a>| {
            a.fields.iter().find(|f| b.field(f.name) != Some(f.value)).map(|f| f.name)
        };
        missing_in(self, other).or_else(|| missing_in(other, self))
    }
}

/// Splits at spaces outside parentheses: `var_off=(0x0; 0xff)` is one word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    split_outside(text, b' ').filter(|w| !w.is_empty())
}

/// Splits at commas outside parentheses.
fn commas(text: &str) -> impl Iterator<Item = &str> {
    split_outside(text, b',').filter(|w| !w.is_empty())
}

fn split_outside(text: &str, at: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut depth = 0u32;
        for (i, b) in text.bytes().enumerate() {
            match b {
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                _ if b == at && depth == 0 => {
                    rest = text.get(i + 1..);
                    return text.get(..i);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn registers_slots_and_trailer() {
        let s = State::parse(
            "frame1: R0=Pscalar(id=1+4,smin=umin=1,umax=255,var_off=(0x0; 0xff)) R1=map_value(map=a.b,ks=4,vs=8) \
             R10=fp0 fp-8=mmmm???? fp-16=P7 refs=2,3 cb",
        );
        assert_eq!(s.frame, 1);
        assert_eq!(
            s.entries.iter().map(|e| e.name).collect::<Vec<_>>(),
            ["R0", "R1", "R10", "fp-8", "fp-16"]
        );
        let r0 = s.get("R0").expect("R0");
        assert!(r0.precise);
        assert_eq!(r0.head, "scalar");
        assert_eq!(r0.field("id"), Some("1+4"));
        assert_eq!((r0.field("smin"), r0.field("umin")), (Some("1"), Some("1")));
        assert_eq!(r0.field("var_off"), Some("(0x0; 0xff)"));
        assert_eq!(s.get("R1").and_then(|e| e.field("map")), Some("a.b"));
        assert_eq!(s.get("fp-8").map(|e| e.head), Some("mmmm????"));
        assert_eq!(s.get("fp-16").map(|e| (e.precise, e.head)), Some((true, "7")));
        assert_eq!(s.trailer, ["refs=2,3", "cb"]);
    }

    #[test]
    fn the_first_difference_has_a_name() {
        let diff = |a, b| {
            State::parse(a)
                .first_difference(&State::parse(b))
                .map(|(r, f)| (r.to_owned(), f.map(str::to_owned)))
        };
        let some = |r: &str, f: Option<&str>| Some((r.to_owned(), f.map(str::to_owned)));
        assert_eq!(diff("R0=1 R1=ctx()", "R0=1 R1=ctx()"), None);
        assert_eq!(diff("R0=scalar(umax=1)", "R0=scalar(umax=2)"), some("R0", Some("umax")));
        assert_eq!(
            diff("R0=scalar(umax=1)", "R0=scalar(umax=1,var_off=(0x0; 0x1))"),
            some("R0", Some("var_off"))
        );
        assert_eq!(diff("R0=1 R6=2", "R0=1"), some("R6", None));
        assert_eq!(diff("R0=1", "R0=1 fp-8=mmmmmmmm"), some("fp-8", None));
        assert_eq!(diff("R0=P1", "R0=1"), some("R0", Some("precise")));
    }
}
