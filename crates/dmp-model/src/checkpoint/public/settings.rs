//! What a checkpoint of the public code says of its patch.

use dmp_math::schedule::BetaSchedule;

use super::PublicError;
use crate::checkpoint::torch::TorchFile;
use crate::patch::Position;

/// What a checkpoint of the public code says of its patch, where it says it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PublicSettings {
    /// Where prompts go.
    pub position: Option<Position>,
    /// Share of prompts selected.
    pub top_k: Option<f64>,
    /// Noise schedule.
    pub schedule: Option<BetaSchedule>,
}

/// What a configuration says of the settings that are not understood.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    position: Option<String>,
    top_k: Option<String>,
    schedule: Option<String>,
    gate: Option<String>,
}

impl Unknown {
    /// Refuses what is not said otherwise.
    pub(super) fn check(&self, said: &PublicSettings) -> Result<(), PublicError> {
        let settings = [
            (
                "vp.type",
                &self.position,
                said.position.is_some(),
                "; give --position",
            ),
            (
                "vp.topk",
                &self.top_k,
                said.top_k.is_some(),
                "; give --top-k",
            ),
            (
                "schedule_name",
                &self.schedule,
                said.schedule.is_some(),
                "; give --schedule",
            ),
            (
                "vp.gate_type",
                &self.gate,
                false,
                "; give a checkpoint with a linear gate, or without one (PT)",
            ),
        ];
        for (key, value, otherwise, mend) in settings {
            if let Some(value) = value.as_ref().filter(|_| !otherwise) {
                let value = value.clone();
                return Err(PublicError::Setting { key, value, mend });
            }
        }
        Ok(())
    }
}

/// What the configuration says and is known, and what is not. It is Hydra's: dictionaries and values within objects.
pub(super) fn settings(file: &TorchFile) -> (PublicSettings, Unknown) {
    let value = |path: &[&str]| {
        let wrapped: Vec<&str> = path.iter().flat_map(|key| ["_content", key]).collect();
        let wrapped = [&["config"], wrapped.as_slice(), &["_val"]].concat();
        let plain = [&["config"], path].concat();
        file.text(&wrapped).or_else(|| file.text(&plain))
    };
    let vp = |key| value(&["models", "vp", key]).or_else(|| value(&["general", key]));
    let (position, odd_position) = known(vp("type"), |text| match text {
        "add" => Some(Position::Add),
        "prepend" => Some(Position::Prepend),
        _ => None,
    });
    let (top_k, odd_top_k) = known(vp("topk"), |text| text.parse().ok());
    let schedule = value(&["general", "schedule_name"]);
    let (schedule, odd_schedule) = known(schedule, |text| match text {
        "linear" => Some(BetaSchedule::Linear),
        "cosine" | "squaredcos_cap_v2" => Some(BetaSchedule::SquaredCosine),
        _ => None,
    });
    let (_, odd_gate) = known(vp("gate_type"), |text| {
        ["linear", "PT"].contains(&text).then_some(())
    });
    let settings = PublicSettings {
        position,
        top_k,
        schedule,
    };
    let unknown = Unknown {
        position: odd_position,
        top_k: odd_top_k,
        schedule: odd_schedule,
        gate: odd_gate,
    };
    (settings, unknown)
}

/// What a text means, or the text if that is not known.
fn known<T>(
    text: Option<String>,
    meaning: impl Fn(&str) -> Option<T>,
) -> (Option<T>, Option<String>) {
    match text {
        None => (None, None),
        Some(text) => match meaning(&text) {
            Some(meant) => (Some(meant), None),
            None => (None, Some(text)),
        },
    }
}
