//! Type names as the kernel prints them (`kernel/bpf/btf.c`: `btf_show_name`).

use super::kind::BtfKind;
use super::Btf;

/// `BTF_SHOW_MAX_ITER`: pointers, arrays and typedefs followed for one name.
const MAX_ITER: usize = 10;
/// `BTF_SHOW_NAME_SIZE`: the kernel's buffer, with the terminating byte.
const NAME_SIZE: usize = 80;

impl Btf {
    /// `(struct sk_buff *)`, `(int[])`, `(u32)`: the type's part of `btf_show_name`, without member name.
    /// Empty where the kernel gives up.
    pub fn show_name(&self, id: u32) -> String {
        let Some((type_name, parens)) = self.show_parts(id) else {
            return String::new();
        };
        let mut s = format!("({type_name}){parens}");
        let mut cut = s.len().min(NAME_SIZE - 1);
        while !s.is_char_boundary(cut) {
            cut -= 1;
        }
        s.truncate(cut);
        s
    }

    /// `struct sk_buff *` for id: as [`Btf::show_name`], bare.
    pub fn c_name(&self, id: u32) -> String {
        self.show_parts(id).map_or_else(String::new, |(name, _)| name)
    }

    fn show_parts(&self, id: u32) -> Option<(String, &'static str)> {
        let mut t = self.ty(id)?;
        let (mut name, mut stars, mut brackets) = (None, String::new(), String::new());
        let mut parens = "";
        let mut rounds = 0;
        loop {
            if rounds == MAX_ITER {
                return None;
            }
            rounds += 1;
            let next = match t.kind() {
                BtfKind::Typedef => {
                    name = name.or(Some(t.name()));
                    t.type_id()
                }
                BtfKind::Array => {
                    parens = "[";
                    brackets.push_str("[]");
                    t.array()?.elem
                }
                BtfKind::Ptr => {
                    stars.push('*');
                    t.type_id()
                }
                _ => 0,
            };
            if next == 0 {
                break;
            }
            t = self.skip_mods(next)?;
        }
        let typedef = name.is_some();
        let mut prefix = match t.kind() {
            BtfKind::Struct | BtfKind::Union => {
                if brackets.is_empty() {
                    parens = "{";
                }
                if t.kind() == BtfKind::Struct {
                    "struct"
                } else {
                    "union"
                }
            }
            BtfKind::Enum | BtfKind::Enum64 => "enum",
            _ => "",
        };
        if !stars.is_empty() {
            parens = "";
        }
        if typedef {
            prefix = "";
        }
        let name = name.unwrap_or_else(|| t.name());
        let space = if !prefix.is_empty() && !name.is_empty() { " " } else { "" };
        let gap = if stars.is_empty() { "" } else { " " };
        Some((format!("{prefix}{space}{name}{gap}{stars}{brackets}"), parens))
    }
}
