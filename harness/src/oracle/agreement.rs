//! Two engines, one program, the same inputs: the same answers.
//!
//! Knows nothing of where programs come from.  What an engine does not model,
//! or may rightly do differently, is reported as not compared, never as equal.

use bpfassay_object::model::Program;
use bpfassay_spec::{ProgInfo, TestRun};

use crate::engine::{Input, Instance, Outcome};
use crate::engines::kernel::{Kernel, LoadError};
use crate::kernel::{stay_on_cpu, Element, KernelError};
use crate::runtime::ctx::Refusal;
use crate::runtime::world::World;
use crate::testrun::Interp;

/// What came of one program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// All inputs, this many.
    Agree(usize),
    /// Not judged, and why.
    NotCompared(String),
    /// The first input that tells them apart.
    Differ { input: usize, reference: String, other: String },
}

/// Runs the interpreter beside the running kernel.
pub fn with_kernel(program: &Program, inputs: &[Input], world: World) -> Agreement {
    // For these a test run calls functions of the kernel, not the program.
    if ProgInfo::of(program.prog_type).is_some_and(|row| row.test_run == Some(TestRun::Kernel)) {
        return Agreement::NotCompared("the kernel cannot run this type".to_string());
    }
    let mut kernel = match Kernel::load(program) {
        Ok(k) => k,
        Err(LoadError::Rejected(e)) => {
            return Agreement::NotCompared(format!("kernel rejects it, errno {e}"));
        }
        Err(LoadError::Kernel(e @ KernelError::NotPermitted)) => {
            return Agreement::NotCompared(e.to_string());
        }
        Err(LoadError::Kernel(e)) => return Agreement::NotCompared(e.to_string()),
    };
    let mut interp = match Interp::load(program, world) {
        Ok(i) => i,
        Err(e) => return Agreement::NotCompared(format!("{e:?}")),
    };
    let cpu = stay_on_cpu().unwrap_or(0);
    match compare(&mut kernel, &mut interp, inputs) {
        Agreement::Agree(n) => {
            let differ = program.maps.iter().enumerate().find_map(|(i, def)| {
                if def.max_entries > LARGEST_MAP {
                    return None;
                }
                let mut theirs = kernel.elements(i, def, cpu).ok()??;
                // The kernel shows what lists and trees have for links.
                let shape = interp.rt.maps.get(i)?.shape();
                for (_, value) in &mut theirs {
                    let shown = std::mem::replace(value, vec![0; value.len()]);
                    shape.copy_value(value, &shown);
                }
                let ours = interp.elements(i);
                first_difference(&theirs, &ours).map(|(a, b)| Agreement::Differ {
                    input: n,
                    reference: format!("map {} {a}", def.name),
                    other: format!("map {} {b}", def.name),
                })
            });
            match differ {
                Some(_) if interp.rt.world.consulted => {
                    Agreement::NotCompared("depends on time, chance, CPU or task".to_string())
                }
                Some(differ) => differ,
                None => Agreement::Agree(n),
            }
        }
        other => other,
    }
}

/// Maps with room for more elements than this are not compared: each costs a system call.
const LARGEST_MAP: u32 = 1 << 12;

/// The first element that only one side has, or has otherwise.
fn first_difference(a: &[Element], b: &[Element]) -> Option<(String, String)> {
    let hex = |b: &[u8]| b.iter().map(|v| format!("{v:02x}")).collect::<String>();
    let show = |e: Option<&Element>| {
        e.map_or("no element".to_string(), |(k, v)| format!("[{}] = {}", hex(k), hex(v)))
    };
    let at = (0..a.len().max(b.len())).find(|i| a.get(*i) != b.get(*i))?;
    Some((show(a.get(at)), show(b.get(at))))
}

/// Runs both on every input, maps kept from one to the next.
pub fn compare(
    reference: &mut dyn Instance,
    other: &mut dyn Instance,
    inputs: &[Input],
) -> Agreement {
    for (i, input) in inputs.iter().enumerate() {
        let a = reference.run(input);
        let b = other.run(input);
        if let Some(why) = not_comparable(&a).or_else(|| not_comparable(&b)) {
            return Agreement::NotCompared(why);
        }
        if !same(&a, &b) && (a.depends_on_world || b.depends_on_world) {
            return Agreement::NotCompared("depends on time, chance, CPU or task".to_string());
        }
        if !same(&a, &b) {
            return Agreement::Differ { input: i, reference: show(&a), other: show(&b) };
        }
    }
    Agreement::Agree(inputs.len())
}

/// `ENOTSUPP`: the kernel cannot test-run this program type.
const ENOTSUPP: i64 = 524;

fn not_comparable(o: &Outcome) -> Option<String> {
    match (&o.refusal, &o.trap) {
        (Some(Refusal::Errno(ENOTSUPP)), _) => Some("the kernel cannot run this type".to_string()),
        (Some(Refusal::Unsupported(what)), _) => Some(format!("{what} is not modelled")),
        (_, Some(t)) if !t.is_comparable() => Some(t.to_string()),
        _ => None,
    }
}

fn same(a: &Outcome, b: &Outcome) -> bool {
    a.refusal == b.refusal
        && a.trap.is_some() == b.trap.is_some()
        && a.retval() == b.retval()
        && a.data_out.as_deref().unwrap_or_default() == b.data_out.as_deref().unwrap_or_default()
        && a.ctx_out.as_deref().unwrap_or_default() == b.ctx_out.as_deref().unwrap_or_default()
}

fn show(o: &Outcome) -> String {
    match (&o.refusal, &o.trap) {
        (Some(r), _) => format!("{r:?}"),
        (_, Some(t)) => t.to_string(),
        _ => {
            let hex = |b: &Vec<u8>| b.iter().map(|v| format!("{v:02x}")).collect::<String>();
            let data = o.data_out.as_ref().map_or(String::new(), hex);
            let ctx = o.ctx_out.as_ref().map_or(String::new(), hex);
            format!("{} data {data} ctx {ctx}", o.retval())
        }
    }
}
