//! Bad input gets one clear sentence that names the thing and the mend, and leaves no trace.

use std::fs;

use crate::harness::{Bench, dmp, ok, refused, says};

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
        &["--class 10", "10 classes"],
    );
    let error = dmp(&draw(&format!("--model {model} --class 9-5")));
    let error = String::from_utf8(error.stderr).unwrap();
    assert!(
        error.contains("--class") && error.contains("5-9"),
        "{error}"
    );
    says(
        &draw(&format!("--model {model} --sampling-steps ddim777")),
        &["--sampling-steps"],
    );
    says(
        &draw(&format!("--model {model} --schedule squaredcos_cap_v2")),
        &["--schedule", "trained with linear"],
    );
    // A patch is no backbone, and a backbone no patch.
    says(&draw(&format!("--model {patch}")), &["this is a patch"]);
    let file = format!("{model}/backbone.safetensors");
    for base in [&model, &file] {
        says(
            &draw(&format!("--model {model} --patch {base}")),
            &["this is a backbone", "give it with --model"],
        );
    }
    let round = format!("{model}/../x.png");
    for out in [&grid, &round] {
        says(
            &format!("sample --grid {grid} --out {out}"),
            &["--grid", "is what --out names"],
        );
    }
    assert!(!bench.path("x.png").exists());
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

/// Prompts of a mixture that start alike under a gate that treats them alike would stay one prompt, many times over.
#[test]
fn of_prompts_that_would_stay_alike() {
    let train = |rest: &str| format!("train --model demo --data demo --out nowhere {rest}");
    for rest in ["--gate uniform", "--method prompt-tuning"] {
        says(
            &train(&format!("--position mix {rest}")),
            &["alike", "--init random"],
        );
        says(&train(&format!("--init gate {rest}")), &["--init gate"]);
    }
    says(
        &train("--position mix --init zero"),
        &["alike", "--init gate"],
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
        ("--gate uniform --top-k 0.5", &["--top-k", "--gate uniform"]),
        (
            "--gate-noise false --top-k 0.5 --load 1",
            &["--load", "--gate-noise"],
        ),
        ("--load 1", &["--load", "--top-k"]),
        ("--schedule squaredcos_cap_v2", &["trained with linear"]),
        ("--rank 2", &["--rank", "--method lora"]),
        (
            "--method full --targets qkv",
            &["--targets", "--method lora"],
        ),
        (
            "--method prompt-tuning --alpha 1",
            &["--alpha", "--method lora"],
        ),
        (
            "--method lora --prompt-rate 1",
            &["--prompt-rate", "a patch"],
        ),
        ("--method lora --gate-rate 1", &["--gate-rate", "a patch"]),
        (
            "--method lora --dtype bf16",
            &["--dtype bf16", "leave it out"],
        ),
        ("--method lora --rank 17", &["--rank", "from 1 to 16"]),
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
        "demo", "train", "sample", "eval", "loss", "inspect", "pretrain", "bench", "sweep",
    ] {
        assert!(
            ok(&format!("{command} --help")).contains("Example"),
            "{command}"
        );
    }
    for (line, word) in [
        ("", "Usage"),
        ("train --nonsense", "--nonsense"),
        ("train --out x --batch 0", "from 1 to"),
        ("train --out x --steps -3", "'--steps <STEPS>'"),
        ("train --out x --prompt-rate -1", "at least 0"),
        ("sample --batch 0", "from 1 to"),
        ("train --out x --label-dropout nan", "from 0 to 1"),
        ("pretrain --out x --ema-decay 1", "below 1"),
        ("pretrain --out x --image-size 0", "from 1 to"),
        ("train --out x --clip-norm nan", "above 0"),
        ("train --out x --prompt-rate inf", "at least 0"),
        ("train --out x --batch 99999999", "from 1 to 65536"),
        ("train --out x --method lora --targets qkv,fc3", "'fc3'"),
        ("train --out x --method lora --alpha 0", "above 0"),
        ("bench --backbone dit-s-2 --tokens 7", "give 4 or 9"),
        ("eval a --reference b --neighbours 0", "from 1 to"),
    ] {
        let output = dmp(line);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}: {stderr}");
        assert!(stderr.contains(word), "{line}: {stderr}");
    }
}

/// What a run would overwrite is the user's.
#[test]
fn of_a_place_that_is_taken() {
    let bench = Bench::new();
    fs::create_dir(bench.path("mine")).unwrap();
    fs::write(bench.path("mine/patch.safetensors"), "mine").unwrap();
    says(
        &bench.train_line("mine", "--steps 1"),
        &["patch.safetensors", "another --out"],
    );
    assert_eq!(bench.bytes("mine/patch.safetensors"), b"mine");
    for line in [
        bench.train_line("mine/patch.safetensors", "--steps 1"),
        format!("demo --out {}", bench.str("mine/patch.safetensors")),
    ] {
        says(&line, &["patch.safetensors is a file", "--out"]);
    }
}

/// A patch that holds what is no number would draw black pictures without a word.
#[test]
fn of_a_patch_that_diverged() {
    let bench = Bench::new();
    let error = refused(&bench.train_line("far", "--steps 4 --prompt-rate 1e38 --gate-rate 1e38"));
    assert!(error.contains("lower learning rate"), "{error}");
    assert!(!bench.path("far/patch.safetensors").exists());
    // Numbers still, and good for nothing.
    for (rate, diverged) in [("0.1", true), ("1e-4", false)] {
        let line = format!("--method full --steps 4 --decay constant --learning-rate {rate}");
        let output = dmp(&bench.train_line(rate, &line));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(told.contains("diverged"), diverged, "{rate}: {told}");
        assert!(output.status.success(), "{told}");
    }
}

/// A flag slipped to the file that is read must not cost it.
#[test]
fn of_a_picture_where_the_patch_is() {
    let bench = Bench::new();
    bench.train("patch", "--steps 1");
    let (patch, model) = (bench.str("patch/patch.safetensors"), bench.str("base"));
    let before = bench.bytes("patch/patch.safetensors");
    says(
        &format!("inspect {patch} --model {model} --plot {patch}"),
        &["--plot", "patch.safetensors", ".svg"],
    );
    assert!(bench.bytes("patch/patch.safetensors") == before);
}

/// A process that runs out of memory is killed without a word.
#[test]
fn of_what_does_not_fit_into_memory() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let bench = Bench::new();
    let line = "pretrain --data demo --hidden-size 8192 --depth 64 --num-heads 8 --out";
    let error = refused(&format!("{line} {}", bench.str("x")));
    assert!(
        error.contains("GiB") && error.contains("--batch"),
        "{error}"
    );
    let npz = bench.str("x.npz");
    let error = refused(&format!("sample --count 4294967296 --npz {npz}"));
    assert!(
        error.contains("GiB") && error.contains("--out FOLDER"),
        "{error}"
    );
}

#[test]
fn of_settings_that_are_garbage() {
    let bench = Bench::new();
    bench.train("patch", "--steps 1");
    std::fs::write(bench.path("patch/config.toml"), "= garbage").unwrap();
    says(
        &bench.train_line("patch", "--steps 1"),
        &["config.toml cannot be understood", "--out"],
    );
}
