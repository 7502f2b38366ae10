use super::*;
use proptest::prelude::*;

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * b.abs().max(1e-300)
}

#[test]
fn respacing_keeps_alpha_bar_and_tells_the_original_timesteps() {
    let full = Diffusion::new(BetaSchedule::Linear, 1000);
    let short = full.respaced("50").unwrap();
    assert_eq!(short.len(), 50);
    assert_eq!(short.timestep_map()[..3], [0, 20, 41]);
    for (i, &t) in short.timestep_map().iter().enumerate() {
        assert!(close(
            short.alphas_cumprod()[i],
            full.alphas_cumprod()[t],
            1e-12
        ));
    }
}

#[test]
fn respacing_twice_still_names_the_first_process() {
    let full = Diffusion::new(BetaSchedule::Linear, 1000);
    let twice = full.respaced("ddim50").unwrap().respaced("ddim10").unwrap();
    assert_eq!(
        twice.timestep_map(),
        full.respaced("ddim10").unwrap().timestep_map()
    );
}

#[test]
fn an_unusable_respacing_is_an_error() {
    assert!(
        Diffusion::new(BetaSchedule::Linear, 10)
            .respaced("11")
            .is_err()
    );
    assert!(
        Diffusion::new(BetaSchedule::Linear, 0)
            .respaced("")
            .is_err()
    );
}

#[test]
fn short_processes_stay_finite() {
    for schedule in BetaSchedule::ALL {
        for steps in 1..=30 {
            let d = Diffusion::new(schedule, steps);
            for table in [
                d.log_betas(),
                d.sqrt_recip_alphas_cumprod(),
                d.posterior_log_variance_clipped(),
                d.posterior_mean_coef1(),
                d.posterior_mean_coef2(),
            ] {
                assert_eq!(table.len(), steps);
                assert!(table.iter().all(|x| x.is_finite()), "{schedule} {steps}");
            }
        }
    }
    assert!(Diffusion::new(BetaSchedule::Linear, 0).is_empty());
}

#[test]
fn learned_range_ends_at_beta_and_at_the_posterior() {
    let d = Diffusion::new(BetaSchedule::SquaredCosine, 1000);
    for step in [0, 1, 500, 999] {
        let posterior = d.posterior_log_variance_clipped()[step];
        assert_eq!(d.learned_range_log_variance(step, 1.0), d.log_betas()[step]);
        assert_eq!(d.learned_range_log_variance(step, -1.0), posterior);
    }
}

#[test]
fn ddim_at_step_zero_returns_the_clean_image() {
    let d = Diffusion::new(BetaSchedule::Linear, 1000);
    for eta in [0.0, 0.7, 1.0, 3.0] {
        let step = d.ddim(0, eta);
        assert_eq!(
            step,
            DdimStep {
                sqrt_alpha_prev: 1.0,
                direction: 0.0,
                sigma: 0.0
            }
        );
    }
}

proptest! {
    // DDIM with eta 1 has DDPM's posterior variance.
    #[test]
    fn ddim_eta_one_is_ddpm(step in 1_usize..50) {
        let d = Diffusion::new(BetaSchedule::Linear, 1000).respaced("50").unwrap();
        let sigma = d.ddim(step, 1.0).sigma;
        prop_assert!(close(sigma * sigma, d.posterior_variance()[step], 1e-10));
    }

    // Whatever eta in [0, 1], one DDIM step from the exact x0 and noise keeps the marginal's variance.
    #[test]
    fn ddim_keeps_the_marginal(step in 0_usize..1000, eta in 0.0..1.0) {
        let d = Diffusion::new(BetaSchedule::SquaredCosine, 1000);
        let DdimStep { sqrt_alpha_prev, direction, sigma } = d.ddim(step, eta);
        let total = sqrt_alpha_prev.powi(2) + direction.powi(2) + sigma.powi(2);
        prop_assert!((total - 1.0).abs() < 1e-12);
    }

    #[test]
    fn snr_falls(step in 1_usize..1000) {
        for schedule in BetaSchedule::ALL {
            let d = Diffusion::new(schedule, 1000);
            prop_assert!(d.snr(step) < d.snr(step - 1));
        }
    }
}
