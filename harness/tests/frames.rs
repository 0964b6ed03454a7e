//! What a capture holds beside what a test run takes.

use bpfassay_harness::engine::{Input, Instance};
use bpfassay_harness::runtime::ctx::Refusal;
use bpfassay_harness::runtime::world::World;
use bpfassay_harness::testrun::Interp;
use bpfassay_isa::asm::{assemble, NoNames};
use bpfassay_object::model::Program;
use bpfassay_spec::ProgType;

/// A program that returns the frame's length.
fn length() -> Program {
    Program::bare(
        "length",
        ProgType::SchedCls,
        assemble("r0 = *(u32 *)(r1 +0)\nexit", &NoNames).unwrap(),
    )
}

#[test]
fn a_captured_frame_may_be_longer_than_a_page_and_end_within_its_header() {
    let mut cut_short = vec![0; 20];
    cut_short[12] = 8;
    for frame in [vec![0; 9000], cut_short] {
        let len = u32::try_from(frame.len()).unwrap();
        for takes_any_frame in [false, true] {
            let world = World { takes_any_frame, ..World::seeded(1) };
            let mut engine = Interp::load(&length(), world).unwrap();
            let out = engine.run(&Input { data: frame.clone(), ..Input::default() });
            match takes_any_frame {
                true => assert_eq!((out.retval(), &out.refusal), (len, &None)),
                false => assert_eq!(out.refusal, Some(Refusal::Errno(22))),
            }
        }
    }
}
