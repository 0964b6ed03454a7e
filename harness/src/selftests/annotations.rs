//! What a test program's BTF says is expected of it (`parse_test_spec` of `test_loader.c`).
//!
//! The annotations are DECL_TAGs on the program's function.  Up to 6.18 numbers in front of a message keep tags apart;
//! later ones stand in front of every tag, and say their order.

use bpfassay_object::btf::{Btf, BtfKind};
use bpfassay_spec::Caps;

use super::pattern::Pattern;

/// The loader takes any value for a result that is a pointer (`POINTER_VALUE` of `bpf_misc.h`).
pub const ANY_RETVAL: i32 = 0x0bad_cafe;
/// Bytes of zeros a program with an expected result is run on (`TEST_DATA_LEN`).
pub const RUN_DATA_LEN: usize = 64;

/// `prog_flags` bits, and their names in a tag.
const FLAGS: [(&str, u32); 8] = [
    ("BPF_F_STRICT_ALIGNMENT", 1 << 0),
    ("BPF_F_ANY_ALIGNMENT", 1 << 1),
    ("BPF_F_TEST_RND_HI32", 1 << 2),
    ("BPF_F_TEST_STATE_FREQ", 1 << 3),
    ("BPF_F_SLEEPABLE", 1 << 4),
    ("BPF_F_XDP_HAS_FRAGS", 1 << 5),
    ("BPF_F_XDP_DEV_BOUND_ONLY", 1 << 6),
    ("BPF_F_TEST_REG_INVARIANTS", 1 << 7),
];
/// Flags that the test loader sets unless a tag takes them away (`testing_prog_flags`).
const TESTING_FLAGS: u32 = 1 << 2 | 1 << 7;

/// Who loads: root, or someone without capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Privileged,
    Unprivileged,
}

/// Expectations of one way to load (as root, or without capabilities).
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// A tag asks for this way to load.
    pub asked: bool,
    /// What a tag says of the verdict: true for success.
    pub verdict: Option<bool>,
    /// Messages of the verifier's log, in order.
    pub messages: Vec<Pattern>,
    pub retval: Option<i32>,
    /// Lines of the rewritten program.
    pub xlated: Vec<Pattern>,
    /// The next of these lines need not follow the one before.
    apart: bool,
    /// Patterns over machine code and the program's streams: counted, not matched.
    pub jited: usize,
    pub streams: usize,
}

/// Everything the tags of one program say.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    pub description: Option<String>,
    pub privileged: Expected,
    pub unprivileged: Expected,
    /// Level of the log the messages are expected in; at 0 there is a log (of level 1) only where the load fails.
    pub log_level: u32,
    flags_set: u32,
    flags_cleared: u32,
    /// Not a test of its own: loaded for others.
    pub auxiliary: bool,
    /// Architectures named, as in the tag (`X86_64`); none means all.
    pub arches: Vec<String>,
    /// Capabilities that the load without any keeps.
    caps: Option<Caps>,
    /// Only with (true) or without (false) a JIT.
    pub jited: Option<bool>,
    /// A run is given a packet in pieces, which it is not here.
    pub is_nonlinear: bool,
    /// File of types to resolve against instead of the kernel's.
    pub btf_path: Option<String>,
    /// Tags of this family that could not be read.
    pub unread: Vec<String>,
}

/// A tag of the family, and the number in front of it.
#[derive(Clone, Copy)]
struct Tag<'a> {
    number: Option<u64>,
    body: &'a str,
}

impl Tag<'_> {
    fn of(body: &str) -> Tag<'_> {
        let numbered = body.split_once(':').and_then(|(n, rest)| Some((n.parse().ok()?, rest)));
        match numbered {
            Some((number, body)) => Tag { number: Some(number), body },
            None => Tag { number: None, body },
        }
    }
}

