//! Comparing images and features that are there already.

use dmp_model::checkpoint::{HostTensor, StoredType, TensorFile, Tensors};
use dmp_model::features::inception::convolutions;
use serde_json::Value;

use crate::harness::{Bench, ok, refused};

fn write(bench: &Bench, name: &str, tensors: Tensors) -> String {
    let file = TensorFile {
        tensors,
        ..Default::default()
    };
    std::fs::write(bench.path(name), file.to_bytes(StoredType::F32).unwrap()).unwrap();
    bench.str(name)
}

/// Made-up numbers around `centre`.
fn rows(count: usize, dim: usize, centre: f32) -> HostTensor {
    let values = (0..count * dim).map(|i| centre + (i * i % 97) as f32 / 50.0 - 1.0);
    HostTensor {
        shape: vec![count, dim],
        values: values.collect(),
    }
}

#[test]
fn features_of_another_program_are_compared() {
    let bench = Bench::new();
    let features = |name: &str, centre| {
        let tensors = Tensors::from([("features".to_owned(), rows(60, 4, centre))]);
        write(&bench, name, tensors)
    };
    let (a, b) = (
        features("a.safetensors", 0.0),
        features("b.safetensors", 1.0),
    );
    let figures = |line: &str| -> Value { serde_json::from_str(&ok(line)).unwrap() };
    let same = figures(&format!("eval {a} --reference {a} --json"));
    assert!(same["fid"].as_f64().unwrap() < 1e-6, "{same}");
    assert_eq!(same["precision"], 1.0);
    assert!(same.get("kid").is_none(), "too few for a subset: left out");
    let moved = figures(&format!(
        "eval {a} --reference {b} --json --metrics fid,kid --kid-subset-size 40 --bootstrap 20"
    ));
    // The same spread, four means moved by one.
    assert!(
        (moved["fid"].as_f64().unwrap() - 4.0).abs() < 1e-4,
        "{moved}"
    );
    assert!(
        (moved["fid_of_means"].as_f64().unwrap() - 4.0).abs() < 1e-4,
        "{moved}"
    );
    assert!(moved["kid"].as_f64().unwrap() > 0.1, "{moved}");
    let [low, high] = [0, 1].map(|end| moved["fid_interval"][end].as_f64().unwrap());
    let fid = moved["fid"].as_f64().unwrap();
    assert!(low < fid && fid < high && high < 8.0, "{moved}");
    let eval = format!("eval {a} --reference {b} --metrics");
    for (rest, says) in [
        (format!("fid --save {b}"), "--save"),
        (
            "fid,kid --dry-run".to_owned(),
            "--metrics kid: 60 samples are too few, 1000 are needed",
        ),
        (
            "prdc --bootstrap 20".to_owned(),
            "--bootstrap is for the FID",
        ),
        (
            "fid --preprocess clean".to_owned(),
            "--preprocess is for images",
        ),
        (
            "fid --neighbours 5".to_owned(),
            "--neighbours is of a metric",
        ),
        ("is".to_owned(), "needs the samples' images"),
    ] {
        let error = refused(&format!("{eval} {rest}"));
        assert!(error.contains(says), "{error}");
    }
    assert_eq!(
        (&moved["samples_count"], &moved["reference_count"]),
        (&60.into(), &60.into())
    );

    // Kept as features and as statistics, it is the reference that it was.
    for name in ["kept.safetensors", "kept.npz"] {
        let kept = bench.str(name);
        let line = format!("eval {b} --reference {a} --metrics fid --json");
        let saved = figures(&format!("{line} --save {kept}"));
        let again = figures(&format!("eval {a} --reference {kept} --metrics fid --json"));
        let [saved, again] = [&saved, &again].map(|found| found["fid"].as_f64().unwrap());
        assert!(
            (saved - again).abs() < 1e-9 * saved,
            "{name}: {saved} {again}"
        );
    }
    let error = refused(&format!("eval {a} --reference {b} --save kept.txt"));
    assert!(
        error.contains("kept.txt") && error.contains(".npz"),
        "{error}"
    );

    let error = refused(&format!("eval {a} --reference {b} --metrics kid"));
    assert!(
        error.contains("60 samples") && error.contains("1000"),
        "{error}"
    );
    let error = refused(&format!("eval {a} --reference {b} --metrics is"));
    assert!(error.contains("Inception score needs"), "{error}");
    let error = refused(&format!("eval {a} --reference nowhere.npz"));
    assert!(error.contains("nowhere.npz"), "{error}");
    let error = refused("eval --metrics fid");
    assert!(error.contains("--metrics is for Inception"), "{error}");
    for flag in [
        "--patch p.safetensors",
        "--model m.pt",
        "--dtype bf16",
        "--count 20",
        "--seed 1",
    ] {
        let error = refused(&format!("eval {a} --reference {b} {flag}"));
        let name = flag.split(' ').next().unwrap();
        assert!(
            error.contains(&format!("{name} is for what a model draws")),
            "{error}"
        );
    }
    let error = refused(&format!("eval {a} --reference held-out"));
    assert!(error.contains("held-out"), "{error}");
}

