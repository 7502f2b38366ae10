//! Patches of other forms than the paper's, and images of other sizes than the backbone's.

use serde_json::Value;

use crate::harness::{Bench, dmp, ok, refused};

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
        "--position mix --patch-below 700",
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
        ("--prompt-rank 8", "--prompt-rank"),
        ("--prompt-grid 3 --prompts 4", "'add'"),
        ("--position prepend --patch-below 500", "--patch-below"),
        (
            "--method full --patch-below 500",
            "--patch-below is of a patch or a LoRA",
        ),
    ] {
        let error = refused(&bench.train_line("x", flags));
        assert!(error.contains(word), "{flags}: {error}");
    }
}

/// Where a patch acts is trained, kept in its file, and can be said anew when images are drawn.
#[test]
fn a_patch_acts_below_its_limit() {
    let bench = Bench::new();
    let model = bench.str("base");
    let drawn = |flags: &str| {
        let npz = bench.str("x.npz");
        ok(&format!(
            "sample --model {model} --count 2 --sampling-steps 4 --npz {npz} {flags}"
        ));
        bench.bytes("x.npz")
    };
    let form = "--position mix --prompts 2 --prompt-rate 1 --gate-input timestep";
    bench.train("limited", &format!("--steps 3 {form} --patch-below 400"));
    bench.train("whole", &format!("--steps 3 {form}"));
    let limited = format!("--patch {}", bench.str("limited"));
    let whole = format!("--patch {}", bench.str("whole"));
    // The steps are 0, 333, 666 and 999.
    for patch in [&limited, &whole] {
        let at = |below: usize| drawn(&format!("{patch} --patch-below {below}"));
        assert_ne!(at(1000), at(999));
        assert_eq!(at(400), at(666));
        assert_ne!(at(667), at(666));
    }
    assert_eq!(
        drawn(&limited),
        drawn(&format!("{limited} --patch-below 400"))
    );
    assert_eq!(drawn(&whole), drawn(&format!("{whole} --patch-below 1000")));
    assert_ne!(drawn(&limited), drawn(""));
    // What they learnt differs too: other timesteps were drawn.
    assert_ne!(
        drawn(&limited),
        drawn(&format!("{whole} --patch-below 400"))
    );
    // At another size, as many tokens or not, it is what it was: prompts are brought to the tokens with a limit said anew too.
    for size in ["--size 14x56", "--size 14x35"] {
        let at = |flags: &str| drawn(&format!("{limited} {size} {flags}"));
        assert_eq!(at(""), at("--patch-below 400"), "{size}");
    }
    let baked = bench.str("baked.safetensors");
    let bake = |run: &str, flags: &str| {
        let patch = bench.str(run);
        let line = format!("bake {patch} --model {model} --sampling-steps 4 --out {baked}");
        ok(&format!("{line} {flags}"));
        drawn(&format!("--patch {baked}"))
    };
    assert_eq!(
        bake("whole", "--patch-below 400"),
        drawn(&format!("{whole} --patch-below 400"))
    );
    assert_eq!(bake("limited", ""), drawn(&limited));
    let baked = format!("--patch {baked}");

    let patch = bench.str("limited");
    let shown = ok(&format!("inspect {patch} --model {model}"));
    assert!(shown.contains("timesteps below 400"), "{shown}");
    let shown = ok(&format!("inspect {patch} --model {model} --json"));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["gate"]["timesteps"][0], 399);
    for flags in [String::new(), baked] {
        let npz = bench.str("y.npz");
        let error = refused(&format!(
            "sample --model {model} --npz {npz} --patch-below 400 --sampling-steps 4 {flags}"
        ));
        assert!(error.contains("--patch-below"), "{error}");
    }
}

/// As a LoRA's strength is set, and of a LoRA too.
#[test]
fn a_patch_acts_as_strongly_as_it_is_asked_to() {
    let bench = Bench::new();
    let (model, npz) = (bench.str("base"), bench.str("x.npz"));
    let line = format!("sample --model {model} --count 2 --sampling-steps 4 --npz {npz}");
    let drawn = |flags: &str| {
        ok(&format!("{line} {flags}"));
        bench.bytes("x.npz")
    };
    let form = "--position mix --prompts 2 --prompt-rate 1 --gate-input timestep";
    bench.train("patch", &format!("--steps 3 {form}"));
    bench.train("lora", "--method lora --steps 3 --learning-rate 1e-1");
    ok(&format!(
        "bake {} --model {model} --sampling-steps 4 --out {}",
        bench.str("patch"),
        bench.str("baked.safetensors")
    ));
    let bare = drawn("");
    for kind in ["patch", "lora", "baked.safetensors"] {
        let patch = format!("--patch {}", bench.str(kind));
        let at = |scale: &str| drawn(&format!("{patch} --patch-scale {scale}"));
        let (whole, half) = (drawn(&patch), at("0.5"));
        assert_eq!(at("0"), bare, "{kind}");
        assert_eq!(at("1"), whole, "{kind}");
        assert!(
            half != bare && half != whole && at("-0.5") != half,
            "{kind}"
        );
    }
    let error = refused(&format!("{line} --patch-scale 0.5"));
    assert!(error.contains("--patch-scale"), "{error}");
    bench.train("tokens", "--steps 1 --position prepend --prompts 2");
    let tokens = bench.str("tokens");
    let error = refused(&format!("{line} --patch {tokens} --patch-scale 0.5"));
    assert!(error.contains("--position add or mix"), "{error}");
    let output = dmp(&format!("{line} --patch {tokens} --patch-scale nan"));
    assert_eq!(output.status.code(), Some(2));
}

