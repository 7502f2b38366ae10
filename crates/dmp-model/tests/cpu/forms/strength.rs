//! Patches that act more or less strongly than they were trained.

use super::*;

/// Nothing of a patch is the backbone alone, once is the patch, and the prompts are what is scaled.
#[test]
fn a_patch_is_scaled_by_its_prompts() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let bare = predict(&backbone, &device);
    let alike = [
        gated(GateKind::Linear),
        PatchConfig::mixture(3, 16, 16, 2),
        PatchConfig {
            prompt_rank: 3,
            ..gated(GateKind::Linear)
        },
    ];
    for config in alike {
        let patch = random(&config, 3, &device);
        let predicted = |patch: Patch| {
            let patched = Patched::new(backbone.clone(), patch).unwrap();
            predict(&patched, &device)
        };
        let scaled = |scale| patch.clone().scaled(scale).unwrap();
        assert_eq!(predicted(scaled(0.0)), bare, "{config:?}");
        assert_eq!(predicted(scaled(1.0)), predicted(patch.clone()));
        for block in 0..config.depth {
            let prompts = |patch: &Patch| host::values(patch.prompts_of(block).unwrap());
            for (half, whole) in prompts(&scaled(-0.5)).into_iter().zip(prompts(&patch)) {
                assert!(
                    (half + 0.5 * whole).abs() <= 1e-6 * whole.abs(),
                    "{half} {whole}"
                );
            }
        }
    }
    let tokens = PatchConfig {
        position: Position::Prepend,
        num_prompts: 3,
        ..gated(GateKind::Linear)
    };
    let error = random(&tokens, 3, &device).scaled(0.5).unwrap_err();
    assert!(error.to_string().contains("--patch-scale"), "{error}");
}
