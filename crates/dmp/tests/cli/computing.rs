//! How a backbone is computed: checkpointing changes nothing but memory, bf16 little.

use serde_json::Value;

use crate::harness::{Bench, ok, refused, rewind};

#[test]
fn what_is_computed_anew_changes_no_byte() {
    let bench = Bench::new();
    for method in ["dmp", "full", "lora"] {
        let product = match method {
            "full" => "backbone.safetensors",
            "lora" => "lora.safetensors",
            _ => "patch.safetensors",
        };
        let mut trained = ["none", "mlp", "block"].map(|checkpointing| {
            let run = format!("{method}-{checkpointing}");
            let flags = format!("--steps 2 --method {method} --checkpointing {checkpointing}");
            bench.train(&run, &flags);
            bench.bytes(&format!("{run}/{product}"))
        });
        let first = std::mem::take(&mut trained[0]);
        assert!(trained[1..].iter().all(|bytes| *bytes == first), "{method}");
    }
}

#[test]
fn a_patch_is_trained_resumed_and_used_in_bf16() {
    let bench = Bench::new();
    bench.train("f32", "--steps 4");
    bench.train("bf16", "--steps 4 --dtype bf16");
    let whole = bench.bytes("bf16/patch.safetensors");
    assert!(whole != bench.bytes("f32/patch.safetensors"));
    rewind(&bench.path("bf16"), "patch.safetensors");
    bench.train("bf16", "--steps 4 --dtype bf16");
    assert!(
        bench.bytes("bf16/patch.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    let other = refused(&bench.train_line("bf16", "--steps 4"));
    assert!(other.contains("dtype"), "{other}");

    let eval = |dtype: &str| -> f64 {
        let (model, patch) = (bench.str("base"), bench.str("bf16"));
        let printed = ok(&format!(
            "eval --model {model} --patch {patch} --count 20 --sampling-steps 4 --dtype {dtype} --json"
        ));
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed["sampling"]["dtype"], dtype);
        printed["frechet"].as_f64().unwrap()
    };
    let (exact, rounded) = (eval("f32"), eval("bf16"));
    assert!(
        (rounded / exact - 1.0).abs() < 0.01,
        "{exact} and {rounded}"
    );

    let full = refused(&bench.train_line("full", "--steps 2 --method full --dtype bf16"));
    assert!(full.contains("--dtype"), "{full}");
}
