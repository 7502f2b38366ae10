//! Golden cases: numbers made by the public PyTorch and torch-fidelity code.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the workspace's copy; every case folder in it that holds
//! schedules, respacings or Fréchet distances, whatever its sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dmp_math::{BetaSchedule, Diffusion, Gaussian, Moments, frechet_distance, respacing};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;

fn golden() -> PathBuf {
    std::env::var_os("DMP_GOLDEN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../dmp-model/tests/golden"),
        PathBuf::from,
    )
}

/// Case folders by name, with their `config.json`.
fn cases() -> BTreeMap<PathBuf, Value> {
    let root = golden();
    let entries = fs::read_dir(&root).unwrap_or_else(|e| panic!("{}: {e}", root.display()));
    entries
        .map(|entry| entry.unwrap().path())
        .filter_map(|folder| {
            let config = fs::read_to_string(folder.join("config.json")).ok()?;
            Some((folder, serde_json::from_str(&config).unwrap()))
        })
        .collect()
}

fn report(folder: &Path, what: &str, checks: usize, worst: f64) {
    let name = folder.file_name().unwrap().display();
    println!("{name}: {what}, {checks} checked, largest relative error {worst:.2e}");
}

fn f64s(view: &TensorView<'_>) -> Vec<f64> {
    assert_eq!(view.dtype(), Dtype::F64);
    view.data()
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f64::from_le_bytes(bytes))
        .collect()
}

/// ‖a − b‖ / ‖b‖
fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let distance = norm(&mut a.iter().zip(b).map(|(a, b)| a - b));
    distance / norm(&mut b.iter().copied()).max(f64::MIN_POSITIVE)
}

fn table<'a>(diffusion: &'a Diffusion, name: &str) -> Option<&'a [f64]> {
    Some(match name {
        "betas" => diffusion.betas(),
        "log_betas" => diffusion.log_betas(),
        "alphas_cumprod" => diffusion.alphas_cumprod(),
        "alphas_cumprod_prev" => diffusion.alphas_cumprod_prev(),
        "sqrt_alphas_cumprod" => diffusion.sqrt_alphas_cumprod(),
        "sqrt_one_minus_alphas_cumprod" => diffusion.sqrt_one_minus_alphas_cumprod(),
        "sqrt_recip_alphas_cumprod" => diffusion.sqrt_recip_alphas_cumprod(),
        "sqrt_recipm1_alphas_cumprod" => diffusion.sqrt_recipm1_alphas_cumprod(),
        "posterior_variance" => diffusion.posterior_variance(),
        "posterior_log_variance_clipped" => diffusion.posterior_log_variance_clipped(),
        "posterior_mean_coef1" => diffusion.posterior_mean_coef1(),
        "posterior_mean_coef2" => diffusion.posterior_mean_coef2(),
        _ => return None,
    })
}

#[test]
fn schedules() {
    let mut checked = 0;
    for folder in cases().keys() {
        let Ok(bytes) = fs::read(folder.join("case.safetensors")) else {
            continue;
        };
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let (mut here, mut worst) = (0, 0.0_f64);
        for (name, view) in tensors.iter() {
            // out.<schedule>.<table>
            let Some((schedule, key)) = name.strip_prefix("out.").and_then(|n| n.split_once('.'))
            else {
                continue;
            };
            let Ok(schedule) = schedule.parse::<BetaSchedule>() else {
                continue;
            };
            if view.dtype() != Dtype::F64 {
                continue; // losses and gradients under that schedule, dmp-model's to check
            }
            let diffusion = Diffusion::new(schedule, view.shape().iter().product());
            let ours = table(&diffusion, key).unwrap_or_else(|| panic!("{name}: no such table"));
            let error = relative_error(ours, &f64s(&view));
            assert!(error <= 1e-12, "{name}: {error:e}");
            (here, worst) = (here + 1, worst.max(error));
        }
        if here > 0 {
            report(folder, "schedule tables", here, worst);
        }
        checked += here;
    }
    assert!(checked > 0, "no schedule in {}", golden().display());
}

#[test]
fn respacings() {
    let mut checked = 0;
    for (folder, config) in cases() {
        let Some(lists) = config.get("respacing").and_then(Value::as_object) else {
            continue;
        };
        for (name, list) in lists {
            // "<steps>:<spec>"
            let (steps, spec) = name.split_once(':').unwrap();
            let steps = steps.parse().unwrap();
            let expected: Vec<usize> = serde_json::from_value(list.clone()).unwrap();
            assert_eq!(respacing::parse(steps, spec).unwrap(), expected, "{name}");
            let respaced = Diffusion::new(BetaSchedule::Linear, steps)
                .respaced(spec)
                .unwrap();
            assert_eq!(respaced.timestep_map(), expected, "{name}");
        }
        report(&folder, "respacings", lists.len(), 0.0);
        checked += lists.len();
    }
    assert!(checked > 0, "no respacing in {}", golden().display());
}

/// Mean and covariance of a feature tensor `[n, d]`.
fn gaussian(tensors: &SafeTensors<'_>, name: &str) -> Gaussian {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let &[_, dim] = view.shape() else {
        panic!("{name}: not [n, d]")
    };
    let rows: Vec<f32> = view
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let mut moments = Moments::new(dim);
    moments.push_rows(&rows);
    moments.finish().unwrap()
}

#[test]
fn frechet_distances() {
    let mut checked = 0;
    for (folder, config) in cases() {
        let expected = |name| config.get("expected").and_then(|e| e.get(name)?.as_f64());
        let (mut here, mut worst) = (0, 0.0_f64);
        for (name, features) in [
            ("frechet_distance", "in.real"),
            ("frechet_distance_rank_deficient", "in.few"),
        ] {
            let Some(expected) = expected(name) else {
                continue;
            };
            let bytes = fs::read(folder.join("case.safetensors")).unwrap();
            let tensors = SafeTensors::deserialize(&bytes).unwrap();
            let (a, b) = (gaussian(&tensors, features), gaussian(&tensors, "in.fake"));
            let distance = frechet_distance(&a, &b).unwrap();
            let error = (distance - expected).abs() / expected;
            assert!(
                error <= 1e-6,
                "{name}: {distance} instead of {expected}: {error:e}"
            );
            (here, worst) = (here + 1, worst.max(error));
        }
        if here > 0 {
            report(&folder, "Fréchet distances", here, worst);
        }
        checked += here;
    }
    assert!(checked > 0, "no Fréchet distance in {}", golden().display());
}
