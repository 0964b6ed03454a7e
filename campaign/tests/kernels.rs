//! Campaigns that ask a kernel, here one of cardboard.

use bpfassay_campaign::engine::{self, Options};
use bpfassay_campaign::kernel::{Answer, Kernel, Question};
use bpfassay_campaign::report::Report;

/// Answers as expected but for one program, and for so many batches.
struct Cardboard {
    batches: u32,
}

impl Kernel for Cardboard {
    fn name(&self) -> &str {
        "cardboard"
    }

    fn ask(&mut self, questions: &[Question<'_>]) -> Result<Vec<Answer>, String> {
        if self.batches == 0 {
            return Err("it burns".to_string());
        }
        self.batches -= 1;
        let mut answers: Vec<_> = questions.iter().map(|q| q.expected.clone()).collect();
        let accepted = answers.iter_mut().find(|a| a.errno == 0).expect("an accepted program");
        *accepted = Answer::verdict(13, "R0 !read_ok\nprocessed 1 insns\n".to_string());
        Ok(answers)
    }
}

fn campaign(batches: u32) -> Report {
    let options = Options {
        kernel: "6.18".to_string(),
        seed: 5,
        oracles: vec!["verdict".to_string()],
        engines: Vec::new(),
        time: None,
        programs: Some(96),
        jobs: 1,
        batch: 32,
        shard: (0, 1),
        folder: None,
        corpus: Vec::new(),
    };
    engine::run(&options, vec![Box::new(Cardboard { batches })], &|_| ()).expect("a campaign")
}

#[test]
fn a_kernel_that_answers_otherwise_makes_a_finding() {
    let report = campaign(3);
    assert_eq!((report.programs, report.notes.len()), (96, 0));
    let kinds: Vec<_> = report.findings.iter().map(|f| (f.kind.as_str(), f.count)).collect();
    assert_eq!(kinds, [("accepted, the kernel rejects", 3)]);
    let counts = &report.oracles["verdict, cardboard"];
    assert_eq!(counts["checked"], 96);
}

#[test]
fn a_kernel_that_stops_ends_the_run_with_what_is_known() {
    let report = campaign(2);
    assert_eq!(report.programs, 64, "the batch in flight is not done");
    assert_eq!(report.notes, ["cardboard, batch 2: it burns"]);
    assert_eq!(report.findings[0].count, 2);
}
