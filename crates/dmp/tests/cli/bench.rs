//! Timing: the figures are there and mean what they say; how large they are is no test's business.

use serde_json::Value;

use crate::harness::{Bench, ok, refused};

#[test]
fn times_a_model_and_says_what_was_timed() {
    let bench = Bench::new();
    let model = bench.str("base");
    let printed = ok(&format!(
        "bench --backbone {model} --batch 3 --reps 1 --threads 2 --json --profile"
    ));
    let figures: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        (&figures["tokens"], &figures["hidden"], &figures["threads"]),
        (&16.into(), &16.into(), &2.into())
    );
    for key in ["forward_s", "step_s", "sampled_images_per_s"] {
        assert!(figures[key].as_f64().unwrap() > 0.0, "{key}: {printed}");
    }
    let kernels = figures["profile"].as_array().unwrap();
    let share = |row: &Value| row["share"].as_f64().unwrap();
    let sum: f64 = kernels.iter().map(share).sum();
    assert!(
        kernels
            .iter()
            .any(|row| row["kernel"].as_str().unwrap().starts_with("gemm") && share(row) > 0.0)
    );
    assert!((sum - 1.0).abs() < 1e-6, "{printed}");
    let error = refused("bench --backbone dit-q-2");
    assert!(error.contains("dit-q-2"), "{error}");
}

/// More than any machine has, where the system says how much there is.
#[cfg(target_os = "linux")]
#[test]
fn what_memory_cannot_hold_is_refused_before_it_is_begun() {
    for line in [
        "bench --backbone dit-xl-2 --tokens 1048576 --batch 65536",
        "sample --model demo --size 4096 --count 65536 --batch 65536 --out never",
    ] {
        let error = refused(line);
        assert!(
            error.contains("--batch 65536") && error.contains("GiB"),
            "{error}"
        );
    }
}
