//! Runs every program of the given objects that carries a `__retval` annotation.
//!
//!     cargo run -p bpfassay-harness --example retval -- [--kernel] FILE.o…
//!
//! The input is what the selftests' loader hands in: zero bytes, or nothing for a syscall program.
//! `--kernel` asks the running kernel too (as root; loads and test-runs, attaches nothing).

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use bpfassay_harness::engine::{Input, Instance, Outcome};
use bpfassay_harness::engines::kernel::Kernel;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::selftests::annotations::{Annotations, ANY_RETVAL, RUN_DATA_LEN};
use bpfassay_harness::testrun::Interp;
use bpfassay_object::btf::Btf;
use bpfassay_object::{load, Target};
use bpfassay_spec::ProgType;

/// What the selftests put into a map before they run the programs of a file.
const PREPARED: [(&str, &str); 2] =
    [("verifier_array_access", "map_array_ro"), ("verifier_value_ptr_arith", "map_array_48b")];

fn prepare(path: &str, run: &mut Interp) {
    let Some((_, name)) = PREPARED.iter().find(|(file, _)| path.contains(file)) else { return };
    let Some(map) = run.rt.maps.iter_mut().find(|m| m.shape().name == *name) else { return };
    // `struct test_val`: seven integers' bytes as index, then the array's seventh element.
    let mut value = vec![0; map.shape().value_size as usize];
    value[..4].copy_from_slice(&28u32.to_le_bytes());
    value[28..32].copy_from_slice(&0xabcd_ef12u32.to_le_bytes());
    let _ = map.update(&mut run.rt.mem, &[0; 4], &value, 0, 0);
}

fn show(o: &Outcome) -> String {
    match (&o.refusal, &o.trap) {
        (Some(r), _) => format!("{r:?}"),
        (_, Some(t)) => t.to_string(),
        _ => format!("{} ({:#x})", o.retval() as i32, o.retval()),
    }
}

fn world(btf: &Arc<Btf>) -> World {
    let mut world = World::seeded(1);
    world.kernel.vmlinux = Some(btf.clone());
    world
}

fn main() -> ExitCode {
    let vmlinux = std::fs::read("/sys/kernel/btf/vmlinux").expect("kernel BTF");
    let btf = Arc::new(Btf::parse(&vmlinux, None).expect("kernel BTF"));
    let target = Target::of_btf(&btf, 6 << 16 | 18 << 8 | 44);
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let ask = args.first().is_some_and(|a| a == "--kernel");
    if ask {
        args.remove(0);
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let (mut right, mut wrong, mut stopped, mut kernel_differs) = (0, 0, 0, 0);
    for path in &args {
        let bytes = std::fs::read(path).expect("readable");
        let Ok(object) = load(&bytes, path, &target) else { continue };
        for entry in &object.programs {
            let Ok(program) = &entry.program else {
                continue;
            };
            let Some(own) = &program.btf else { continue };
            let notes = Annotations::of(own, &program.name);
            let Some(want) = notes.privileged.retval else { continue };
            if notes.expects_success() == Some(false) || !notes.applies_to("X86_64") {
                continue;
            }
            let data = match program.prog_type {
                ProgType::Syscall => Vec::new(),
                _ => vec![0; RUN_DATA_LEN],
            };
            let input = Input { data, ..Input::default() };
            let ours = match Interp::load(program, world(&btf)) {
                Ok(mut i) => {
                    i.fill_slots(&object);
                    prepare(path, &mut i);
                    i.run(&input)
                }
                Err(e) => {
                    println!("NOLOAD {path} {}: {e:?}", program.name);
                    continue;
                }
            };
            let theirs = ask.then(|| match Kernel::load(program) {
                Ok(mut k) => show(&k.run(&input)),
                Err(e) => format!("{e:?}"),
            });
            let kernel = theirs.as_deref().map_or(String::new(), |t| format!(" kernel {t}"));
            if ours.trap.is_some() || ours.refusal.is_some() {
                stopped += 1;
                let why = show(&ours);
                println!("STOP {path} {} want {want}: {why}{kernel}", program.name);
                let why = why.split_once(": ").map_or(why.clone(), |(_, w)| w.to_string());
                *reasons.entry(why).or_default() += 1;
                continue;
            }
            let is_right = want == ANY_RETVAL || want as u32 == ours.retval();
            if is_right {
                right += 1;
            } else {
                wrong += 1;
                println!("WRONG {path} {} want {want} got {}{kernel}", program.name, show(&ours));
            }
            if theirs.is_some_and(|t| t != show(&ours)) && want != ANY_RETVAL {
                kernel_differs += 1;
                println!("KERNEL {path} {} ours {}{kernel}", program.name, show(&ours));
            }
        }
    }
    println!(
        "{right} right, {wrong} wrong, {stopped} stopped, {kernel_differs} differ from the kernel"
    );
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    for (why, n) in reasons.iter().take(80) {
        println!("{n:>6}  {why}");
    }
    ExitCode::from(u8::from(wrong > 0))
}
