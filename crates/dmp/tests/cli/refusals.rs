//! Bad input gets one clear sentence that names the thing and the mend, and leaves no trace.

use std::fs;

use crate::harness::{Bench, dmp, ok, refused};

/// The sentence must say all of `words`.
#[track_caller]
fn says(line: &str, words: &[&str]) {
    let error = refused(line);
    for word in words {
        assert!(error.contains(word), "no '{word}' in: {error}");
    }
}

#[test]
fn of_a_model_or_a_patch() {
    let bench = Bench::new();
    bench.train("patch", "--steps 2");
    let (model, patch) = (bench.str("base"), bench.str("patch/patch.safetensors"));
    let grid = bench.str("x.png");
    let draw = |rest: &str| format!("sample --grid {grid} {rest}");

    says(
        &draw(&format!("--model demo --patch {patch}")),
        &["trained on another backbone"],
    );
    says(
        &draw(&format!("--model {}", bench.str("nothing"))),
        &["nothing", "cannot be read"],
    );
    says(
        &draw(&format!("--model {model} --class 10")),
        &["--class 10", "0 to 9"],
    );
    says(
        &draw(&format!("--model {model} --sampling-steps ddim777")),
        &["--sampling-steps"],
    );
    says(
        &draw(&format!("--model {model} --schedule squaredcos_cap_v2")),
        &["--schedule", "trained with linear"],
    );
    // A patch is no backbone.
    says(&draw(&format!("--model {patch}")), &["no DiT"]);
    assert!(!bench.path("x.png").exists());
    says(&format!("sample --model {model}"), &["--grid"]);

    let bytes = bench.bytes("patch/patch.safetensors");
    let cut = bench.path("cut.safetensors");
    fs::write(&cut, &bytes[..bytes.len() - 7]).unwrap();
    says(
        &format!("inspect {}", cut.display()),
        &["cut.safetensors", "safetensors file"],
    );
}

#[test]
fn of_a_run() {
    let bench = Bench::new();
    bench.train("patch", "--steps 2");
    for (extra, words) in [
        ("--data nowhere", &["'nowhere'"][..]),
        ("--top-k 0.001", &["top_k"]),
        ("--method full --prompt-rate 1", &["--prompt-rate"]),
        ("--method prompt-tuning --gate linear", &["--gate"]),
        ("--learning-rate 1", &["--learning-rate", "--method full"]),
        ("--schedule squaredcos_cap_v2", &["trained with linear"]),
    ] {
        let model = bench.str("base");
        let out = bench.str("refused");
        says(&format!("train --model {model} --out {out} {extra}"), words);
        assert!(
            !bench.path("refused").exists(),
            "a refused run leaves no directory: {extra}"
        );
    }
    says(
        &bench.train_line("patch", "--steps 2 --seed 9"),
        &["seed = 0", "seed = 9"],
    );
}

#[test]
fn help_has_examples_and_wrong_usage_exits_2() {
    for command in [
        "demo", "train", "sample", "eval", "inspect", "pretrain", "bench",
    ] {
        assert!(
            ok(&format!("{command} --help")).contains("Example"),
            "{command}"
        );
    }
    for (line, word) in [
        ("", "Usage"),
        ("train --nonsense", "--nonsense"),
        ("train --out x --batch 0", "at least 1 image"),
        ("sample --batch 0", "at least 1 image"),
        ("train --out x --label-dropout nan", "from 0 to 1"),
        ("pretrain --out x --ema-decay 1", "below 1"),
    ] {
        let output = dmp(line);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
        assert!(stderr.contains(word), "{line}: {stderr}");
    }
}
