//! Loss terms, gradients and optimiser steps.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use dmp_math::diffusion::Diffusion;
use dmp_math::schedule::BetaSchedule;
use dmp_math::timesteps::Timesteps;
use dmp_math::weight::LossWeight;
use dmp_model::checkpoint::collect;
use dmp_model::dit::Dit;
use dmp_model::loss::NoisedBatch;
use dmp_model::patch::{BalanceForm, BalanceLoss, GateKind, GateNoise, LearnedGate, Patch};
use dmp_model::patched::Patched;
use dmp_model::train::{Objective, PatchOptimizer, PatchRates};

use super::case::{Case, join_prompts, models, values};

/// The public code's objective: its own balance terms, each with weight 1.
fn objective(schedule: BetaSchedule) -> Objective {
    let balance = BalanceLoss {
        form: BalanceForm::Reference,
        importance: 1.0,
        load: 1.0,
    };
    let diffusion = Diffusion::new(schedule, 1000);
    Objective {
        draw: Timesteps::Uniform.over(&diffusion),
        diffusion,
        weight: LossWeight::Constant,
        balance,
    }
}

fn patched(case: &Case, device: &Device) -> Patched<Dit> {
    Patched::new(case.backbone(device), case.patch(device)).unwrap()
}

fn batch(case: &Case, device: &Device) -> NoisedBatch {
    NoisedBatch {
        x_start: case.tensor("in.x0", device),
        noise: case.tensor("in.noise", device),
        steps: case.indices("in.t"),
        target: None,
    }
}

#[test]
fn loss_terms_and_gradients_match_the_public_code() {
    let device = super::device().autodiff();
    for mut case in models() {
        let model = patched(&case, &device);
        let batch = batch(&case, &device);
        for (name, schedule) in [
            ("linear", BetaSchedule::Linear),
            ("cosine", BetaSchedule::SquaredCosine),
        ] {
            let objective = objective(schedule);
            let drop = format!("in.{name}.label_drop_uniform");
            let drop = case.has(&drop).then(|| case.host(&drop).values.clone());
            let labels = case.labels(drop.as_deref());
            let noise_key = format!("in.{name}.gate_noise");
            let noise = case
                .has(&noise_key)
                .then(|| GateNoise(case.tensor(&noise_key, &device)));

            let terms = batch.loss(
                &objective.diffusion,
                model
                    .predict_training(
                        batch.noised(&objective.diffusion),
                        &batch.steps,
                        &labels,
                        noise.as_ref(),
                    )
                    .0,
            );
            case.check_tensor(&format!("out.{name}.mse"), terms.mse);
            case.check_tensor(
                &format!("out.{name}.vb"),
                terms.vb.expect("a network that learns its variance"),
            );

            let loss = objective.patched(&model, &batch, &labels, noise.as_ref());
            case.check(&format!("out.{name}.loss"), &values(loss.total.clone()));
            if let Some(balance) = &loss.balance {
                case.check(
                    &format!("out.{name}.importance"),
                    &values(balance.importance.clone()),
                );
                let load = balance.load.clone().map_or(vec![0.0], values);
                case.check(&format!("out.{name}.load"), &load);
            }
            check_gradients(&mut case, name, &model, loss.total);
        }
        case.report("training");
    }
}

/// Gradients of every patch parameter, and none of any backbone parameter.
fn check_gradients(case: &mut Case, schedule: &str, model: &Patched<Dit>, loss: Tensor<1>) {
    let gradients = loss.backward();
    let gradient = |tensor: Tensor<2>| {
        values(
            tensor
                .grad(&gradients)
                .expect("a patch parameter has a gradient"),
        )
    };
    let prompts: Vec<f32> = model
        .patch()
        .prompts()
        .iter()
        .enumerate()
        .filter_map(|(block, _)| model.patch().prompts_of(block))
        .flat_map(gradient)
        .collect();
    case.check(&format!("out.{schedule}.grad.prompt_embeddings"), &prompts);
    if let Some(gate) = model.patch().gate().and_then(LearnedGate::linear) {
        case.check(
            &format!("out.{schedule}.grad.gate.weight"),
            &gradient(gate.weight()),
        );
        let bias = gate
            .bias()
            .grad(&gradients)
            .expect("the gate's bias has a gradient");
        case.check(&format!("out.{schedule}.grad.gate.bias"), &values(bias));
    }
    if let Some(w_noise) = model.patch().w_noise() {
        case.check(&format!("out.{schedule}.grad.w_noise"), &gradient(w_noise));
    }
    struct NoGradients<'a>(&'a burn::tensor::Gradients);
    impl burn::module::ModuleVisitor for NoGradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            assert!(
                param.val().grad(self.0).is_none(),
                "a frozen parameter got a gradient"
            );
        }
    }
    model.backbone().visit(&mut NoGradients(&gradients));
}

#[test]
fn adamw_steps_match_the_public_code() {
    let device = super::device().autodiff();
    for mut case in models() {
        let mut model = patched(&case, &device);
        let batch = batch(&case, &device);
        let objective = objective(BetaSchedule::Linear);
        let mut optimizer = PatchOptimizer::default();
        let mut losses = Vec::new();
        for step in 0..case.host("out.adamw.losses").values.len() {
            let row = |key: &str| {
                let host = case.tensors.get(key)?;
                let width: usize = host.shape[1..].iter().product();
                Some((
                    host.values[step * width..(step + 1) * width].to_vec(),
                    host.shape[1..].to_vec(),
                ))
            };
            let labels = case.labels(
                row("in.adamw.label_drop_uniform")
                    .as_ref()
                    .map(|(u, _)| u.as_slice()),
            );
            let noise = row("in.adamw.gate_noise")
                .map(|(v, shape)| GateNoise(Tensor::from_data(TensorData::new(v, shape), &device)));
            let loss = objective.patched(&model, &batch, &labels, noise.as_ref());
            losses.push(values(loss.total.clone())[0]);
            let gradients = loss.total.backward();
            let rates = PatchRates {
                prompts: 1e-2,
                gate: Some(1e-1),
            };
            model = model.map_patch(|patch| {
                let gradients = GradientsParams::from_grads(gradients, &patch);
                optimizer.step(patch, vec![gradients], rates, None).0
            });
        }
        case.check("out.adamw.losses", &losses);
        check_parameters(&mut case, model.patch());
        case.report("adamw");
    }
}

fn check_parameters(case: &mut Case, patch: &Patch) {
    let tensors = collect(&patch.valid(), str::to_owned);
    case.check("out.adamw.prompt_embeddings", &join_prompts(&tensors));
    if patch.config().gate == GateKind::Linear {
        for name in ["gate.weight", "gate.bias", "w_noise"] {
            case.check(&format!("out.adamw.{name}"), &tensors[name].values);
        }
    }
}
