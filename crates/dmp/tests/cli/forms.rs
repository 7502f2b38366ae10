//! Patches of other forms than the paper's, and images of other sizes than the backbone's.

use serde_json::Value;

use crate::harness::{Bench, ok, refused};

#[test]
fn every_form_is_trained_inspected_and_sampled() {
    let bench = Bench::new();
    let model = bench.str("base");
    let forms = [
        "--gate mlp --gate-hidden 6 --gate-input both",
        "--gate attention --gate-sharing per-block --temperature 2 --top-k 0.5",
        "--position both --prompts 3 --prompt-rank 2",
        "--position mix --prompts 3 --prompt-grid 2x3",
        "--prompt-grid 2 --prompt-rank 3",
    ];
    for (index, form) in forms.into_iter().enumerate() {
        let run = format!("form-{index}");
        bench.train(&run, &format!("--steps 2 {form}"));
        let patch = bench.str(&run);
        let shown = ok(&format!("inspect {patch} --model {model} --json"));
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(
            shown["gate"]["blocks"].as_array().unwrap().len(),
            2,
            "{form}"
        );
        let sample = format!("sample --model {model} --patch {patch} --sampling-steps 2 --count 2");
        for size in ["", "--size 14x35"] {
            let grid = bench.str("grid.png");
            ok(&format!("{sample} {size} --grid {grid}"));
        }
    }
}

#[test]
fn images_of_another_size_are_drawn_and_measured() {
    let bench = Bench::new();
    let model = bench.str("base");
    let npz = bench.str("x.npz");
    let line = format!("sample --model {model} --sampling-steps 2 --count 3 --npz {npz}");
    ok(&format!("{line} --size 28"));
    let own = bench.bytes("x.npz");
    ok(&line);
    assert_eq!(bench.bytes("x.npz"), own, "its own size changes nothing");
    let score = ok(&format!(
        "eval --model {model} --count 20 --sampling-steps 2 --size 14x56 --json"
    ));
    let score: Value = serde_json::from_str(&score).unwrap();
    assert_eq!(score["sampling"]["size"], serde_json::json!([14, 56]));
    assert!(score["resized_to"].as_str().unwrap().contains("28x28"));

    let error = refused(&format!("{line} --size 30"));
    assert!(
        error.contains("--size") && error.contains("multiples of 7"),
        "{error}"
    );
}

#[test]
fn flags_that_mean_nothing_to_a_form_are_refused() {
    let bench = Bench::new();
    for (flags, word) in [
        ("--gate-hidden 4", "--gate-hidden"),
        ("--position prepend --prompt-grid 2", "--prompt-grid"),
        ("--gate uniform --temperature 2", "--temperature"),
        ("--method full --prompt-rank 2", "--prompt-rank"),
        ("--prompt-rank 17", "width 16"),
        ("--prompt-grid 3 --prompts 4", "'add'"),
    ] {
        let error = refused(&bench.train_line("x", flags));
        assert!(error.contains(word), "{flags}: {error}");
    }
}
