//! Some of the classes: to train on, to draw, and to be held against.

use std::fs;

use serde_json::Value;

use crate::harness::{Bench, dmp, ok, refused, says};

#[test]
fn some_classes_are_trained_on() {
    let bench = Bench::new();
    bench.train("some", "--steps 2 --class 0-4");
    let config = fs::read_to_string(bench.path("some/config.toml")).unwrap();
    assert!(config.contains("class = \"0-4\""), "{config}");
    let error = refused(&bench.train_line("some", "--steps 2 --class 0-3"));
    for word in ["class = \"0-4\"' there", "class = \"0-3\"' here"] {
        assert!(error.contains(word), "{error}");
    }
    bench.train("all", "--steps 2");
    assert!(bench.bytes("some/patch.safetensors") != bench.bytes("all/patch.safetensors"));
    says(
        &bench.train_line("none", "--steps 2 --class 7-12"),
        &["--class 7-12", "data 'demo'", "10 classes", "not 10"],
    );
    assert!(!bench.path("none").exists());
}

/// Of sub-folders: those that are left out are not even read.
#[test]
fn images_of_other_classes_need_not_be_whole() {
    let bench = Bench::empty();
    for (class, grey) in [("a", 10), ("b", 100), ("c", 200)] {
        let folder = bench.path("images").join(class);
        fs::create_dir_all(&folder).unwrap();
        for name in ["1.png", "2.png"] {
            let pixel = image::Luma([grey]);
            image::GrayImage::from_pixel(8, 8, pixel)
                .save(folder.join(name))
                .unwrap();
        }
    }
    fs::write(bench.path("images/b/broken.png"), "no image").unwrap();
    let line = |rest: &str| {
        format!(
            "pretrain --data {} --image-size 8 --grey --hidden-size 16 --depth 1 --num-heads 2 --patch-size 4 --steps 2 \
             --batch 2 --warmup 1 --out {} {rest}",
            bench.str("images"),
            bench.str("run")
        )
    };
    says(&line("--class 1-2"), &["1 of 5", "broken.png"]);
    let output = dmp(&line("--class 0,2"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("has 3 classes and learns 0,2 alone"),
        "{said}"
    );
    // Without sub-folders there are none.
    let flat = format!("{}/a", bench.str("images"));
    let line = line("--class 0").replace(&bench.str("images"), &flat);
    says(&line, &["--class 0", "no classes", "sub-folder"]);
}

#[test]
fn images_of_some_classes_are_held_against_those() {
    let bench = Bench::new();
    let line = |rest: &str| {
        let model = bench.str("base");
        format!("eval --model {model} --count 100 --sampling-steps 2 {rest}")
    };
    let found = |rest: &str| -> Value {
        serde_json::from_str(&ok(&line(&format!("--json {rest}")))).unwrap()
    };
    let frechet = |found: &Value| found["frechet"].as_f64().unwrap();
    let (all, every) = (found(""), found("--class 0-9"));
    assert_eq!(every["sampling"]["class"], "0-9");
    assert_eq!(every["accuracy"], all["accuracy"]);
    let change = frechet(&every) / frechet(&all) - 1.0;
    assert!(change.abs() < 1e-3, "{change}");

    for (rest, count) in [
        ("", 10_000),
        ("--class 5-9", 5_000),
        ("--class 8", 1_000),
        ("--class 0,8 --reference train", 4_000),
    ] {
        assert_eq!(found(rest)["reference_count"], count, "{rest}");
    }
    let text = ok(&line("--class 5-9"));
    assert!(text.contains("the 5000 of class 5-9 in held-out"), "{text}");
    says(
        &line("--class 7-12"),
        &["--class 7-12", "classes 0 to 9", "not 10"],
    );
    says(&line("--class 7-12 --dry-run"), &["--class 7-12", "not 10"]);
}

#[test]
fn losses_are_of_some_classes() {
    let bench = Bench::new();
    let loss = |rest: &str| -> Value {
        let model = bench.str("base");
        let line = format!("loss --model {model} --data demo --count 60 --bands 2 --json {rest}");
        serde_json::from_str(&ok(&line)).unwrap()
    };
    let one = loss("--class 3");
    assert_eq!(one["class"], 3);
    assert_ne!(one["all"], loss("")["all"]);
}