impl Annotations {
    /// Reads the tags of program `name`; nothing where the BTF has no such function.
    pub fn of(btf: &Btf, name: &str) -> Annotations {
        let mut out = Annotations::default();
        let Some(func) = btf.find_by_name_kind(name, BtfKind::Func) else { return out };
        let bodies = btf.decl_tags(func, -1).filter_map(|tag| tag.strip_prefix("comment:"));
        let mut tags: Vec<Tag<'_>> = bodies.map(Tag::of).collect();
        tags.sort_by_key(|t| t.number);
        for tag in tags {
            if let Err(why) = out.read(tag) {
                out.unread.push(format!("{}: {why}", tag.body));
            }
        }
        out
    }

    /// Some tag says what should happen as root: then there is an expectation, success unless a tag says failure.
    pub fn expects_success(&self) -> Option<bool> {
        if self.auxiliary || !self.privileged.asked {
            return None;
        }
        Some(self.privileged.verdict.unwrap_or(true))
    }

    /// The same without capabilities; what no tag says of that is as for root (the end of `parse_test_spec`).
    pub fn expects_success_unprivileged(&self) -> Option<bool> {
        if self.auxiliary || !self.unprivileged.asked {
            return None;
        }
        Some(self.unprivileged.verdict.or(self.privileged.verdict).unwrap_or(true))
    }

    /// Messages expected of one way to load.
    pub fn messages(&self, way: Way) -> &[Pattern] {
        match way {
            Way::Unprivileged if !self.unprivileged.messages.is_empty() => {
                &self.unprivileged.messages
            }
            _ => &self.privileged.messages,
        }
    }

    /// Lines expected of the rewritten program, loaded one way.
    pub fn xlated(&self, way: Way) -> &[Pattern] {
        match way {
            Way::Unprivileged if !self.unprivileged.xlated.is_empty() => &self.unprivileged.xlated,
            _ => &self.privileged.xlated,
        }
    }

    /// Capabilities of whoever loads without privilege.
    pub fn unprivileged_caps(&self) -> Caps {
        self.caps.unwrap_or(Caps::NONE)
    }

    /// True if the test is meant for this architecture (`x86_64`, `aarch64`) with a JIT.
    pub fn applies_to(&self, arch: &str) -> bool {
        let tag = match arch {
            "x86_64" => "X86_64",
            "aarch64" => "ARM64",
            "riscv64" => "RISCV64",
            other => other,
        };
        (self.arches.is_empty() || self.arches.iter().any(|a| a == tag))
            && self.jited != Some(false)
    }

    /// `prog_flags` bits the test loader adds to a program's own, its defaults among them.
    pub fn flags(&self) -> u32 {
        (TESTING_FLAGS & !self.flags_cleared) | self.flags_set
    }

    /// Level of the log that the messages are looked for in, given the verdict; 0 is no log at all.
    pub fn message_level(&self, accepted: bool) -> u32 {
        match (self.log_level, accepted) {
            // libbpf asks again, with words, when a quiet load fails.
            (0, false) => 1,
            (n, _) => n,
        }
    }

    fn read(&mut self, tag: Tag<'_>) -> Result<(), String> {
        let body = tag.body;
        if let Some(rest) = body.strip_prefix("test_expect_") {
            return self.read_expectation(rest, tag.number.is_some());
        }
        if let Some(mode) = body.strip_prefix("load_mode=") {
            self.jited = Some(match mode {
                "jited" => true,
                "no_jited" => false,
                _ => return Err("neither jited nor no_jited".to_string()),
            });
            return Ok(());
        }
        let Some(rest) = body.strip_prefix("test_") else { return Ok(()) };
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        match key {
            "description" => self.description = Some(value.to_string()),
            "auxiliary" => (self.auxiliary, self.privileged.asked) = (true, true),
            "auxiliary_unpriv" => (self.auxiliary, self.unprivileged.asked) = (true, true),
            "log_level" => self.log_level = number(value)? as u32,
            "prog_flags" => return self.read_flag(value),
            "retval" => set_retval(&mut self.privileged, value)?,
            "retval_unpriv" => set_retval(&mut self.unprivileged, value)?,
            "arch" => self.arches.push(value.to_string()),
            "btf_path" | "btf_func_path" => self.btf_path = Some(value.to_string()),
            "linear_size" => self.is_nonlinear = number(value)? != 0,
            "caps_unpriv" => {
                (self.caps, self.unprivileged.asked) = (Some(capabilities(value)?), true);
            }
            "jited" => self.privileged.jited += 1,
            "jited_unpriv" => self.unprivileged.jited += 1,
            _ => return Err("not a tag of 6.18 or 7.3".to_string()),
        }
        Ok(())
    }

