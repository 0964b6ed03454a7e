//! The false stories, each with a twin that is told the other way; what the verifier leaves unnamed.

use super::{Class, Story, What};
use crate::read::read;

#[track_caller]
fn story(log: &str) -> Story {
    let reading = read(log.as_bytes().to_vec());
    assert_eq!(reading.programs.len(), 1, "{reading:?}");
    Story::of(&reading.programs[0])
}

fn steps(s: &Story) -> Vec<(u32, u8, What)> {
    s.lineage.iter().filter_map(|s| Some((s.insn, s.frame, s.what?))).collect()
}

fn cause(s: &Story) -> Option<u32> {
    s.cause.as_ref().map(|c| c.insn)
}

/// A caller's R6 is read from its context; the callee has an R6 of its own.
fn frames(last: &str) -> String {
    format!(
        "0: R1=ctx() R10=fp0\n\
         0: (61) r6 = *(u32 *)(r1 +4)          ; R1=ctx() R6=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))\n\
         1: (85) call pc+3\n\
         caller:\n R6=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)) R10=fp0\n\
         callee:\n frame1: R1=ctx() R10=fp0\n\
         5: frame1: R1=ctx() R10=fp0\n\
         5: (b7) r6 = 9                        ; frame1: R6=9\n\
         6: (bf) r0 = r6                       ; frame1: R0=9 R6=9\n\
         7: (95) exit\n\
         returning from callee:\n frame1: R0=9 R1=ctx() R6=9 R10=fp0\n\
         to caller at 2:\n R0=9 R6=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)) R10=fp0\n\
         2: R0=9 R6=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff)) R10=fp0\n\
         {last}processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn a_callees_register_is_not_the_callers() {
    let s = story(&frames("2: (71) r0 = *(u8 *)(r6 +0)\nR6 invalid mem access 'scalar'\n"));
    assert_eq!(steps(&s), [(0, 0, What::Loaded)]);
    assert_eq!(cause(&s), Some(0));
}

#[test]
fn a_result_comes_from_the_callees_register() {
    let s = story(&frames("2: (71) r0 = *(u8 *)(r0 +0)\nR0 invalid mem access 'scalar'\n"));
    let want = [(5, 1, What::Constant), (6, 1, What::Copied), (7, 1, What::Returned)];
    assert_eq!(steps(&s), want);
    assert_eq!(cause(&s), Some(5));
}

/// A slot is set to zero, then passed to a helper, or not.
fn slot(call: &str) -> String {
    format!(
        "0: R1=ctx() R10=fp0\n\
         0: (b7) r3 = 0                        ; R3=0\n\
         1: (7b) *(u64 *)(r10 -16) = r3        ; R3=0 R10=fp0 fp-16=0\n\
         2: (bf) r1 = r10                      ; R1=fp0 R10=fp0\n\
         3: (07) r1 += -16                     ; R1=fp-16\n\
         4: (b7) r2 = 8                        ; R2=8\n\
         {call}\n\
         6: (79) r4 = *(u64 *)(r10 -16)        ; R4=scalar() R10=fp0\n\
         7: (69) r0 = *(u16 *)(r4 +8)\n\
         R4 invalid mem access 'scalar'\n\
         processed 8 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn a_slot_that_a_helper_wrote_comes_from_the_helper() {
    let said = "5: (85) call bpf_get_current_comm#16  ; R0=scalar() fp-16=mmmmmmmm";
    for call in [said, "5: (85) call bpf_get_current_comm#16  ; R0=scalar()"] {
        let s = story(&slot(call));
        assert_eq!(steps(&s), [(5, 0, What::Written), (6, 0, What::Filled)], "{call}");
        assert_eq!(cause(&s), Some(5));
    }
}

#[test]
fn a_slot_that_no_helper_wrote_comes_from_the_store() {
    let s = story(&slot("5: (85) call bpf_get_prandom_u32#7   ; R0=scalar()"));
    let want = [(0, 0, What::Constant), (1, 0, What::Spilled), (6, 0, What::Filled)];
    assert_eq!(steps(&s), want);
}

/// Memory of 32 bytes is passed with a size.
fn sized(pointer: &str, size: &str, said: &str) -> String {
    format!(
        "0: R1=ctx() R10=fp0\n\
         0: (61) r7 = *(u32 *)(r1 +0)          ; R1=ctx() R7=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))\n\
         1: (18) r6 = 0xffff888100000000       ; R6=map_value(map=buf,ks=4,vs=32)\n\
         3: (bf) r1 = r6                       ; R1={pointer} R6=map_value(map=buf,ks=4,vs=32)\n\
         4: (b7) r2 = {size}                       ; R2={size}\n\
         5: (85) call bpf_get_current_comm#16\n\
         {said}processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn a_size_beyond_a_fixed_pointer_is_at_fault_itself() {
    let s = story(&sized(
        "map_value(map=buf,ks=4,vs=32)",
        "48",
        "invalid access to map value, value_size=32 off=0 size=48\nR1 min value is outside of the allowed memory range\n",
    ));
    assert_eq!(s.register.as_deref(), Some("R2"));
    assert_eq!(steps(&s), [(4, 0, What::Constant)]);
    assert!(
        s.fix.as_deref().is_some_and(|f| f.contains("R2") && !f.contains("index")),
        "{:?}",
        s.fix
    );
}

#[test]
fn a_pointer_with_a_variable_offset_is_at_fault_itself() {
    let s = story(&sized(
        "map_value(map=buf,ks=4,vs=32,smin=0,smax=umax=40,var_off=(0x0; 0x3f))",
        "8",
        "invalid access to map value, value_size=32 off=40 size=8\nR1 max value is outside of the allowed memory range\n",
    ));
    assert_eq!(s.register.as_deref(), Some("R1"));
}

/// An atomic operation at an address that was loaded, or computed.
fn misaligned(how: &str, said: &str) -> String {
    format!(
        "0: R1=ctx() R10=fp0\n\
         0: (18) r1 = 0xffff888100000000       ; R1=map_value(map=m,ks=4,vs=16)\n\
         {how}\n\
         3: (b7) r2 = 1                        ; R2=1\n\
         4: (db) lock *(u64 *)(r1 +0) += r2\n\
         {said}\nprocessed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn an_address_that_is_a_number_is_not_answered_with_packed() {
    let s = story(&misaligned(
        "2: (79) r1 = *(u64 *)(r1 +0)         ; R1=scalar()",
        "misaligned access off (0x0; 0xffffffffffffffff)+0+0 size 8",
    ));
    assert_eq!(s.register.as_deref(), Some("R1"));
    assert_eq!(steps(&s), [(2, 0, What::Loaded)]);
    let fix = s.fix.expect("a fix");
    assert!(fix.contains("number") && !fix.contains("packed"), "{fix}");
}

#[test]
fn a_misaligned_stack_variable_is_aligned() {
    let s = story(&misaligned(
        "2: (bf) r1 = r10                      ; R1=fp0 R10=fp0",
        "misaligned stack access off 0+-12+0 size 8",
    ));
    let fix = s.fix.expect("a fix");
    assert!(fix.contains("aligned(8)"), "{fix}");
    assert_eq!(s.class, Some(Class::Lowering));
}

/// A packet pointer in R6 over a call.
fn over(call: &str, said: &str) -> String {
    format!(
        "0: R1=ctx() R10=fp0\n\
         0: (61) r6 = *(u32 *)(r1 +76)         ; R1=ctx() R6=pkt(r=0)\n\
         1: (bf) r2 = r6                       ; R2=pkt(r=0) R6=pkt(r=0)\n\
         2: (85) call {call}\n\
         3: (71) r0 = *(u8 *)(r6 +0)\n\
         {said}processed 4 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
    )
}

#[test]
fn the_helper_that_invalidated_a_packet_pointer_is_named() {
    let s =
        story(&over("bpf_skb_pull_data#39     ; R0=scalar()", "R6 invalid mem access 'scalar'\n"));
    assert_eq!(steps(&s), [(2, 0, What::Invalidated)]);
    assert_eq!(cause(&s), Some(2));
    assert!(s.fix.as_deref().is_some_and(|f| f.contains("bpf_skb_pull_data")), "{:?}", s.fix);
}

#[test]
fn a_call_that_moves_nothing_is_not_blamed() {
    let s = story(&over(
        "bpf_get_prandom_u32#7    ; R0=scalar()",
        "invalid access to packet, off=0 size=1, R6(id=0,off=0,r=0)\nR6 offset is outside of the packet\n",
    ));
    assert_eq!(steps(&s), [(0, 0, What::Loaded)]);
    assert!(s.fix.as_deref().is_some_and(|f| !f.contains("prandom")), "{:?}", s.fix);
}

#[test]
fn a_loop_has_one_origin() {
    let mut log = String::from("0: R1=ctx() R10=fp0\n0: (b7) r3 = 0     ; R3=0\n");
    for i in 1..40 {
        log.push_str(&format!(
            "1: (07) r3 += 1     ; R3={i}\n2: (a5) if r3 < 0x64 goto pc-2     ; R3={i}\n"
        ));
    }
    log.push_str("3: (71) r0 = *(u8 *)(r3 +0)\nR3 invalid mem access 'scalar'\nprocessed 90 insns (limit 1000000)\n");
    let s = story(&log);
    let want = [(0, 0, What::Constant), (1, 0, What::Changed), (2, 0, What::Compared)];
    assert_eq!(steps(&s), want);
    assert_eq!(s.lineage[1].times, 39);
}

#[test]
fn the_check_that_lets_too_much_through_is_named_in_numbers() {
    let s = story(
        "0: R1=ctx() R10=fp0\n\
         ; __u32 i = ctx->len; @ a.c:8\n\
         0: (61) r2 = *(u32 *)(r1 +0)          ; R2=scalar(smin=0,smax=umax=0xffffffff,var_off=(0x0; 0xffffffff))\n\
         ; if (i < sizeof(a)) @ a.c:9\n\
         1: (25) if r2 > 0x13 goto pc+4        ; R2=scalar(smin=0,smax=umax=19,var_off=(0x0; 0x1f))\n\
         ; a[i] = 1; @ a.c:10\n\
         2: (67) r2 <<= 2                      ; R2=scalar(smin=0,smax=umax=76,var_off=(0x0; 0x7c))\n\
         3: (18) r1 = 0xffff888100000000       ; R1=map_value(map=.bss,ks=4,vs=20)\n\
         5: (0f) r1 += r2                      ; R1=map_value(map=.bss,ks=4,vs=20,smin=0,smax=umax=76,var_off=(0x0; 0x7c)) R2=scalar(smin=0,smax=umax=76,var_off=(0x0; 0x7c))\n\
         6: (62) *(u32 *)(r1 +0) = 1\n\
         invalid access to map value, value_size=20 off=76 size=4\n\
         R1 max value is outside of the allowed memory range\n\
         processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n",
    );
    assert_eq!(cause(&s), Some(1));
    let (needs, knows) = (s.needs.expect("needs"), s.knows.expect("knows"));
    assert!(needs.contains("4·i") && needs.contains("≤ 20"), "{needs}");
    assert!(knows.contains("line 9") && knows.contains("≤ 19"), "{knows}");
}

#[test]
fn the_report_of_7_3_is_data() {
    let s = story(include_str!("report-7.3.txt"));
    let report = s.report.expect("a report");
    assert_eq!(s.code.map(|c| c.name), Some("register-maybe-null"));
    assert_eq!(
        (report.category.as_str(), report.title.as_str()),
        ("Register Type Safety", "Invalid dereference")
    );
    assert_eq!((report.insn, report.events.len()), (Some(6), 1));
    assert!(report.suggestion.starts_with("Add a NULL check"), "{}", report.suggestion);
    assert_eq!(s.message, ["R0 invalid mem access 'map_value_or_null'"]);
}

const END: &str = "processed 9 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n";

#[track_caller]
fn advice(log: &str) -> String {
    story(&format!("{log}{END}")).fix.expect("advice")
}

#[test]
fn who_may_call_a_helper_is_said() {
    let text = advice(
        "0: R1=ctx() R10=fp0\n0: (b7) r2 = 0 ; R2=0\n1: (85) call bpf_l4_csum_replace#11\n\
         program of this type cannot use helper bpf_l4_csum_replace#11\n",
    );
    assert!(text.contains("lwt_xmit, sched_act, sched_cls ("), "{text}");
}

#[test]
fn memory_that_was_asked_for_too_small_is_asked_for_larger() {
    let text = advice(
        "0: R1=ctx() R10=fp0\n0: (85) call bpf_dynptr_slice#5 ; R0=rdonly_mem_or_null(id=2,sz=13)\n\
         1: (15) if r0 == 0x0 goto pc+2 ; R0=rdonly_mem(sz=13)\n2: (69) r1 = *(u16 *)(r0 +12)\n\
         invalid access to memory, mem_size=13 off=12 size=2\n\
         R0 min value is outside of the allowed memory range\n",
    );
    assert!(text.contains("was asked for 13 bytes") && text.contains("ask there for 14"), "{text}");
}

/// An array of three in a map's value, indexed by what the branch lets through.
fn indexed(check: &str, state: &str, off: u32) -> Story {
    story(&format!(
        "0: R0=map_value(map=m,ks=4,vs=12) R1=scalar() R10=fp0\n; if (i > 5) @ a.c:7\n\
         0: ({check} goto pc+9 ; R1={state}\n; return v->a[i]; @ a.c:9\n1: (67) r1 <<= 2\n\
         2: (0f) r0 += r1 ; R0=map_value(map=m,ks=4,vs=12,smin=0,smax=umax={off})\n\
         3: (61) r0 = *(u32 *)(r0 +0)\ninvalid access to map value, value_size=12 off={off} size=4\n\
         R0 max value is outside of the allowed memory range\n{END}"
    ))
}

#[test]
fn the_inequality_is_in_the_lines_own_words() {
    let s = indexed("25) if r1 > 0x5", "scalar(smin=smin32=0,smax=umax=smax32=umax32=5)", 20);
    assert_eq!(s.needs.as_deref(), Some("`v->a[i]`: 4·i + 4 ≤ 12"));
    let knows = s.knows.unwrap();
    assert!(
        knows.starts_with("line 7 (insn 0) proves only 0 ≤ i ≤ 5; so the offset may be 20"),
        "{knows}"
    );
    assert!(s.fix.unwrap().contains("`if (i >= 3) return 0;`, as each element has 4 bytes"));
}

#[test]
fn a_size_of_zero_is_not_called_too_large() {
    let call = "0: R1=ctx() R10=fp0\n0: (bf) r3 = r9 ; R3=mem(sz=64)\n1: (85) call bpf_skb_load_bytes#26\n";
    let end = "R3 min value is outside of the allowed memory range\n";
    let zero = advice(&format!("{call}invalid access to memory, mem_size=64 off=0 size=0\n{end}"));
    assert!(zero.contains("may be 0"), "{zero}");
    let large =
        advice(&format!("{call}invalid access to memory, mem_size=64 off=0 size=65\n{end}"));
    assert!(large.contains("65 bytes of memory that has 64"), "{large}");
}

#[test]
fn a_dynptr_on_the_stack_is_not_to_be_cleared() {
    let read = |slot: &str| {
        advice(&format!(
            "0: R1=ctx() R10=fp0 fp-16={slot}\n0: (b7) r2 = 0 ; R2=0 fp-16={slot}\n1: (79) r1 = *(u64 *)(r10 -8)\n\
             invalid read from stack off -8+0 size 8\n"
        ))
    };
    assert!(read("dynptr_xdp(id=1)").contains("are a dynptr"));
}

/// Found by mutation: the greatest frame has none above it.
#[test]
fn a_frame_of_255_is_read() {
    let s = story(&format!(
        "0: frame255: R1=scalar() R10=fp0\n0: (85) call pc+1 ; frame255: R1=scalar()\n\
         1: (71) r0 = *(u8 *)(r1 +0)\nR1 invalid mem access 'scalar'\n{END}"
    ));
    assert!(s.is_rejection());
}
