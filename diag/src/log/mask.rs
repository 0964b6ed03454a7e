//! Hides what differs between two loads of one program: addresses in LD_IMM64, BTF ids in kfunc
//! calls, and times.  Nothing else.

use std::borrow::Cow;

use bpfassay_spec::helper::func_id_name;

use super::line::{Kind, Line};

const LD_IMM64: &str = "(18) r";
const CALL: &str = "(85) call ";

/// The line as two logs can be compared by.
pub fn mask_line<'a>(line: &Line<'a>) -> Cow<'a, str> {
    let masked = match line.kind {
        Kind::VerificationTime => Some("verification time T usec".to_owned()),
        // Instructions stand in lines of many kinds.
        _ => mask_address(line.text).or_else(|| mask_btf_id(line.text)),
    };
    masked.map_or(Cow::Borrowed(line.text), Cow::Owned)
}

/// `(18) r1 = 0xffff888100000000` → `(18) r1 = ADDR`.
fn mask_address(text: &str) -> Option<String> {
    let at = text.find(LD_IMM64)?;
    let eq = at + text.get(at..)?.find(" = 0x")? + " = ".len();
    let digits = text.get(eq + 2..)?;
    let len = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    let value = u64::from_str_radix(digits.get(..len)?, 16).ok()?;
    is_address(value).then(|| rebuild(text, eq, 2 + len, "ADDR"))
}

/// Kernel addresses, and the user addresses an arena is mapped at.
fn is_address(v: u64) -> bool {
    v >= 0xffff_8000_0000_0000 || (0x7000_0000_0000..0x8000_0000_0000).contains(&v)
}

/// `(85) call bpf_iter_num_new#79354` → `(85) call bpf_iter_num_new#ID`.
fn mask_btf_id(text: &str) -> Option<String> {
    let at = text.find(CALL)?;
    let hash = at + text.get(at..)?.find('#')?;
    let name = text.get(at + CALL.len()..hash)?;
    let digits = text.get(hash + 1..)?;
    let len = digits.bytes().take_while(u8::is_ascii_digit).count();
    let id = digits.get(..len)?;
    // A kfunc has a name that no helper of this number has.
    let is_helper = id.parse().is_ok_and(|id| func_id_name(id) == name);
    (len > 0 && name != "unknown" && !is_helper).then(|| rebuild(text, hash + 1, len, "ID"))
}

/// Replaces `len` bytes at `at`; the padding before the state depends on their number, so it becomes one space.
fn rebuild(text: &str, at: usize, len: usize, by: &str) -> String {
    let (before, rest) = text.split_at(at);
    let after = rest.get(len..).unwrap_or("");
    match after.split_once(';') {
        Some((pad, state)) if pad.trim().is_empty() => format!("{before}{by} ;{state}"),
        _ => format!("{before}{by}{after}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{mask_line, Line};

    fn mask(text: &str) -> String {
        mask_line(&Line::classify(text)).into_owned()
    }

    #[test]
    fn addresses_ids_and_times() {
        assert_eq!(
            mask("3: (18) r1 = 0xffff8881061f8400       ; R1=map_ptr(map=m,ks=4,vs=8)"),
            "3: (18) r1 = ADDR ; R1=map_ptr(map=m,ks=4,vs=8)"
        );
        assert_eq!(
            mask("      3: .......... (18) r1 = 0xffffc900001e1008"),
            "      3: .......... (18) r1 = ADDR"
        );
        assert_eq!(
            mask("mark_precise: frame0: regs=r2 stack= before 3: (18) r1 = 0xffff8881061f8400"),
            "mark_precise: frame0: regs=r2 stack= before 3: (18) r1 = ADDR"
        );
        assert_eq!(
            mask("4: (85) call bpf_iter_num_new#79354   ; R0=scalar()"),
            "4: (85) call bpf_iter_num_new#ID ; R0=scalar()"
        );
        assert_eq!(mask("verification time 9 usec"), "verification time T usec");
    }

    #[test]
    fn nothing_else() {
        for text in [
            "3: (18) r1 = 0x1122334455667788       ; R1=0x1122334455667788",
            "3: (18) r1 = 0x7fffffff       ; R1=0x7fffffff",
            "4: (85) call bpf_map_lookup_elem#1    ; R0=map_value_or_null(id=1,map=m,ks=4,vs=8)",
            "4: (85) call unknown#195896080",
            "stack depth 8",
            "invalid func unknown#4000",
        ] {
            assert_eq!(mask(text), text);
        }
    }
}
