//! A checkpoint of the public code (`scripts/export/public_patch.py`) is the patch that its golden case has.

use std::path::Path;

use dmp_math::schedule::BetaSchedule;
use dmp_model::checkpoint::torch::{Value, to_bytes};
use dmp_model::checkpoint::{
    HostTensor, PublicError, PublicPatch, PublicSettings, StoredType, TensorFile, Tensors, collect,
    public_bytes,
};
use dmp_model::denoiser::Backbone;
use dmp_model::dit::public_key;
use dmp_model::patch::{GateSharing, Patch, PatchConfig, Position};

use super::case::models;

fn tensors(patch: &Patch) -> Tensors {
    collect(patch, str::to_owned)
}

#[test]
fn a_checkpoint_of_the_public_code_is_its_patch() {
    let device = super::device();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/public/cond-add-top8.pt");
    let file = PublicPatch::from_bytes(std::fs::read(path).unwrap()).unwrap();
    let said = PublicSettings {
        position: Some(Position::Add),
        top_k: Some(0.5),
        schedule: Some(BetaSchedule::SquaredCosine),
    };
    assert_eq!(file.settings, said);
    assert!(file.backbone.is_empty());
    let patch = file.patch(16, file.settings, &device).unwrap();
    let case = models()
        .into_iter()
        .find(|case| case.patch_config() == *patch.config());
    let case = case.expect("the golden case it was made of");
    assert!(tensors(&patch) == tensors(&case.patch(&device)));
}

/// Every golden patch, with its backbone, to a checkpoint and back.
#[test]
fn a_patch_goes_to_the_public_code_and_comes_back() {
    let device = super::device();
    for case in models() {
        let (backbone, patch) = (case.backbone(&device), case.patch(&device));
        let weights = collect(&backbone, public_key);
        let bytes = public_bytes(&patch, weights.clone(), BetaSchedule::Linear).unwrap();
        let file = PublicPatch::from_bytes(bytes).unwrap();
        assert_eq!(file.settings.schedule, Some(BetaSchedule::Linear));
        file.check_backbone(&weights).unwrap();
        let back = file
            .patch(backbone.num_tokens(), file.settings, &device)
            .unwrap();
        assert_eq!(back.config(), patch.config());
        assert!(tensors(&back) == tensors(&patch));

        let mut other = weights.clone();
        let name = "blocks.0.mlp.fc1.bias";
        other.get_mut(name).unwrap().values[0] += 1.0;
        let error = file.check_backbone(&other).unwrap_err();
        assert!(matches!(error, PublicError::Backbone { name: found } if found == name));
        let mut other = weights;
        other.remove(name);
        assert!(file.check_backbone(&other).is_err());
    }
}

/// A configuration of the public code with one more setting.
fn with_setting(key: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| Value::Text(text.to_owned());
    let prompts = HostTensor {
        shape: vec![2, 4, 8],
        values: vec![0.5; 64],
    };
    let vp = vec![(key.to_owned(), text(value))];
    let general = vec![(key.to_owned(), text(value))];
    let models = vec![("vp".to_owned(), Value::Dict(vp))];
    let config = vec![
        ("models".to_owned(), Value::Dict(models)),
        ("general".to_owned(), Value::Dict(general)),
    ];
    let prompts = [("prompt_embeddings".to_owned(), prompts)];
    to_bytes(vec![
        ("model".to_owned(), Value::Tensors(prompts.into())),
        ("config".to_owned(), Value::Dict(config)),
    ])
    .unwrap()
}

/// What is not known must be said, and is not guessed.
#[test]
fn settings_that_are_not_known_are_refused_unless_said() {
    let device = super::device();
    let said = PublicSettings {
        position: Some(Position::Prepend),
        top_k: Some(1.0),
        schedule: Some(BetaSchedule::Linear),
    };
    for (key, value) in [
        ("type", "mix"),
        ("topk", "half"),
        ("schedule_name", "sigmoid"),
    ] {
        let file = PublicPatch::from_bytes(with_setting(key, value)).unwrap();
        let error = file
            .patch(4, file.settings, &device)
            .unwrap_err()
            .to_string();
        assert!(error.contains(key) && error.contains(value), "{error}");
        assert!(file.patch(4, said, &device).is_ok(), "{key}");
    }
    let file = PublicPatch::from_bytes(with_setting("gate_type", "uniform")).unwrap();
    let error = file.patch(4, said, &device).unwrap_err().to_string();
    assert!(error.contains("gate_type = 'uniform'"), "{error}");
    for known in [("type", "add"), ("topk", "1.0"), ("gate_type", "PT")] {
        let file = PublicPatch::from_bytes(with_setting(known.0, known.1)).unwrap();
        assert!(file.patch(4, file.settings, &device).is_ok(), "{known:?}");
    }
}

#[test]
fn what_the_public_code_does_not_have_is_refused() {
    let device = super::device();
    let paper = PatchConfig::paper(4, 8, 2);
    for (config, word) in [
        (PatchConfig::mixture(3, 4, 8, 2), "position"),
        (
            PatchConfig {
                gate_sharing: GateSharing::PerBlock,
                ..paper.clone()
            },
            "each block",
        ),
        (
            PatchConfig {
                prompt_rank: 2,
                ..paper.clone()
            },
            "low rank",
        ),
    ] {
        let patch = Patch::zeroed(&config, &device);
        let error = public_bytes(&patch, Tensors::new(), BetaSchedule::Linear).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
    let no_torch = TensorFile::default().to_bytes(StoredType::F32).unwrap();
    assert!(matches!(
        PublicPatch::from_bytes(no_torch),
        Err(PublicError::Torch(_))
    ));
    let file = to_bytes(Vec::new()).unwrap();
    assert!(matches!(
        PublicPatch::from_bytes(file),
        Err(PublicError::NoPrompts)
    ));
}
