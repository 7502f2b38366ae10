//! The demo, and what stops a run.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Bench, ok};

#[test]
fn the_demo_measures_both_models_and_writes_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let line = format!("demo --steps 2 --count 4 --out {}", out.display());
    let printed = ok(&line);
    assert!(printed.contains("parameters added") && printed.contains("dmp inspect"));

    let metrics = || -> Value {
        serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap()
    };
    let first = metrics();
    for model in ["base", "patched"] {
        assert!(first[model]["frechet"].as_f64().unwrap() > 0.0);
        assert!((0.0..=1.0).contains(&first[model]["accuracy"].as_f64().unwrap()));
    }
    assert_eq!(first["added_parameters"], 6 * (8 * 49 * 64 + 8 * 66));
    let seconds = |stage: &str| first["seconds"][stage].as_f64().unwrap();
    assert!(seconds("total") >= seconds("train") + seconds("sample"));

    let page = fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("data:image/png;base64,"));
    let addresses = page.matches("://").count();
    let names = page.matches("http://www.w3.org/").count();
    assert_eq!(
        addresses, names,
        "nothing but names of formats: the page needs no network"
    );
    let patch = fs::read(out.join("patch.safetensors")).unwrap();

    // Again: trains no further, and measures the same.
    ok(&line);
    assert_eq!(metrics()["patched"], first["patched"]);
    assert!(fs::read(out.join("patch.safetensors")).unwrap() == patch);
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_same_command_goes_on_exactly() {
    let bench = Bench::new();
    let extra = "--steps 60 --ema-decay 0.9 --decay cosine --clip-norm 1";
    bench.train("whole", extra);

    let line = bench.train_line("stopped", extra);
    let mut running = Command::new(env!("CARGO_BIN_EXE_dmp"))
        .args(line.split_whitespace())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !bench.path("stopped/stats.jsonl").exists() {
        assert!(begun.elapsed() < Duration::from_secs(100), "no step taken");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = running.id().to_string();
    let sent = Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(running.wait().unwrap().code(), Some(130));
    assert!(!bench.path("stopped/patch.safetensors").exists());
    let lines = || {
        let text = fs::read_to_string(bench.path("stopped/stats.jsonl")).unwrap();
        text.lines().count()
    };
    assert!((1..60).contains(&lines()), "stopped in the middle");

    ok(&line);
    assert!(
        bench.bytes("stopped/patch.safetensors") == bench.bytes("whole/patch.safetensors"),
        "resumed equals uninterrupted"
    );
    assert_eq!(lines(), 60);
}
