//! Patches that act below a timestep only.

use super::*;

/// Below its limit a patch is what it is without one, and from there on it is nothing: image by image, whatever the others are.
#[test]
fn a_limited_patch_acts_below_its_limit_only() {
    let device = Device::flex();
    let backbone = backbone(&device);
    let bare = predict(&backbone, &device);
    let alike = [
        gated(GateKind::Linear),
        gated(GateKind::None),
        PatchConfig::mixture(3, 16, 16, 2),
        PatchConfig {
            grid: Some([2, 3]),
            num_prompts: 6,
            ..gated(GateKind::Uniform)
        },
    ];
    for config in alike {
        let patched = Patched::new(backbone.clone(), random(&config, 3, &device)).unwrap();
        let whole = predict(&patched, &device);
        // At 0, 500 and 999.
        for (below, acting) in [(1, 1), (500, 1), (501, 2), (999, 2), (1000, 3)] {
            let limited = patched.clone().acting_below(Some(below)).unwrap();
            let found = predict(&limited, &device);
            let size = found.len() / TIMES.len();
            for (image, (found, (whole, bare))) in found
                .chunks(size)
                .zip(whole.chunks(size).zip(bare.chunks(size)))
                .enumerate()
            {
                let wanted = if image < acting { whole } else { bare };
                assert_eq!(found, wanted, "{config:?} below {below}: image {image}");
                assert_ne!(whole, bare);
            }
            let back = limited.acting_below(None).unwrap();
            assert_eq!(predict(&back, &device), whole);
        }
    }
    let tokens = PatchConfig {
        position: Position::Prepend,
        num_prompts: 3,
        ..gated(GateKind::Linear)
    };
    let patched = Patched::new(backbone, random(&tokens, 3, &device)).unwrap();
    let error = patched.acting_below(Some(500)).unwrap_err().to_string();
    assert!(error.contains("--position add or mix"), "{error}");
}
