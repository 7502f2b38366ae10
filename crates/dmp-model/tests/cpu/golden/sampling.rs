//! DDPM and DDIM with recorded noise.

use burn::tensor::Tensor;
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_model::patched::Patched;
use dmp_model::sampler::{Method, NoiseSource, SampleRequest, sample};

use super::case::{Case, root};

/// The recorded starting point, then the recorded noise of each step, first step first.
struct Recorded {
    start: Option<Tensor<4>>,
    noise: Tensor<5>,
    drawn: usize,
}

impl NoiseSource for Recorded {
    fn next(&mut self) -> Tensor<4> {
        if let Some(start) = self.start.take() {
            return start;
        }
        self.drawn += 1;
        self.noise
            .clone()
            .narrow(0, self.drawn - 1, 1)
            .squeeze_dim(0)
    }
}

#[test]
fn samplers_match_the_public_code() {
    let folder = root().join("diffusion");
    if !folder.is_dir() {
        // Only a set of cases that the user names may lack it.
        assert!(
            std::env::var_os("DMP_GOLDEN").is_some(),
            "no diffusion case"
        );
        return println!("no diffusion case in {}", root().display());
    }
    let device = super::device();
    let mut case = Case::open(&folder);
    let model_case = case.config["model"]
        .as_str()
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap()
        .to_owned();
    let model_case = Case::open(&root().join(model_case.trim_start_matches("../")));
    // The numbers were recorded after the model case's three optimiser steps, not with its patch.safetensors.
    let patch = model_case.patch_after_adamw(&device);
    let model = Patched::new(model_case.backbone(&device), patch).unwrap();
    let full = Diffusion::new(BetaSchedule::Linear, 1000);
    for (name, respacing, method) in [
        ("ddpm", "12", Method::Ddpm),
        ("ddim", "ddim10", Method::Ddim { eta: 0.0 }),
        ("ddim-eta", "ddim10", Method::Ddim { eta: 0.7 }),
    ] {
        let diffusion = full.respaced(respacing).unwrap();
        let start = case.tensor::<4>(&format!("in.{name}.z"), &device);
        let labels = vec![0; start.dims()[0]];
        let request = SampleRequest {
            diffusion: &diffusion,
            method,
            clip: false,
            labels: &labels,
        };
        let mut noise = Recorded {
            start: Some(start),
            noise: case.tensor(&format!("in.{name}.noise"), &device),
            drawn: 0,
        };
        let images = sample(&model, &request, &mut noise, |_, _| true).expect("not interrupted");
        case.check_tensor(&format!("out.{name}.sample"), images);
    }
    case.report("sampling");
}
