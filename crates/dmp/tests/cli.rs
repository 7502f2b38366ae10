//! The program as a user runs it: small models, a few steps, every refusal by name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

fn dmp(args: &[&str]) -> Output {
    Command::cargo_bin("dmp")
        .unwrap()
        .args(args)
        .output()
        .unwrap()
}

/// Runs a command that must succeed; gives its stdout.
#[track_caller]
fn ok(args: &[&str]) -> String {
    let output = dmp(args);
    assert!(
        output.status.success(),
        "dmp {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with exit code 1 and one sentence; gives that sentence.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let output = dmp(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "dmp {}: {stderr}",
        args.join(" ")
    );
    let errors: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    errors[0].to_owned()
}

/// A folder with a tiny backbone, made by `dmp pretrain`.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        bench.pretrain("base");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn str(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn pretrain(&self, run: &str) {
        let out = self.str(run);
        let sizes = [
            "--hidden-size",
            "16",
            "--depth",
            "2",
            "--num-heads",
            "2",
            "--patch-size",
            "7",
        ];
        let length = [
            "--steps",
            "4",
            "--batch",
            "4",
            "--warmup",
            "1",
            "--checkpoint-every",
            "2",
            "--log-every",
            "1",
        ];
        let fixed = [
            "pretrain",
            "--data",
            "demo",
            "--keep-every",
            "1",
            "--out",
            &out,
        ];
        ok(&[&fixed[..], &sizes[..], &length[..]].concat());
    }

    fn train(&self, run: &str, extra: &[&str]) -> String {
        let (model, out) = (self.str("base"), self.str(run));
        let fixed = [
            "train",
            "--model",
            &model,
            "--data",
            "demo",
            "--batch",
            "4",
            "--checkpoint-every",
            "2",
            "--log-every",
            "1",
            "--out",
            &out,
        ];
        ok(&[&fixed[..], extra].concat())
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// Puts a finished run back to where it stood after step 2.
fn rewind(run: &Path, product: &str) {
    fs::remove_dir_all(run.join("checkpoints/step-00000004")).unwrap();
    fs::remove_file(run.join(product)).unwrap();
}

#[test]
fn a_resumed_pretraining_equals_an_uninterrupted_one() {
    let bench = Bench::new();
    let whole = bench.bytes("base/backbone.safetensors");
    let stats: Vec<String> = fs::read_to_string(bench.path("base/stats.jsonl"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    rewind(&bench.path("base"), "backbone.safetensors");
    bench.pretrain("base");
    assert!(
        bench.bytes("base/backbone.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    let again = fs::read_to_string(bench.path("base/stats.jsonl")).unwrap();
    let losses = |lines: &mut dyn Iterator<Item = &str>| -> Vec<String> {
        lines
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].to_string()
            })
            .collect()
    };
    assert_eq!(
        losses(&mut again.lines()),
        losses(&mut stats.iter().map(String::as_str))
    );
}

#[test]
fn a_patch_is_trained_resumed_inspected_and_sampled() {
    let bench = Bench::new();
    let printed = bench.train("patch", &["--steps", "4"]);
    assert_eq!(
        Path::new(printed.trim()),
        bench.path("patch/patch.safetensors")
    );
    let whole = bench.bytes("patch/patch.safetensors");

    rewind(&bench.path("patch"), "patch.safetensors");
    bench.train("patch", &["--steps", "4"]);
    assert!(
        bench.bytes("patch/patch.safetensors") == whole,
        "resumed equals uninterrupted"
    );
    // A constant rate can be taken further, and then equals a run that was longer from the start.
    bench.train("short", &["--steps", "2"]);
    bench.train("short", &["--steps", "4"]);
    assert!(
        bench.bytes("short/patch.safetensors") == whole,
        "extended equals longer"
    );

    let (model, patch) = (bench.str("base"), bench.str("patch/patch.safetensors"));
    let shown: serde_json::Value =
        serde_json::from_str(&ok(&["inspect", &patch, "--model", &model, "--json"])).unwrap();
    assert_eq!(shown["kind"], "patch");
    assert_eq!(shown["added_parameters"], 2 * 16 * 16 + 16 * 17 + 16);
    assert_eq!(shown["gate"].as_array().unwrap().len(), 2);
    let plot = bench.str("gates.svg");
    assert!(ok(&["inspect", &patch, "--model", &model, "--plot", &plot]).contains("entropy"));
    assert!(fs::read_to_string(&plot).unwrap().starts_with("<svg"));

    let sample = |name: &str, batch: &str| {
        let npz = bench.str(name);
        ok(&[
            "sample",
            "--model",
            &model,
            "--patch",
            &patch,
            "--count",
            "5",
            "--batch",
            batch,
            "--sampling-steps",
            "3",
            "--npz",
            &npz,
        ]);
        fs::read(&npz).unwrap()
    };
    assert_eq!(
        sample("a.npz", "5"),
        sample("b.npz", "2"),
        "batch size changes no image"
    );
    let folder = bench.str("images");
    ok(&[
        "sample",
        "--model",
        &model,
        "--count",
        "3",
        "--sampling-steps",
        "2",
        "--guidance",
        "2",
        "--sampler",
        "ddim",
        "--out",
        &folder,
    ]);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["000000.png", "000001.png", "000002.png"]);
    let picture = image::open(bench.path("images/000002.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (28, 28));

    let score = ok(&[
        "eval",
        "--model",
        &model,
        "--patch",
        &patch,
        "--count",
        "20",
        "--sampling-steps",
        "2",
        "--json",
    ]);
    let score: serde_json::Value = serde_json::from_str(&score).unwrap();
    assert!(score["frechet"].as_f64().unwrap() > 0.0 && score["count"] == 20);
}

#[test]
fn every_method_position_and_gate_trains() {
    let bench = Bench::new();
    for (run, extra) in [
        ("pt", &["--method", "prompt-tuning"][..]),
        ("uniform", &["--gate", "uniform"]),
        (
            "prepend",
            &[
                "--position",
                "prepend",
                "--prompts",
                "5",
                "--gate-input",
                "timestep",
            ],
        ),
        (
            "topk",
            &["--top-k", "0.5", "--balance", "reference", "--depth", "1"],
        ),
        (
            "random",
            &[
                "--init",
                "random",
                "--clip-norm",
                "1",
                "--loss-weight",
                "min-snr:5",
                "--decay",
                "cosine",
            ],
        ),
    ] {
        bench.train(run, &[&["--steps", "2"], extra].concat());
        let patch = bench.str(&format!("{run}/patch.safetensors"));
        let model = bench.str("base");
        let (grid, count) = (
            bench.str("grid.png"),
            ["--count", "2", "--sampling-steps", "2"],
        );
        ok(&[
            &[
                "sample", "--model", &model, "--patch", &patch, "--grid", &grid,
            ],
            &count[..],
        ]
        .concat());
    }
}

#[test]
fn refusals_name_the_thing_and_the_mend() {
    let bench = Bench::new();
    bench.train("patch", &["--steps", "2"]);
    let (model, patch) = (bench.str("base"), bench.str("patch/patch.safetensors"));
    let grid = bench.str("x.png");

    let error = refused(&[
        "sample", "--model", "demo", "--patch", &patch, "--grid", &grid,
    ]);
    assert!(error.contains("trained on another backbone"), "{error}");
    assert!(!Path::new(&grid).exists());
    let error = refused(&["sample", "--model", &bench.str("nothing"), "--grid", &grid]);
    assert!(
        error.contains("nothing") && error.contains("cannot be read"),
        "{error}"
    );
    let error = refused(&["sample", "--model", &model]);
    assert!(error.contains("--grid"), "{error}");
    let error = refused(&[
        "sample", "--model", &model, "--grid", &grid, "--class", "10",
    ]);
    assert!(
        error.contains("--class 10") && error.contains("0 to 9"),
        "{error}"
    );
    let error = refused(&[
        "sample",
        "--model",
        &model,
        "--grid",
        &grid,
        "--sampling-steps",
        "ddim777",
    ]);
    assert!(error.contains("--sampling-steps"), "{error}");
    let error = refused(&[
        "train",
        "--model",
        &model,
        "--data",
        "nowhere",
        "--out",
        &bench.str("y"),
    ]);
    assert!(error.contains("'nowhere'"), "{error}");
    assert!(
        !bench.path("y").exists(),
        "a refused run leaves no directory"
    );
    let error = refused(&[
        "train",
        "--model",
        &model,
        "--out",
        &bench.str("y"),
        "--top-k",
        "0.001",
    ]);
    assert!(error.contains("top_k"), "{error}");
    let error = refused(&[
        "train",
        "--model",
        &model,
        "--out",
        &bench.str("y"),
        "--batch",
        "0",
    ]);
    assert!(error.contains("batch"), "{error}");
    let error = refused(&[
        "train",
        "--model",
        &model,
        "--out",
        &bench.str("patch"),
        "--batch",
        "4",
        "--steps",
        "2",
        "--seed",
        "9",
    ]);
    assert!(
        error.contains("seed = 0") && error.contains("seed = 9"),
        "{error}"
    );

    let bytes = bench.bytes("patch/patch.safetensors");
    fs::write(bench.path("cut.safetensors"), &bytes[..bytes.len() - 7]).unwrap();
    let error = refused(&["inspect", &bench.str("cut.safetensors")]);
    assert!(
        error.contains("cut.safetensors") && error.contains("safetensors file"),
        "{error}"
    );
    // A patch is no backbone.
    let error = refused(&["sample", "--model", &patch, "--grid", &grid]);
    assert!(error.contains("dmp.backbone"), "{error}");
}

#[test]
fn help_has_examples_and_wrong_usage_exits_2() {
    for command in ["demo", "train", "sample", "eval", "inspect", "pretrain"] {
        assert!(ok(&[command, "--help"]).contains("Example:"), "{command}");
    }
    assert_eq!(dmp(&["train", "--nonsense"]).status.code(), Some(2));
    assert_eq!(dmp(&[]).status.code(), Some(2));
}
