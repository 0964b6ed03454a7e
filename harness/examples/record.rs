//! Records truth for objects: `record OUT ROOT MAX_LOG OBJECT…`; labels are the objects' paths below ROOT.
//! `UNTYPED=sched_cls` in the environment is the type of programs whose section says none.

use std::path::Path;

use bpfassay_corpus::truth::Answer;
use bpfassay_harness::kernel::LoadOptions;
use bpfassay_harness::record::Recorder;
use bpfassay_spec::ProgType;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [out, root, max_log, objects @ ..] = args.as_slice() else {
        eprintln!("usage: record OUT ROOT MAX_LOG OBJECT...");
        std::process::exit(64);
    };
    let options =
        LoadOptions { max_log: max_log.parse().expect("MAX_LOG"), ..LoadOptions::default() };
    let mut recorder = Recorder::new(options).expect("kernel");
    if let Some(t) = std::env::var("UNTYPED").ok().and_then(|t| ProgType::from_name(&t)) {
        recorder.untyped_as(t, None);
    }
    let dir = Path::new(out).join(recorder.release());
    let mut counts = [0u32; 4];
    for object in objects {
        let label = Path::new(object)
            .strip_prefix(root)
            .unwrap_or(Path::new(object))
            .to_string_lossy()
            .into_owned();
        let truth =
            recorder.object(&std::fs::read(object).expect("object"), &label).expect("kernel");
        if let Some(e) = &truth.error {
            println!("{label}: {e}");
            counts[3] += 1;
        }
        for p in &truth.programs {
            match &p.answer {
                Answer::Accepted => counts[0] += 1,
                Answer::Rejected { errno } => {
                    counts[1] += 1;
                    println!("{label}:{}: {errno} {}", p.name, p.message.as_deref().unwrap_or("-"));
                }
                Answer::NotAsked { why } => {
                    counts[2] += 1;
                    println!("{label}:{}: not asked: {why}", p.name);
                }
            }
        }
        truth.write(&dir).expect("write");
    }
    let [accepted, rejected, not_asked, objects] = counts;
    println!("accepted {accepted}, rejected {rejected}, not asked {not_asked}, objects not loaded {objects}");
}
