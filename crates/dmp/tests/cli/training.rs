//! Training of every kind, resumption, and what is done with what was trained.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::{Bench, ok, refused, rewind};

#[test]
fn a_resumed_pretraining_equals_an_uninterrupted_one() {
    let bench = Bench::new();
    let whole = bench.bytes("base/backbone.safetensors");
    let losses = || -> Vec<String> {
        let stats = fs::read_to_string(bench.path("base/stats.jsonl")).unwrap();
        stats
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].to_string())
            .collect()
    };
    let before = losses();
    rewind(&bench.path("base"), "backbone.safetensors");
    bench.pretrain("base", "");
    assert!(
        bench.bytes("base/backbone.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    assert_eq!(losses(), before);
}

#[test]
fn a_patch_is_trained_resumed_inspected_and_sampled() {
    let bench = Bench::new();
    let printed = bench.train("patch", "--steps 4");
    assert_eq!(
        Path::new(printed.trim()),
        bench.path("patch/patch.safetensors")
    );
    let whole = bench.bytes("patch/patch.safetensors");

    rewind(&bench.path("patch"), "patch.safetensors");
    bench.train("patch", "--steps 4");
    assert!(
        bench.bytes("patch/patch.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    // The average too goes on where it stood, and is another patch than the last.
    let line = "--steps 4 --ema-decay 0.9";
    bench.train("average", line);
    let average = bench.bytes("average/patch.safetensors");
    rewind(&bench.path("average"), "patch.safetensors");
    bench.train("average", line);
    assert!(bench.bytes("average/patch.safetensors") == average);
    assert!(average != whole);
    // A constant rate can be taken further, and then equals a run that was longer from the start.
    bench.train("long", "--steps 4 --decay constant");
    bench.train("short", "--steps 2 --decay constant");
    bench.train("short", "--steps 4 --decay constant");
    assert!(
        bench.bytes("short/patch.safetensors") == bench.bytes("long/patch.safetensors"),
        "extended equals longer"
    );

    let (model, patch) = (bench.str("base"), bench.str("patch/patch.safetensors"));
    let shown: Value =
        serde_json::from_str(&ok(&format!("inspect {patch} --model {model} --json"))).unwrap();
    assert_eq!(shown["kind"], "patch");
    assert_eq!(shown["added_parameters"], 2 * 16 * 16 + 16 * 17 + 16);
    assert_eq!(shown["gate"]["blocks"].as_array().unwrap().len(), 2);
    let plot = bench.str("gates.svg");
    let table = ok(&format!("inspect {patch} --model {model} --plot {plot}"));
    assert!(table.contains("entropy"));
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));

    let both = format!("--model {model} --patch {patch}");
    let sample = |name: &str, batch: usize| {
        let npz = bench.str(name);
        ok(&format!(
            "sample {both} --count 5 --batch {batch} --sampling-steps 3 --npz {npz}"
        ));
        fs::read(&npz).unwrap()
    };
    assert_eq!(
        sample("a.npz", 5),
        sample("b.npz", 2),
        "batch size changes no image"
    );

    let score = ok(&format!("eval {both} --count 20 --sampling-steps 2 --json"));
    let score: Value = serde_json::from_str(&score).unwrap();
    assert!(score["frechet"].as_f64().unwrap() > 0.0 && score["count"] == 20);
}

#[test]
fn every_method_position_and_gate_trains() {
    let bench = Bench::new();
    let model = bench.str("base");
    for (run, extra) in [
        ("pt", "--method prompt-tuning"),
        ("uniform", "--gate uniform"),
        (
            "mix",
            "--position mix --prompts 3 --init gate --gate-after 1 --timesteps importance",
        ),
        (
            "prepend",
            "--position prepend --prompts 5 --gate-input timestep",
        ),
        ("quiet", "--gate-noise false --top-k 0.5"),
        ("topk", "--top-k 0.5 --balance reference --depth 1"),
        (
            "random",
            "--init random --clip-norm 1 --loss-weight min-snr:5 --decay cosine --flip",
        ),
    ] {
        bench.train(run, &format!("--steps 2 {extra}"));
        let (patch, grid) = (
            bench.str(&format!("{run}/patch.safetensors")),
            bench.str("grid.png"),
        );
        ok(&format!(
            "sample --model {model} --patch {patch} --grid {grid} --count 2 --sampling-steps 2"
        ));
    }
}

#[test]
fn full_fine_tuning_starts_from_the_backbone_and_resumes_exactly() {
    let bench = Bench::new();
    let line = "--method full --steps 4 --learning-rate 1e-3";
    let printed = bench.train("full", line);
    assert_eq!(
        Path::new(printed.trim()),
        bench.path("full/backbone.safetensors")
    );
    let whole = bench.bytes("full/backbone.safetensors");
    rewind(&bench.path("full"), "backbone.safetensors");
    bench.train("full", line);
    assert!(
        bench.bytes("full/backbone.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    // At a rate of nothing the weights stay those it started from.
    bench.train(
        "still",
        "--method full --steps 4 --learning-rate 0 --ema-decay 0",
    );
    assert!(
        bench.bytes("still/backbone.safetensors") == bench.bytes("base/backbone.safetensors"),
        "starts from the backbone"
    );
    assert!(whole != bench.bytes("base/backbone.safetensors"));
}

/// A model's file says its noise schedule, and every command takes it from there.
#[test]
fn the_noise_schedule_travels_with_the_model() {
    let bench = Bench::new();
    bench.pretrain("cosine", "--schedule squaredcos_cap_v2");
    let model = bench.str("cosine");
    let draw = |extra: &str| {
        let npz = bench.str("x.npz");
        ok(&format!(
            "sample --model {model} --count 2 --sampling-steps 3 --npz {npz} {extra}"
        ));
        fs::read(&npz).unwrap()
    };
    let drawn = draw("");
    assert_eq!(drawn, draw("--schedule squaredcos_cap_v2"));
    let out = bench.str("patch");
    ok(&format!(
        "train --model {model} --batch 2 --steps 1 --out {out}"
    ));
    let config = fs::read_to_string(bench.path("patch/config.toml")).unwrap();
    assert!(
        config.contains("schedule = \"squaredcos_cap_v2\""),
        "{config}"
    );
    // The same weights in a file that names the other schedule, in as many letters, give other images.
    let path = bench.path("cosine/backbone.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let name = b"\"dmp.schedule\":\"squaredcos_cap_v2\"";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap();
    bytes[at..at + name.len()].copy_from_slice(b"\"dmp.schedule\":\"linear\",\"x\":\"1234\"");
    fs::write(&path, bytes).unwrap();
    assert_ne!(draw(""), drawn);
}

/// A user's own images: drawn here, read from their folder, cropped, trained on from scratch and then patched.
#[test]
fn a_folder_of_images_is_data() {
    let bench = Bench::new();
    let (model, folder, base) = (bench.str("base"), bench.str("images/one"), bench.str("own"));
    ok(&format!(
        "sample --model {model} --count 6 --sampling-steps 2 --out {folder}"
    ));
    let data = bench.str("images");
    ok(&format!(
        "pretrain --data {data} --image-size 14 --out {base} --hidden-size 16 --depth 1 --num-heads 2 --patch-size 7 \
         --steps 1 --batch 4"
    ));
    let out = bench.str("own-patch");
    ok(&format!(
        "train --model {base} --data {data} --out {out} --steps 1 --batch 4"
    ));
    let config = fs::read_to_string(bench.path("own/config.toml")).unwrap();
    assert!(
        config.contains("in_channels = 3") && config.contains("input_size = 14"),
        "{config}"
    );
    assert!(
        config.contains("flip = true"),
        "photographs are mirrored by default: {config}"
    );
}

#[test]
fn a_dry_run_checks_and_writes_nothing() {
    let bench = Bench::new();
    let model = bench.str("base");
    for line in [
        bench.train_line("dry", "--steps 2 --dry-run"),
        bench.train_line("dry", "--method full --steps 2 --dry-run"),
        format!("pretrain --data demo --out {} --dry-run", bench.str("dry")),
        format!("eval --model {model} --count 4 --dry-run"),
        format!("eval --model {model} --count 4 --eta 0.5 --sampler ddim --dry-run"),
    ] {
        let said = ok(&line);
        let plan = said.contains("[estimate]") && said.contains("step_flops");
        // What is measured has no plan to tell.
        assert!(plan != line.starts_with("eval"), "{line}: {said}");
        assert!(!bench.path("dry").exists(), "{line}");
    }
    refused(&format!("eval --model {model} --eta 0.5 --dry-run"));
    refused(&bench.train_line("dry", "--top-k 0.001 --dry-run"));
    // What is there stays: of a finished run it says so.
    bench.train("patch", "--steps 2");
    let before = bench.bytes("patch/patch.safetensors");
    ok(&bench.train_line("patch", "--steps 2 --dry-run"));
    assert!(bench.bytes("patch/patch.safetensors") == before);
}

#[test]
fn runs_are_compared() {
    let bench = Bench::new();
    bench.train(
        "runs/zero/seed",
        "--steps 4 --gate-noise false --gate-rate 0",
    );
    bench.train("runs/random/seed", "--steps 4 --init random");
    let runs = ["base", "runs/zero/seed", "runs/random/seed"].map(|run| bench.str(run));
    let report = format!("report {} {}", runs[1], runs[2]);
    let svg = bench.str("curves.svg");
    let error = refused(&format!("{report} --plot {}", bench.str("curves.csv")));
    assert!(error.contains("a .svg"), "{error}");
    let table = ok(&format!("{report} --plot {svg}"));
    assert!(table.contains("zero") && !table.contains("seed"), "{table}");
    let svg = fs::read_to_string(svg).unwrap();
    assert!(svg.contains("random") && svg.contains("entropy"), "{svg}");

    let json = ok(&format!("{report} {} --until 3 --json", runs[0]));
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found[0]["steps"], 3);
    assert_eq!(found[0]["first_entropy"], 1.0, "a gate of zeros is uniform");
    assert!(found[1]["first_entropy"].as_f64().unwrap() < 1.0);
    assert!(
        found[2]["first_entropy"].is_null(),
        "a backbone has no gate"
    );
    let error = refused(&format!("report {}", bench.str("runs")));
    assert!(error.contains("has no statistics"), "{error}");
}

/// What is kept of a run is what was asked to be, and a run is not gone on with under settings it did not have.
#[test]
fn checkpoints_are_of_their_own_run() {
    let bench = Bench::new();
    let run = bench.path("run");
    let (model, out) = (bench.str("base"), bench.str("run"));
    ok(&format!(
        "train --model {model} --data demo --batch 4 --out {out} --steps 5 --checkpoint-every 4 --keep-every 3 --log-every 2"
    ));
    let kept = |step| run.join(format!("checkpoints/step-0000000{step}")).is_dir();
    assert_eq!([3, 4, 5].map(kept), [true; 3]);
    let stats = fs::read_to_string(run.join("stats.jsonl")).unwrap();
    assert_eq!(
        stats.lines().count(),
        4,
        "after 2, 3, 4 and 5 steps: {stats}"
    );

    // Checkpoints without what they were made with.
    for name in ["config.toml", "patch.safetensors", "stats.jsonl"] {
        fs::rename(run.join(name), bench.path(name)).unwrap();
    }
    let other = bench.train_line("run", "--steps 7 --position mix");
    let error = refused(&other);
    assert!(
        error.contains("'checkpoints'") && error.contains("config.toml"),
        "{error}"
    );
    // And with another run's settings.
    bench.train("mix", "--steps 1 --position mix");
    let config = fs::read_to_string(bench.path("mix/config.toml")).unwrap();
    fs::write(
        run.join("config.toml"),
        config.replace("steps = 1\n", "steps = 7\n"),
    )
    .unwrap();
    let error = refused(&other);
    assert!(
        error.contains("other settings") && error.contains("step-00000005"),
        "{error}"
    );
}

#[test]
fn a_setting_that_could_not_be_read_again_is_refused() {
    let bench = Bench::new();
    let line = bench.train_line("run", "--steps 1 --seed 9223372036854775808");
    let error = refused(&line);
    assert!(error.contains("'seed = 9223372036854775808'"), "{error}");
    assert!(!bench.path("run").exists());
    bench.train("run", "--steps 1 --seed 9223372036854775807");
}

/// At a constant rate a finished run can be taken further, and is what it would have been at once.
#[test]
fn pretraining_can_be_taken_further() {
    let bench = Bench::new();
    for (run, steps) in [("short", 2), ("short", 4), ("long", 4)] {
        bench.pretrain_for(run, steps, "--decay constant");
    }
    let product = |run| bench.bytes(&format!("{run}/backbone.safetensors"));
    assert_eq!(product("short"), product("long"));
}

/// Progress and notes are of less worth than the work.
#[cfg(target_os = "linux")]
#[test]
fn a_standard_error_that_takes_no_more_stops_nothing() {
    let bench = Bench::new();
    let line = bench.train_line("run", "--steps 2");
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = std::process::Command::new(assert_cmd::cargo::cargo_bin("dmp"))
        .args(line.split_whitespace())
        .stderr(full)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(bench.path("run/patch.safetensors").is_file());
}
