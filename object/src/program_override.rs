//! What an application sets of a program between opening and loading (libbpf: `bpf_program__set_type`,
//! `bpf_program__set_expected_attach_type`, `bpf_program__set_attach_target`).

use std::sync::Arc;

use bpfassay_spec::{AttachType, ProgType};

use crate::open::{Func, Opened};

/// What to set; None leaves what the section says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProgramOverride {
    /// A type without an attach type keeps the section's where the section says the same type.
    pub prog_type: Option<(ProgType, Option<AttachType>)>,
    /// Function, hook or `module:function`, as it would stand behind the section's slash.
    pub attach_target: Option<String>,
    /// The program that it attaches to, or replaces a function of.
    pub attach_program: Option<AttachProgram>,
}

/// A program that another one attaches to (libbpf: `bpf_program__set_attach_target` with a descriptor).
#[derive(Clone, Debug)]
pub struct AttachProgram {
    pub object: Arc<Opened>,
    pub program: String,
    /// Its function; None for the one that the attaching program's section names, or else for its main function.
    pub function: Option<String>,
}

impl PartialEq for AttachProgram {
    fn eq(&self, other: &AttachProgram) -> bool {
        Arc::ptr_eq(&self.object, &other.object)
            && (&self.program, &self.function) == (&other.program, &other.function)
    }
}

impl Eq for AttachProgram {}

impl ProgramOverride {
    /// Reads `xdp` or `cgroup_sock_addr/cgroup_inet4_bind`.
    ///
    /// # Errors
    /// A name that is no program or attach type.
    pub fn parse_type(text: &str) -> Result<(ProgType, Option<AttachType>), String> {
        let (prog, attach) = match text.split_once('/') {
            Some((prog, attach)) => (prog, Some(attach)),
            None => (text, None),
        };
        let ty = ProgType::from_name(prog).ok_or_else(|| format!("no program type `{prog}`"))?;
        let one = |a| AttachType::from_name(a).ok_or_else(|| format!("no attach type `{a}`"));
        Ok((ty, attach.map(one).transpose()?))
    }

    fn set(&self, f: &mut Func) {
        if let Some((ty, attach)) = self.prog_type {
            if attach.is_some() || f.prog_type != Some(ty) {
                f.attach_type = attach;
            }
            f.prog_type = Some(ty);
        }
        if self.attach_target.is_some() {
            f.attach_target = self.attach_target.clone();
        }
        if self.attach_program.is_some() {
            f.attach_program = self.attach_program.clone();
        }
    }
}

impl Opened {
    /// Sets what `to` says of every program called `name`, or of all without a name.  False if there is none.
    pub fn override_programs(&mut self, name: Option<&str>, to: &ProgramOverride) -> bool {
        let text = self.text;
        let is_meant = |f: &&mut Func| {
            (text == 0 || f.section != text) && name.is_none_or(|name| f.name == name)
        };
        let mut any = false;
        // Of all programs, those attach to another one that can (`bpf_object__init_programs`).
        let attaches = |f: &Func| matches!(f.prog_type, Some(ProgType::Ext | ProgType::Tracing));
        for f in self.funcs.iter_mut().filter(is_meant) {
            if name.is_some() || to.attach_program.is_none() || attaches(f) {
                to.set(f);
            }
            any = true;
        }
        any
    }
}
