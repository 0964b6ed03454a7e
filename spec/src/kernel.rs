//! A kernel build resolved into the facts that hold for it.

/// Named behaviour differences between builds.  Code asks for one by name; the rows
/// say which builds have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// Byte swaps of scalars keep their bounds where the value is known (`scalar_byte_swap`).
    pub scalar_byte_swap: bool,
    /// `r += K` on a register linked to others keeps the link when source and destination are the same.
    pub add_const_keeps_self_link: bool,
    /// AND/OR with a register known to be 0 or -1 forks the state (`maybe_fork_scalars`).
    pub fork_scalars: bool,
    /// Linked registers that are dead are not updated (`collect_linked_regs` with `live_regs_before`).
    pub linked_regs_live_only: bool,
}

/// A kernel build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Exact release, e.g. `6.18.44`.
    pub release: String,
    pub features: Features,
}

impl Kernel {
    /// `6.18` (which is 6.18.44) or `6.18.15`.
    pub fn by_name(name: &str) -> Option<Kernel> {
        let newer = match name {
            "6.18" | "6.18.44" => true,
            "6.18.15" => false,
            _ => return None,
        };
        Some(Kernel {
            release: if newer { "6.18.44" } else { "6.18.15" }.to_string(),
            features: Features {
                scalar_byte_swap: newer,
                add_const_keeps_self_link: newer,
                fork_scalars: newer,
                linked_regs_live_only: newer,
            },
        })
    }
}
