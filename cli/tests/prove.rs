//! `bpfassay prove`, with a solver and without.

use std::process::{Command, Output};

fn prove(args: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_bpfassay")).arg("prove").args(args).output();
    command.expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(not(feature = "smt"))]
#[test]
fn without_a_solver_it_says_how_to_get_one() {
    let out = prove(&[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("--features smt"), "{}", text(&out.stderr));
}

#[cfg(feature = "smt")]
mod with_solver {
    use super::{prove, text};
    use serde_json::Value;

    /// Name, width and result of each operation.
    fn asked(filter: &str) -> Vec<(String, u64, String)> {
        let out = prove(&[filter, "--format", "json"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stdout));
        let report: Value = serde_json::from_slice(&out.stdout).expect("JSON");
        assert_eq!(report["schema"], "bpfassay.prove/1");
        let of = |o: &Value| {
            assert!(o["seconds"].is_f64());
            let word = |key: &str| o[key].as_str().unwrap_or("").to_string();
            (word("name"), o["width"].as_u64().unwrap_or(0), word("result"))
        };
        report["operations"].as_array().expect("a list").iter().map(of).collect()
    }

    #[test]
    fn easy_operations_are_proved_at_full_width() {
        assert_eq!(asked("tnum_xor"), [("tnum_xor".to_string(), 64, "proved".to_string())]);
        let all = asked("zext");
        assert_eq!(all, [("zext_32_to_64".to_string(), 64, "proved".to_string())]);
    }

    #[test]
    fn a_product_is_decided_for_8_bits_and_slots_for_all_pairs() {
        let product = asked("sum of rows");
        assert_eq!(product[0].1, 8);
        assert_eq!(product[0].2, "exhaustive");
        assert_eq!(asked("stacksafe")[0].2, "exhaustive");
    }

    #[test]
    fn a_weakened_operation_ends_with_a_program() {
        for name in ["zext_32_to_64", "jslt32, taken", "tnum_add"] {
            let out = prove(&["--break", name]);
            assert_eq!(out.status.code(), Some(1), "{name}: {}", text(&out.stderr));
            let said = text(&out.stdout);
            for part in ["refuted by", "r6 = *(u64 *)(r1 +0)", "claimed: ", "run:     r6 = "] {
                assert!(said.contains(part), "{name}: {said}");
            }
        }
    }

    #[test]
    fn an_unknown_operation_is_no_answer() {
        assert_eq!(prove(&["no such thing"]).status.code(), Some(2));
        assert_eq!(prove(&["--break", "no such thing"]).status.code(), Some(2));
    }
}
