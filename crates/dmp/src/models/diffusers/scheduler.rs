//! The noise schedule that a pipeline was trained with.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use dmp_math::schedule::BetaSchedule;
use serde::Deserialize;

use super::json;
use crate::DIFFUSION_STEPS;

/// What is read of `scheduler/scheduler_config.json`.
#[derive(Deserialize)]
struct Scheduler {
    beta_schedule: String,
    #[serde(default = "thousand")]
    num_train_timesteps: usize,
    #[serde(default = "beta_start")]
    beta_start: f64,
    #[serde(default = "beta_end")]
    beta_end: f64,
    #[serde(default)]
    trained_betas: Option<serde_json::Value>,
    #[serde(default)]
    prediction_type: Option<String>,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
}

fn thousand() -> usize {
    1000
}

fn beta_start() -> f64 {
    1e-4
}

fn beta_end() -> f64 {
    0.02
}

/// The noise schedule a pipeline says it was trained with.
pub(super) fn schedule(folder: &Path) -> Result<Option<BetaSchedule>> {
    let path = folder.join("scheduler/scheduler_config.json");
    if !path.is_file() {
        let index = folder.join("model_index.json");
        let said: serde_json::Value = if index.is_file() {
            json(&index)?
        } else {
            serde_json::Value::Null
        };
        ensure!(
            !said["scheduler"][1].is_string(),
            "{}: is not there, and model_index.json says that it is; copy the folder again",
            path.display()
        );
        return Ok(None);
    }
    let scheduler: Scheduler = json(&path)?;
    let shown = path.display();
    ensure!(
        scheduler.num_train_timesteps == DIFFUSION_STEPS && scheduler.trained_betas.is_none(),
        "{shown}: a schedule of {} steps, or of betas of its own, is not known here; use a model of {DIFFUSION_STEPS} steps",
        scheduler.num_train_timesteps
    );
    let predicts = scheduler.prediction_type.as_deref().unwrap_or("epsilon");
    ensure!(
        predicts == "epsilon",
        "{shown}: prediction_type is '{predicts}'; only models that predict the noise (epsilon) can be used"
    );
    ensure!(
        !scheduler.rescale_betas_zero_snr,
        "{shown}: rescale_betas_zero_snr is true; only schedules that end with some signal can be used"
    );
    let betas = (scheduler.beta_start, scheduler.beta_end);
    match scheduler.beta_schedule.as_str() {
        "linear" if betas == (1e-4, 0.02) => Ok(Some(BetaSchedule::Linear)),
        "squaredcos_cap_v2" => Ok(Some(BetaSchedule::SquaredCosine)),
        other => bail!(
            "{shown}: the noise schedule '{other}' from {} to {} is not known here; a DiT's is linear from 0.0001 to 0.02, or \
             squaredcos_cap_v2",
            betas.0,
            betas.1
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use burn::tensor::Device;

    use super::super::open;
    use super::super::tests::copied;
    use super::*;

    #[test]
    fn a_scheduler_says_the_schedule() {
        let folder = copied();
        fs::create_dir(folder.path().join("scheduler")).unwrap();
        let say = |text: &str| {
            fs::write(folder.path().join("scheduler/scheduler_config.json"), text).unwrap();
            open(folder.path(), &Device::flex())
        };
        let said = say(r#"{"beta_schedule": "squaredcos_cap_v2", "clip_sample": false}"#).unwrap();
        assert_eq!(said.schedule, Some(BetaSchedule::SquaredCosine));
        let said = say(r#"{"beta_schedule": "linear", "beta_end": 0.02}"#).unwrap();
        assert_eq!(said.schedule, Some(BetaSchedule::Linear));
        let error = say(r#"{"beta_schedule": "scaled_linear", "beta_end": 0.012}"#).unwrap_err();
        assert!(error.to_string().contains("'scaled_linear'"), "{error}");
        for (field, says) in [
            (r#""prediction_type": "v_prediction""#, "'v_prediction'"),
            (
                r#""rescale_betas_zero_snr": true"#,
                "rescale_betas_zero_snr is true",
            ),
        ] {
            let text = format!(r#"{{"beta_schedule": "linear", {field}}}"#);
            let error = say(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        say(r#"{"beta_schedule": "linear", "prediction_type": "epsilon"}"#).unwrap();
    }

    #[test]
    fn a_pipelines_scheduler_must_be_there() {
        let folder = copied();
        let index = folder.path().join("model_index.json");
        fs::write(&index, r#"{"scheduler": ["diffusers", "DDIMScheduler"]}"#).unwrap();
        let error = open(folder.path(), &Device::flex())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scheduler_config.json: is not there"),
            "{error}"
        );
        fs::write(&index, r#"{"scheduler": [null, null]}"#).unwrap();
        assert_eq!(open(folder.path(), &Device::flex()).unwrap().schedule, None);
    }
}