/// The same images as a folder and as an array, through Inception with made-up weights.
#[test]
fn a_folder_and_an_array_of_the_same_images_are_the_same() {
    let bench = Bench::new();
    let (model, folder, array) = (bench.str("base"), bench.str("images"), bench.str("x.npz"));
    ok(&format!(
        "sample --model {model} --count 4 --sampling-steps 2 --out {folder} --npz {array}"
    ));
    let error = refused(&format!(
        "eval {folder} --reference {array} --inception {}",
        bench.str("none.pth")
    ));
    assert!(error.contains("none.pth"), "{error}");
    let mut tensors = Tensors::new();
    for (index, spec) in convolutions().into_iter().enumerate() {
        let shape = vec![
            spec.channels[1],
            spec.channels[0],
            spec.kernel[0],
            spec.kernel[1],
        ];
        let fan: usize = shape[1..].iter().product();
        let scale = (6.0 / fan as f32).sqrt();
        let values = (0..shape.iter().product())
            .map(|i: usize| scale * ((i * 31 + index) % 17) as f32 / 8.0 - scale);
        let values = values.collect();
        tensors.insert(
            format!("{}.conv.weight", spec.name),
            HostTensor { shape, values },
        );
        for (part, value) in [
            ("weight", 1.0),
            ("bias", 0.1),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            let shape = vec![spec.channels[1]];
            let values = vec![value; spec.channels[1]];
            tensors.insert(
                format!("{}.bn.{part}", spec.name),
                HostTensor { shape, values },
            );
        }
    }
    let weights = write(&bench, "inception.safetensors", tensors);
    let line = format!(
        "eval {folder} --reference {array} --inception {weights} --metrics prdc --neighbours 2 --json"
    );
    let kept = bench.str("kept.npz");
    let figures: Value = serde_json::from_str(&ok(&format!("{line} --save {kept}"))).unwrap();
    assert_eq!(
        (&figures["precision"], &figures["recall"]),
        (&1.0.into(), &1.0.into())
    );
    assert_eq!(figures["definition"]["preprocess"], "torch-fidelity");
    // Again, from what the cache holds, the same.
    assert_eq!(serde_json::from_str::<Value>(&ok(&line)).unwrap(), figures);
    // Statistics as other evaluators save them, spatial ones too; the made-up weights make the pooled ones huge.
    let line =
        format!("eval {folder} --reference {kept} --inception {weights} --metrics sfid --json");
    let figures: Value = serde_json::from_str(&ok(&line)).unwrap();
    assert!(figures["sfid"].as_f64().unwrap().abs() < 1e-2, "{figures}");
    // And kept features are all that they were taken with.
    let kept = bench.str("kept.safetensors");
    ok(&format!("{line} --save {kept}"));
    let line = format!("eval {kept} --reference {kept} --metrics sfid,prdc --neighbours 2 --json");
    let figures: Value = serde_json::from_str(&ok(&line)).unwrap();
    assert!(figures["sfid"].as_f64().unwrap().abs() < 1e-2, "{figures}");
    assert_eq!(figures["precision"], 1.0);
}