    /// `is_numbered` where the tag's number stands in front of it.
    fn read_expectation(&mut self, rest: &str, is_numbered: bool) -> Result<(), String> {
        let (key, value) = match rest.split_once('=') {
            Some((key, text)) if is_numbered => (key, Some(text)),
            // A counter stands between the key and the text.
            Some((key, counted)) => (key, counted.split_once('=').map(|(_, text)| text)),
            None => (rest, None),
        };
        let (key, mode) = match key.strip_suffix("_unpriv") {
            Some(key) => (key, &mut self.unprivileged),
            None => (key, &mut self.privileged),
        };
        let text = value.ok_or("no text");
        match key {
            "success" | "failure" => {
                (mode.verdict, mode.asked) = (Some(key == "success"), true);
                return Ok(());
            }
            "msg" | "not_msg" => mode.messages.push(Pattern::new(text?, key == "not_msg")?),
            "xlated" => match text? {
                "..." => {
                    mode.apart = true;
                    return Ok(());
                }
                line => {
                    let mut pattern = Pattern::new(line, false)?;
                    pattern.follows = !std::mem::take(&mut mode.apart);
                    mode.xlated.push(pattern);
                }
            },
            "stderr" | "stdout" => {
                mode.streams += usize::from(text? != "...");
                return Ok(());
            }
            _ => return Err("not a tag of 6.18 or 7.3".to_string()),
        }
        mode.asked = true;
        Ok(())
    }

    fn read_flag(&mut self, value: &str) -> Result<(), String> {
        let (clear, name) = match value.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, value),
        };
        let bits = match FLAGS.iter().find(|(n, _)| *n == name) {
            Some((_, bit)) => *bit,
            None => number(name)? as u32,
        };
        if clear {
            self.flags_cleared |= bits;
            self.flags_set &= !bits;
        } else {
            self.flags_set |= bits;
        }
        Ok(())
    }
}

fn set_retval(mode: &mut Expected, text: &str) -> Result<(), String> {
    mode.retval = Some(match text {
        "_INT_MIN" => i32::MIN,
        _ => number(text)? as i32,
    });
    mode.asked = true;
    Ok(())
}

/// Numbers of capabilities (`include/uapi/linux/capability.h`) joined by `|`.
fn capabilities(text: &str) -> Result<Caps, String> {
    let mut caps = Caps::NONE;
    for one in text.split('|') {
        *match number(one)? {
            12 => &mut caps.net_admin,
            21 => &mut caps.sys_admin,
            38 => &mut caps.perfmon,
            39 => &mut caps.bpf,
            n => return Err(format!("capability {n} means nothing here")),
        } = true;
    }
    Ok(caps)
}

