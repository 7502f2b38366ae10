//! The loss by noise level: a patch of zeros changes nothing, and a difference is known better than either side.

use dmp_model::checkpoint::{StoredType, TensorFile};
use serde_json::Value;

use crate::harness::{Bench, ok, refused};

fn profile(line: &str) -> Value {
    serde_json::from_str(&ok(&format!("loss --data demo --json {line}"))).unwrap()
}

#[test]
fn a_patch_is_compared_on_the_same_images_and_noise() {
    let bench = Bench::new();
    bench.train("zero", "--steps 1 --prompt-rate 0");
    bench.train("patch", "--steps 3");
    let model = format!("--model {} --count 90 --bands 3", bench.str("base"));

    let bare = profile(&model);
    assert!(bare["all"]["base"]["mean"].as_f64().unwrap() > 0.0);
    assert!(bare["all"]["patched"].is_null() && bare["bands"][0]["change"].is_null());

    let zero = profile(&format!("{model} --patch {}", bench.str("zero")));
    assert_eq!(zero["all"]["base"], bare["all"]["base"]);
    for band in zero["bands"].as_array().unwrap() {
        assert_eq!(band["patched"], band["base"]);
        assert_eq!(band["change"]["mean"].as_f64(), Some(0.0));
    }

    let line = format!("{model} --patch {}", bench.str("patch"));
    let patched = profile(&line);
    let value = |of: &str, name: &str| patched["all"][of][name].as_f64().unwrap();
    let difference = value("patched", "mean") - value("base", "mean");
    assert!((difference - value("change", "mean")).abs() < 1e-9 && difference != 0.0);
    assert!(value("change", "standard_error") < value("base", "standard_error") / 10.0);
    assert_eq!(profile(&line), patched, "the same seed, the same figures");
    assert_ne!(profile(&format!("{line} --seed 1"))["all"], patched["all"]);

    // Limited to the first band it changes that one alone, and as before.
    let limited = profile(&format!("{line} --patch-below 333"));
    assert_eq!(limited["bands"][0], patched["bands"][0]);
    for band in [1, 2] {
        let of = |profile: &Value, name: &str| profile["bands"][band][name].clone();
        assert_eq!(of(&limited, "patched"), of(&patched, "base"), "{band}");
        assert_ne!(of(&patched, "patched"), of(&patched, "base"), "{band}");
    }

    let table = ok(&format!("loss {line}"));
    assert!(
        table.contains("0 to 332") && table.contains("0 to 999"),
        "{table}"
    );

    bench.train("far", "--steps 1 --prompt-rate 100");
    let far = format!("{model} --patch {}", bench.str("far"));
    let error = refused(&format!("loss {far} --patch-scale 1e38"));
    assert!(error.contains("no finite numbers"), "{error}");
}

/// A backbone that does not say its noise schedule is measured with the patch's.
#[test]
fn both_are_noised_by_the_schedule_that_the_patch_says() {
    let bench = Bench::new();
    let path = bench.path("base/backbone.safetensors");
    let mut file = TensorFile::from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    assert!(file.metadata.remove("dmp.schedule").is_some());
    std::fs::write(&path, file.to_bytes(StoredType::F32).unwrap()).unwrap();
    bench.train("patch", "--steps 1 --schedule squaredcos_cap_v2");
    let line = format!(
        "--model {} --count 20 --patch {}",
        bench.str("base"),
        bench.str("patch")
    );
    let said = profile(&line);
    assert_eq!(said["schedule"], "squaredcos_cap_v2");
    assert_eq!(
        profile(&format!("{line} --schedule squaredcos_cap_v2")),
        said
    );
}

#[test]
fn too_few_images_or_bands_are_refused() {
    let error = refused("loss --count 19");
    assert!(
        error.contains("--count 19") && error.contains("at least 20"),
        "{error}"
    );
    let error = refused("loss --patch-below 500 --count 20");
    assert!(error.contains("--patch-below"), "{error}");
    let error = refused("loss --bands 0");
    assert!(error.contains("--bands is 0"), "{error}");
    let error = refused("loss --patch nowhere.safetensors");
    assert!(error.contains("nowhere.safetensors"), "{error}");
}