/// Without its gate a patch draws the images that it draws with it, at the steps it was baked for and at no others.
#[test]
fn a_baked_patch_draws_the_same_images() {
    let bench = Bench::new();
    let model = bench.str("base");
    let drawn = |patch: &str, extra: &str| {
        let npz = bench.str("x.npz");
        ok(&format!(
            "sample --model {model} --patch {patch} --count 2 --npz {npz} {extra}"
        ));
        bench.bytes("x.npz")
    };
    for (index, form) in ["--position mix", "", "--position prepend --prompts 3"]
        .into_iter()
        .enumerate()
    {
        let run = format!("form-{index}");
        bench.train(&run, &format!("--steps 3 --gate-input timestep {form}"));
        let (patch, baked) = (bench.str(&run), bench.str("baked.safetensors"));
        let bake = format!("bake {patch} --model {model} --out {baked}");
        let said = ok(&format!("{bake} --sampling-steps 4 --json"));
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["steps"], 4);
        let [kept, other] = ["--sampling-steps 4", "--sampling-steps 5"];
        assert_eq!(drawn(&patch, kept), drawn(&baked, kept), "{form}");
        let shown = ok(&format!("inspect {baked} --json"));
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["timesteps"].as_array().unwrap().len(), 4);
        let error = refused(&format!(
            "sample --model {model} --patch {baked} {other} --grid {}",
            bench.str("x.png")
        ));
        assert!(error.contains("--sampling-steps it was baked"), "{error}");
        let error = refused(&format!(
            "bake {patch} --model {model} --out {patch}/patch.safetensors"
        ));
        assert!(error.contains("would be lost"), "{error}");
        let error = refused(&format!("convert {patch} --model {model} --out {baked}"));
        assert!(error.contains("of this program already"), "{error}");
        let error = refused(&format!("loss --model {model} --patch {baked} --count 20"));
        assert!(error.contains("was baked"), "{error}");
        let error = refused(&format!("bake {baked} --model {model} --out x.safetensors"));
        assert!(error.contains("baked already"), "{error}");
        let half = bench.str("half.safetensors");
        ok(&format!(
            "bake {patch} --model {model} --sampling-steps 4 --half --out {half}"
        ));
        let [whole, half] =
            ["baked.safetensors", "half.safetensors"].map(|name| bench.bytes(name).len());
        assert!(half < whole && half > whole / 3, "{half} of {whole}");
    }
    bench.train("labels", "--steps 1");
    let error = refused(&format!(
        "bake {} --model {model} --out {}",
        bench.str("labels"),
        bench.str("y.safetensors")
    ));
    assert!(error.contains("--gate-input timestep"), "{error}");
}

/// From our file to the public code's and back.
#[test]
fn a_patch_is_converted_both_ways() {
    let bench = Bench::new();
    let model = bench.str("base");
    bench.train("patch", "--steps 2 --top-k 0.5");
    let (patch, public, back) = (
        bench.str("patch"),
        bench.str("x.pt"),
        bench.str("back.safetensors"),
    );
    ok(&format!("convert {patch} --model {model} --out {public}"));
    ok(&format!("convert {public} --model {model} --out {back}"));
    let config = |file: &str| {
        let shown = ok(&format!("inspect {file} --model {model} --json"));
        serde_json::from_str::<Value>(&shown).unwrap()
    };
    assert_eq!(config(&patch)["gate"], config(&back)["gate"]);
    for (line, word) in [
        (
            format!("convert {public} --out {back}"),
            "not the one given",
        ),
        (
            format!("convert {patch}/patch.safetensors --model {model} --out x.safetensors"),
            "of this program already",
        ),
        (
            format!("convert {model}/backbone.safetensors --model {model} --out x.safetensors"),
            "no PyTorch file",
        ),
        (
            format!("convert {patch} --model {model} --top-k 1 --out {public}"),
            "--top-k",
        ),
        (
            format!("convert {patch} --model {model} --out x.bin"),
            ".pt",
        ),
    ] {
        let error = refused(&line);
        assert!(error.contains(word), "{error}");
    }
}