/// Decimal with a sign, or hexadecimal behind `0x`.
fn number(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::{Annotations, Tag};
    use bpfassay_object::model::ProgFlags;

    fn read(tags: &[&str]) -> Annotations {
        let mut out = Annotations::default();
        for t in tags {
            if let Err(e) = out.read(Tag::of(t)) {
                out.unread.push(e);
            }
        }
        out
    }

    #[test]
    fn verdicts_of_both_ways() {
        let a = read(&["test_expect_failure", "test_expect_success_unpriv"]);
        assert_eq!(a.expects_success(), Some(false));
        assert_eq!(a.unprivileged.verdict, Some(true));
        assert_eq!(read(&["test_log_level=2"]).expects_success(), None);
        assert_eq!(read(&["test_retval=7"]).expects_success(), Some(true));
        assert_eq!(read(&["test_auxiliary"]).expects_success(), None);
    }

    #[test]
    fn messages_lose_their_counter_only() {
        let a = read(&["test_expect_msg=12=a=b", "test_expect_not_msg=13=c"]);
        let texts: Vec<_> =
            a.privileged.messages.iter().map(|m| (m.text.as_str(), m.negative)).collect();
        assert_eq!(texts, [("a=b", false), ("c", true)]);
    }

    #[test]
    fn numbers_in_front_of_tags() {
        let a = read(&["3:test_expect_msg=a=b", "4:test_expect_failure_unpriv"]);
        assert_eq!(a.privileged.messages[0].text, "a=b");
        assert_eq!(a.unprivileged.verdict, Some(false));
        assert_eq!(Tag::of("12:test_retval=1").number, Some(12));
        assert_eq!(Tag::of("test_expect_msg=1=a: b").number, None);
    }

    #[test]
    fn lines_of_rewritten_programs() {
        let a =
            read(&["1:test_expect_xlated=a", "2:test_expect_xlated=...", "3:test_expect_xlated=b"]);
        let lines: Vec<_> = a.privileged.xlated.iter().map(|p| (&*p.text, p.follows)).collect();
        assert_eq!(lines, [("a", true), ("b", false)]);
        assert_eq!(a.xlated(super::Way::Unprivileged).len(), 2);
    }

    #[test]
    fn capabilities_of_an_unprivileged_load() {
        let a = read(&["test_caps_unpriv=39|12", "test_expect_success"]);
        assert!(a.unprivileged_caps().bpf && a.unprivileged_caps().net_admin);
        assert!(!a.unprivileged_caps().perfmon);
        assert_eq!(a.expects_success_unprivileged(), Some(true));
        assert_eq!(read(&["test_caps_unpriv=7"]).unread.len(), 1);
    }

    #[test]
    fn flags_are_added_and_taken_away() {
        let flags = |tag| ProgFlags::default().with_bits(read(&[tag]).flags());
        let a = flags("test_prog_flags=BPF_F_STRICT_ALIGNMENT");
        assert!(a.strict_alignment && a.test_rnd_hi32 && a.test_reg_invariants);
        let a = flags("test_prog_flags=!BPF_F_TEST_REG_INVARIANTS");
        assert!(!a.test_reg_invariants && a.test_rnd_hi32);
    }

    #[test]
    fn results_and_levels() {
        let a = read(&["test_retval=_INT_MIN"]);
        assert_eq!(a.privileged.retval, Some(i32::MIN));
        assert_eq!(read(&["test_retval=0xbadcafe"]).privileged.retval, Some(super::ANY_RETVAL));
        assert_eq!(read(&["test_retval=-1"]).privileged.retval, Some(-1));
        assert_eq!((a.message_level(true), a.message_level(false)), (0, 1));
        assert_eq!(read(&["test_log_level=2"]).message_level(true), 2);
    }

    #[test]
    fn unknown_tags_are_named() {
        assert_eq!(read(&["test_expect_wonder", "test_new=1", "test_log_level=x"]).unread.len(), 3);
        assert!(read(&["tag_of_someone_else"]).unread.is_empty());
    }

    #[test]
    fn architectures() {
        let a = read(&["test_arch=X86_64", "test_arch=ARM64"]);
        assert!(a.applies_to("x86_64") && a.applies_to("aarch64") && !a.applies_to("riscv64"));
        assert!(!read(&["load_mode=no_jited"]).applies_to("x86_64"));
    }
}
