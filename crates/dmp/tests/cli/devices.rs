//! `--device`: names, what the build or the machine lacks, and the same figures on another device.

use crate::harness::{dmp, ok};

#[test]
fn a_name_that_is_none_is_told_the_names() {
    for name in ["gpu", "cuda:x"] {
        let output = dmp(&format!("inspect demo --device {name}"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        for known in ["auto", "cpu", "cuda:N", "metal", "vulkan"] {
            assert!(stderr.contains(known), "{stderr}");
        }
    }
    ok("inspect demo --device cpu");
}

/// One sentence: how to build it where the build lacks it, what is missing where the machine does.
#[test]
fn a_device_that_is_not_there_is_refused() {
    for (built, name, feature) in [
        (cfg!(feature = "cuda"), "cuda:99", "cuda"),
        (cfg!(feature = "metal"), "metal", "metal"),
        (cfg!(feature = "vulkan"), "vulkan", "vulkan"),
    ] {
        // Without driver files Vulkan has no devices, whatever the machine.
        let mut command = assert_cmd::Command::cargo_bin("dmp").unwrap();
        let output = command
            .args(["inspect", "demo", "--device", name])
            .env("VK_DRIVER_FILES", "/nonexistent")
            .env("VK_ICD_FILENAMES", "/nonexistent")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        if built && feature == "metal" && cfg!(target_os = "macos") {
            assert!(output.status.success(), "{stderr}");
            continue;
        }
        let expected = if built {
            "this machine has".to_owned()
        } else {
            format!("cargo build --release --features {feature}")
        };
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(
            stderr.starts_with("error: ") && stderr.contains(&expected),
            "{stderr}"
        );
    }
}

#[cfg(feature = "vulkan")]
mod vulkan {
    use serde_json::Value;

    use super::*;
    use crate::harness::{Bench, refused};

    /// The same draws, so the same losses.
    #[test]
    fn trains_as_the_cpu_does() {
        let bench = Bench::new();
        let losses = |run: &str, device: &str| -> Vec<f64> {
            let line = format!("--steps 2 --seed 4 --device {device}");
            bench.train(run, &line);
            let stats = String::from_utf8(bench.bytes(&format!("{run}/stats.jsonl"))).unwrap();
            let loss = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                line["loss"].as_f64().unwrap()
            };
            stats.lines().map(loss).collect()
        };
        let (cpu, vulkan) = (losses("cpu", "cpu"), losses("vulkan", "vulkan"));
        assert_eq!((cpu.len(), vulkan.len()), (2, 2));
        for (cpu, vulkan) in cpu.iter().zip(&vulkan) {
            assert!((cpu - vulkan).abs() < 1e-4 * cpu.abs(), "{cpu} {vulkan}");
        }
    }

    /// Pixels are the CPU's but for what rounds the other way.
    #[test]
    fn draws_what_the_cpu_draws() {
        let bench = Bench::new();
        let draw = |device: &str| {
            let grid = bench.str(&format!("{device}.png"));
            ok(&format!(
                "sample --model {} --count 2 --batch 2 --sampling-steps 2 --grid {grid} --device {device}",
                bench.str("base")
            ));
            image::open(grid).unwrap().into_luma8().into_raw()
        };
        let (cpu, vulkan) = (draw("cpu"), draw("vulkan"));
        assert_eq!(cpu.len(), vulkan.len());
        let far = cpu.iter().zip(&vulkan).filter(|(a, b)| a.abs_diff(**b) > 1);
        assert_eq!(far.count(), 0);
        assert!(cpu.iter().any(|pixel| *pixel != cpu[0]));
    }

    #[test]
    fn bench_names_the_device_and_refuses_what_it_cannot() {
        let bench = Bench::new();
        let line = format!("bench --backbone {} --batch 1 --reps 1", bench.str("base"));
        let printed = ok(&format!("{line} --json --device vulkan"));
        let figures: Value = serde_json::from_str(&printed).unwrap();
        assert_ne!(figures["device"], "cpu", "{printed}");
        assert!(figures["step_s"].as_f64().unwrap() > 0.0, "{printed}");
        let error = refused(&format!("{line} --dtype bf16 --device vulkan"));
        assert!(error.contains("--dtype f32"), "{error}");
    }
}
