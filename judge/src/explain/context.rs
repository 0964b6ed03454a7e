//! Accesses to the context that a program type does not allow: which field, and what is allowed there.

use bpfassay_diag::story::{number_after, Field, Names, Story};
use bpfassay_spec::ctx::{AccessType, CtxAccess};
use bpfassay_spec::prog::ProgInfo;
use bpfassay_spec::{ProgKind, ProgType};

use super::terms::Terms;

/// Other program types named.
const NAMED: usize = 3;

/// The access at fault.
struct Access<'a> {
    terms: &'a Terms<'a>,
    field: Field,
    offset: i32,
    size: u32,
    how: AccessType,
}

/// Says which field an access is about, and what this program type may do with it.
pub fn tell(story: &mut Story, terms: &Terms<'_>, words: &str) {
    let said = story.message.join("\n");
    let (Some(off), Some(size)) = (number_after(&said, "off="), number_after(&said, "size="))
    else {
        return;
    };
    if let Some((name, has)) = terms.context().filter(|(_, has)| off < 0 || off + size > *has) {
        story.knows =
            Some(format!("{size} bytes at offset {off}, of {has} that `struct {name}` has"));
        story.fix = Some(format!("The access is outside of `struct {name}`, which has {has} bytes: use the fields it declares, and do not compute with the context's address."));
        return;
    }
    let (Some(field), Ok(offset), Ok(size)) =
        (terms.in_context(off), i32::try_from(off), u32::try_from(size))
    else {
        return;
    };
    let how = if words.starts_with("*(") { AccessType::Write } else { AccessType::Read };
    let access = Access { terms, field, offset, size, how };
    story.needs = Some(access.needs());
    story.knows = Some(access.knows());
    story.fix = access.fix().or(story.fix.take());
}

impl Access<'_> {
    fn prog_type(&self) -> ProgType {
        self.terms.program.prog_type
    }

    fn allows(&self, prog_type: ProgType, offset: i32, size: u32, how: AccessType) -> bool {
        let kind = ProgKind::new(prog_type, self.terms.program.expected_attach_type);
        let mut info = CtxAccess::new(false);
        [1, 2, 4, 8].contains(&size)
            && self.terms.target.kernel.ctx_access(&kind, offset, size, how, &mut info)
    }

    /// Widths at which the field may be accessed from its first byte.
    fn widths(&self, prog_type: ProgType, how: AccessType) -> Vec<u32> {
        let Ok(first) = i32::try_from(self.field.offset) else { return Vec::new() };
        [1, 2, 4, 8].into_iter().filter(|n| self.allows(prog_type, first, *n, how)).collect()
    }

    fn verb(&self) -> &'static str {
        match self.how {
            AccessType::Read => "read",
            AccessType::Write => "written",
        }
    }

    fn needs(&self) -> String {
        let widths = self.widths(self.prog_type(), self.how);
        let name = self.field.said();
        match widths[..] {
            [] => format!(
                "a field that {} programs may have {}",
                self.prog_type().name(),
                self.verb()
            ),
            _ => format!("{name} {} {} bytes at a time", self.verb(), listed(&widths)),
        }
    }

    fn knows(&self) -> String {
        let Access { field, size, offset, .. } = self;
        let end = field.offset + field.size as i64;
        let more = i64::from(*offset) + i64::from(*size) - end;
        let past = match more > 0 {
            true => format!(", {more} more than {} has from there", field.said()),
            false => String::new(),
        };
        format!(
            "{size} bytes at offset {offset} are {}, which is {}{past}",
            self.verb(),
            field.said()
        )
    }

    fn fix(&self) -> Option<String> {
        let name = self.field.said();
        let own = self.prog_type();
        let widths = self.widths(own, self.how);
        if !widths.is_empty() {
            let wide = i64::from(self.offset) + i64::from(self.size)
                > self.field.offset + self.field.size as i64;
            let own = widths.last().copied().unwrap_or(0);
            return Some(match wide {
                true => format!("Access {name} with its own width, {own} bytes. Where the source does, the compiler has made one access of two fields beside each other: read each through a `volatile`, or put `barrier_var()` between them."),
                false => format!("Access {name} from its first byte and {} bytes wide, and take what is needed from a copy.", listed(&widths)),
            });
        }
        let other = match self.how {
            AccessType::Write if !self.widths(own, AccessType::Read).is_empty() => {
                format!("{} programs may read {name}, not write it", own.name())
            }
            _ => format!("{} programs have no {name}", own.name()),
        };
        let types = self.other_types();
        Some(match types.is_empty() {
            true => format!("{other}, and no other program type with this context may have it {}: take the value from somewhere else, or keep it in a map.", self.verb()),
            false => format!("{other}; {} may have it {}. Do this in such a program, or leave it out.", types.join(", "), self.verb()),
        })
    }

    /// Program types with the same context that may do it.
    fn other_types(&self) -> Vec<&'static str> {
        let kernel = &self.terms.target.kernel;
        let Some(own) = kernel.prog(self.prog_type()) else { return Vec::new() };
        let same = |p: &&ProgInfo| p.ctx == own.ctx && p.prog_type != own.prog_type;
        let may = |p: &&ProgInfo| !self.widths(p.prog_type, self.how).is_empty();
        let all = ProgInfo::all().iter().filter(same).filter(may);
        all.map(|p| p.prog_type.name()).take(NAMED).collect()
    }
}

/// `4`, `1, 2 or 4`.
fn listed(widths: &[u32]) -> String {
    let words: Vec<String> = widths.iter().map(u32::to_string).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
