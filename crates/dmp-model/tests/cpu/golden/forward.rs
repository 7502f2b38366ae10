//! Forward passes: bare, patched, guided; masks.

use dmp_model::denoiser::{Backbone, Denoiser};
use dmp_model::patched::Patched;
use dmp_model::sampler::{Guided, GuidedChannels};

use super::case::models;

#[test]
fn forward_matches_the_public_code() {
    let device = super::device();
    for mut case in models() {
        let (backbone, patch) = (case.backbone(&device), case.patch(&device));
        let x = case.tensor::<4>("in.x", &device);
        let (t, y) = (case.indices("in.t"), case.labels(None));

        let conditioning = backbone.condition(&t, &y);
        case.check_tensor("out.t_emb", conditioning.timestep.clone());
        for (block, mask) in patch.masks(&conditioning).into_iter().enumerate() {
            let key = format!("out.mask.{block}");
            if case.has(&key) {
                case.check_tensor(&key, mask);
            }
        }
        case.check_tensor("out.base", backbone.predict(x.clone(), &t, &y));
        let patched = Patched::new(backbone, patch).unwrap();
        case.check_tensor("out.patched", patched.predict(x.clone(), &t, &y));
        if case.has("out.cfg") {
            let scale = case.number("in.cfg_scale");
            let guided = Guided::new(&patched, scale, GuidedChannels::FirstThree)
                .expect("a model with label dropout");
            case.check_tensor("out.cfg", guided.predict(x, &t, &y));
        }
        case.report("forward");
    }
}
