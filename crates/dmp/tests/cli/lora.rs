//! A LoRA as a user trains it and uses it: everywhere that a patch goes.

use std::fs;
use std::path::Path;

use dmp_model::checkpoint::{StoredType, TensorFile};
use serde_json::Value;

use crate::harness::{Bench, dmp, ok, refused, rewind};

#[test]
fn a_lora_is_trained_resumed_inspected_and_sampled() {
    let bench = Bench::new();
    let line = "--method lora --rank 2 --dtype f32 --steps 4";
    let printed = bench.train("lora", line);
    assert_eq!(
        Path::new(printed.trim()),
        bench.path("lora/lora.safetensors")
    );
    let whole = bench.bytes("lora/lora.safetensors");
    rewind(&bench.path("lora"), "lora.safetensors");
    bench.train("lora", line);
    assert!(
        bench.bytes("lora/lora.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    // The average too goes on where it stood.
    let averaged = format!("{line} --ema-decay 0.9 --decay cosine --warmup 1 --clip-norm 1");
    bench.train("average", &averaged);
    let average = bench.bytes("average/lora.safetensors");
    rewind(&bench.path("average"), "lora.safetensors");
    bench.train("average", &averaged);
    assert!(bench.bytes("average/lora.safetensors") == average && average != whole);
    let error = refused(&bench.train_line("lora", "--method lora --rank 3 --alpha 2 --steps 4"));
    assert!(error.contains("rank"), "{error}");

    let (model, lora) = (bench.str("base"), bench.str("lora"));
    let shown = ok(&format!("inspect {lora} --model {model} --json"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["kind"], &shown["scale"]),
        (&"lora".into(), &1.0.into())
    );
    // Two blocks of width 16: 2·(4·16 + 2·16 + 5·16 + 5·16).
    assert_eq!(shown["added_parameters"], 2 * 2 * 256);
    let table = ok(&format!("inspect {lora}/lora.safetensors"));
    assert!(table.contains("qkv, proj, fc1, fc2"), "{table}");

    let draw = |name: &str, extra: &str| {
        let npz = bench.str(name);
        ok(&format!(
            "sample --model {model} --count 5 --sampling-steps 3 --npz {npz} {extra}"
        ));
        fs::read(&npz).unwrap()
    };
    let with = format!("--patch {lora}");
    let drawn = draw("a.npz", &with);
    assert_eq!(drawn, draw("b.npz", &format!("{with} --batch 2")));
    let file = format!("--patch {lora}/lora.safetensors --dtype f32");
    assert_eq!(drawn, draw("c.npz", &file));
    // Merged, the weights are like any others: packed in bf16 too.
    draw("d.npz", &format!("{with} --dtype bf16"));

    let measured = |command: &str| -> Value {
        let printed = ok(&format!("{command} --model {model} {with} --json"));
        serde_json::from_str(&printed).unwrap()
    };
    let score = measured("eval --count 20 --sampling-steps 2");
    assert!(score["frechet"].as_f64().unwrap() > 0.0, "{score}");
    let loss = measured("loss --count 32");
    let of = |side: &str| loss["all"][side]["mean"].as_f64().unwrap();
    assert!(of("base") > 0.0 && of("base") != of("patched"), "{loss}");
}

/// At a rate of nothing it stays what it begins as, which changes no image.
#[test]
fn a_new_lora_draws_what_the_backbone_draws() {
    let bench = Bench::new();
    bench.train(
        "still",
        "--method lora --steps 2 --learning-rate 0 --targets fc1,qkv --alpha 3",
    );
    let model = bench.str("base");
    let draw = |extra: &str| {
        let npz = bench.str("x.npz");
        ok(&format!(
            "sample --model {model} --count 4 --sampling-steps 3 --npz {npz} {extra}"
        ));
        fs::read(&npz).unwrap()
    };
    let still = bench.str("still");
    assert_eq!(draw(&format!("--patch {still}")), draw(""));
    let shown = ok(&format!("inspect {still} --json"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        shown["config"]["targets"],
        serde_json::json!(["qkv", "fc1"])
    );
    assert_eq!(shown["scale"], 0.75);
}

/// Where it acts is trained, kept in its file, and can be said anew when images are drawn, as of a patch.
#[test]
fn a_lora_acts_below_its_limit() {
    let bench = Bench::new();
    let model = bench.str("base");
    let form = "--method lora --steps 3 --learning-rate 1";
    bench.train("limited", &format!("{form} --patch-below 400"));
    bench.train("whole", form);
    let drawn = |flags: &str| {
        let npz = bench.str("x.npz");
        ok(&format!(
            "sample --model {model} --count 2 --sampling-steps 4 --npz {npz} {flags}"
        ));
        bench.bytes("x.npz")
    };
    let limited = format!("--patch {}", bench.str("limited"));
    let whole = format!("--patch {}", bench.str("whole"));
    // The steps are 0, 333, 666 and 999.
    for lora in [&limited, &whole] {
        let at = |below: usize| drawn(&format!("{lora} --patch-below {below}"));
        assert_ne!(at(1000), at(999));
        assert_eq!(at(400), at(666));
        assert_ne!(at(667), at(666));
    }
    let again = |lora: &str, below: usize| drawn(&format!("{lora} --patch-below {below}"));
    assert_eq!(drawn(&limited), again(&limited, 400));
    assert_eq!(drawn(&whole), again(&whole, 1000));
    assert_ne!(drawn(&limited), drawn(""));
    // What they learnt differs too: other timesteps were drawn.
    assert_ne!(drawn(&limited), again(&whole, 400));
    for flags in ["--size 14x56", "--dtype bf16", "--patch-scale 0.5"] {
        let at = |more: &str| drawn(&format!("{limited} {flags} {more}"));
        assert_eq!(at(""), at("--patch-below 400"), "{flags}");
        assert_ne!(at(""), at("--patch-below 1000"), "{flags}");
    }
    let lora = bench.str("limited");
    let shown = ok(&format!("inspect {lora}"));
    assert!(shown.contains("timesteps below 400"), "{shown}");
    // Noisier images have the bare model's error to the last digit.
    let loss = ok(&format!(
        "loss --model {model} {limited} --count 64 --bands 10 --json"
    ));
    let loss: Value = serde_json::from_str(&loss).unwrap();
    for band in loss["bands"].as_array().unwrap() {
        let alike = band["base"]["mean"] == band["patched"]["mean"];
        assert_eq!(
            alike,
            band["timesteps"][0].as_u64().unwrap() >= 400,
            "{band}"
        );
    }
    fs::create_dir(bench.path("peft")).unwrap();
    // PEFT's files have it where PEFT does not look.
    let (peft, back) = (bench.str("peft"), bench.str("back.safetensors"));
    let output = dmp(&format!(
        "convert {lora} --model {model} --out {peft}/adapter_model.safetensors"
    ));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success() && told.contains("below 400"),
        "{told}"
    );
    ok(&format!("convert {peft} --model {model} --out {back}"));
    assert_eq!(drawn(&format!("--patch {back}")), drawn(&limited));
}

#[test]
fn a_lora_goes_to_peft_and_back() {
    let bench = Bench::new();
    bench.train("lora", "--method lora --steps 2 --rank 3 --alpha 5");
    let (model, lora) = (bench.str("base"), bench.str("lora"));
    fs::create_dir(bench.path("peft")).unwrap();
    let (tensors, back) = (
        bench.str("peft/adapter_model.safetensors"),
        bench.str("back.safetensors"),
    );
    ok(&format!("convert {lora} --model {model} --out {tensors}"));
    let config: Value = serde_json::from_slice(&bench.bytes("peft/adapter_config.json")).unwrap();
    assert_eq!(
        (&config["r"], &config["lora_alpha"]),
        (&3.into(), &5.0.into())
    );
    for input in [bench.str("peft"), tensors.clone()] {
        ok(&format!("convert {input} --model {model} --out {back}"));
        let file = |path: &str| TensorFile::from_bytes(&fs::read(path).unwrap()).unwrap();
        let whole = file(&format!("{lora}/lora.safetensors"));
        assert_eq!(file(&back).tensors, whole.tensors);
        let error = refused(&format!("loss --model {model} --patch {input} --data demo"));
        assert!(error.contains("'dmp convert "), "{error}");
    }
    let error = refused(&format!(
        "convert {} --model demo --out {back}",
        bench.str("peft")
    ));
    assert!(
        error.contains("peft") && error.contains("missing"),
        "{error}"
    );
    for (flag, says) in [
        ("--top-k 0.5", "--top-k is of a patch"),
        ("--schedule squaredcos_cap_v2", "was trained with linear"),
    ] {
        let peft = bench.str("peft");
        let error = refused(&format!(
            "convert {peft} --model {model} --out {back} {flag}"
        ));
        assert!(error.contains(says), "{error}");
    }
    bench.train("patch", "--steps 1");
    let error = refused(&format!(
        "convert {} --model {model} --out {tensors}",
        bench.str("patch")
    ));
    assert!(error.contains("PEFT knows LoRAs alone"), "{error}");
}

#[test]
fn what_a_lora_is_not_is_refused() {
    let bench = Bench::new();
    let trained = dmp(&bench.train_line("lora", "--method lora --rank 1 --steps 1"));
    let said = String::from_utf8(trained.stderr).unwrap();
    assert!(said.contains("LoRA of 512 parameters (+"), "{said}");
    let (model, lora, grid) = (bench.str("base"), bench.str("lora"), bench.str("x.png"));
    let says = |line: &str, words: &[&str]| {
        let error = refused(line);
        for word in words {
            assert!(error.contains(word), "no '{word}' in: {error}");
        }
    };
    let draw = |rest: &str| format!("sample --grid {grid} {rest}");
    says(
        &draw(&format!("--model demo --patch {lora}")),
        &["trained on another backbone"],
    );
    says(
        &draw(&format!("--model {lora}/lora.safetensors")),
        &["this is a patch", "--patch"],
    );
    says(
        &format!("inspect {lora} --plot {}", bench.str("x.svg")),
        &["--plot", "is a LoRA"],
    );
    says(
        &format!("inspect {lora} --model demo"),
        &["trained on another backbone"],
    );
    says(
        &draw(&format!("--model {model} --patch {}", bench.str("none"))),
        &["lora.safetensors", "cannot be read"],
    );

    let path = bench.path("lora/lora.safetensors");
    let mut file = TensorFile::from_bytes(&fs::read(&path).unwrap()).unwrap();
    let name = "base_model.model.blocks.1.mlp.fc1.lora_B.weight";
    file.tensors.get_mut(name).unwrap().shape.reverse();
    fs::write(&path, file.to_bytes(StoredType::F32).unwrap()).unwrap();
    says(
        &draw(&format!("--model {model} --patch {lora}")),
        &["lora.safetensors", name, "[1, 64] instead of [64, 1]"],
    );
    assert!(!bench.path("x.png").exists());
}
