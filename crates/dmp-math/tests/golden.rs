//! Golden cases: numbers made by the public PyTorch and torch-fidelity code.
//!
//! Reads the folder named by `DMP_GOLDEN`, else the workspace's copy; every case folder in it that holds
//! schedules, respacings or Fréchet distances, whatever its sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dmp_math::{
    BetaSchedule, Diffusion, Features, Gaussian, KernelSettings, Moments, frechet_distance,
    inception_score, kernel_distance, manifold, respacing,
};
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

/// How many numbers or lists were compared, and the largest relative error among them.
#[derive(Default)]
struct Tally {
    checked: usize,
    worst: f64,
}

impl Tally {
    fn add(&mut self, error: f64) {
        self.checked += 1;
        self.worst = self.worst.max(error);
    }
}

#[test]
fn every_case() {
    let mut totals = [0; 4];
    for (folder, config) in cases() {
        let bytes = fs::read(folder.join("case.safetensors")).ok();
        let tensors = bytes
            .as_ref()
            .map(|bytes| SafeTensors::deserialize(bytes).unwrap());
        let kinds = [
            tensors.as_ref().map(schedules).unwrap_or_default(),
            respacings(&config),
            tensors
                .as_ref()
                .map(|t| frechet_distances(&config, t))
                .unwrap_or_default(),
            tensors
                .as_ref()
                .map(|t| other_metrics(&config, t))
                .unwrap_or_default(),
        ];
        let [schedules, respacings, distances, others] =
            kinds.each_ref().map(|tally| tally.checked);
        let worst = kinds.iter().map(|tally| tally.worst).fold(0.0, f64::max);
        if schedules + respacings + distances + others > 0 {
            println!(
                "{}: {schedules} schedule tables, {respacings} respacings, {distances} Fréchet \
                 distances, {others} other metrics, largest relative error {worst:.2e}",
                folder.file_name().unwrap().display(),
            );
        }
        for (total, tally) in totals.iter_mut().zip(&kinds) {
            *total += tally.checked;
        }
    }
    assert!(
        totals.iter().all(|&n| n > 0),
        "{}: a kind has no case: {totals:?}",
        golden().display()
    );
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

/// Tensors `out.<schedule>.<table>` in f64.
fn schedules(tensors: &SafeTensors<'_>) -> Tally {
    let mut tally = Tally::default();
    for (name, view) in tensors.iter() {
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
        tally.add(error);
    }
    tally
}

/// Lists `respacing.<steps>:<spec>` of the configuration.
fn respacings(config: &Value) -> Tally {
    let mut tally = Tally::default();
    for (name, list) in config
        .get("respacing")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let (steps, spec) = name.split_once(':').unwrap();
        let steps = steps.parse().unwrap();
        let expected: Vec<usize> = serde_json::from_value(list.clone()).unwrap();
        assert_eq!(respacing::parse(steps, spec).unwrap(), expected, "{name}");
        let respaced = Diffusion::new(BetaSchedule::Linear, steps)
            .respaced(spec)
            .unwrap();
        assert_eq!(respaced.timestep_map(), expected, "{name}");
        tally.add(0.0);
    }
    tally
}

/// `expected.frechet_distance*` of the configuration, each between its features and `in.fake`.
fn frechet_distances(config: &Value, tensors: &SafeTensors<'_>) -> Tally {
    let mut tally = Tally::default();
    for (name, features) in [
        ("frechet_distance", "in.real"),
        ("frechet_distance_rank_deficient", "in.few"),
    ] {
        let Some(expected) = config.get("expected").and_then(|e| e.get(name)?.as_f64()) else {
            continue;
        };
        let (a, b) = (gaussian(tensors, features), gaussian(tensors, "in.fake"));
        let distance = frechet_distance(&a, &b).unwrap();
        let error = (distance - expected).abs() / expected;
        assert!(
            error <= 1e-6,
            "{name}: {distance} instead of {expected}: {error:e}"
        );
        tally.add(error);
    }
    tally
}

/// Kernel distance, precision, recall and Inception score, as torch-fidelity computes them. Its counts of rows inside
/// balls are compared exactly, but for the f32 the expected shares went through.
fn other_metrics(config: &Value, tensors: &SafeTensors<'_>) -> Tally {
    let mut tally = Tally::default();
    let Some(expected) = config.get("expected").and_then(Value::as_object) else {
        return tally;
    };
    let mut check = |name: &str, found: f64, tolerance: f64| {
        let Some(expected) = expected.get(name).and_then(Value::as_f64) else {
            return;
        };
        let error = (found - expected).abs() / expected.abs();
        assert!(
            error <= tolerance,
            "{name}: {found} instead of {expected}: {error:e}"
        );
        tally.add(error);
    };
    let [(a, dim), (b, _), (logits, classes)] =
        ["in.real", "in.fake", "in.logits"].map(|name| rows(tensors, name));
    let [a, b] = [&a, &b].map(|rows| Features::new(rows, dim).unwrap());
    let settings = KernelSettings {
        subsets: 50,
        ..KernelSettings::default()
    };
    let kernel = kernel_distance(a, b, settings).unwrap();
    check("kernel_inception_distance_mean", kernel.mean, 1e-5);
    check("kernel_inception_distance_std", kernel.std, 1e-3);
    // What torch-fidelity calls input 1 is the generated side.
    let inside = manifold(a, b, 3).unwrap();
    check("precision", inside.precision, 1e-6);
    check("recall", inside.recall, 1e-6);
    let score = inception_score(Features::new(&logits, classes).unwrap(), 10).unwrap();
    check("inception_score_mean", score.mean, 1e-9);
    check("inception_score_std", score.std, 1e-9);
    tally
}

/// Mean and covariance of a feature tensor `[n, d]`.
fn gaussian(tensors: &SafeTensors<'_>, name: &str) -> Gaussian {
    let (rows, dim) = rows(tensors, name);
    let mut moments = Moments::new(dim);
    moments.push_rows(&rows);
    moments.finish().unwrap()
}

/// The values of a tensor `[n, d]`, and d.
fn rows(tensors: &SafeTensors<'_>, name: &str) -> (Vec<f32>, usize) {
    let view = tensors.tensor(name).unwrap();
    assert_eq!(view.dtype(), Dtype::F32);
    let &[_, dim] = view.shape() else {
        panic!("{name}: not [n, d]")
    };
    let rows = view
        .data()
        .as_chunks()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    (rows, dim)
}
