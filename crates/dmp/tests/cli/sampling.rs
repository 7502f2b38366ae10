//! Images drawn into a folder.

use std::fs;

use crate::harness::{Bench, ok, says};

#[test]
fn images_are_drawn_into_a_folder() {
    let bench = Bench::new();
    let (model, folder) = (bench.str("base"), bench.str("images"));
    ok(&format!(
        "sample --model {model} --count 3 --sampling-steps 2 --guidance 2 --sampler ddim --out {folder}"
    ));
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            ".lock",
            "000000.png",
            "000001.png",
            "000002.png",
            "sampling.toml"
        ]
    );
    let picture = image::open(bench.path("images/000002.png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (28, 28));

    // Classes take turns, and an image is what it is when its class is the only one.
    let draw = |folder: &str, rest: &str| {
        let out = bench.str(folder);
        ok(&format!(
            "sample --model demo --count 3 --sampling-steps 2 --batch 1 --out {out} {rest}"
        ));
        fs::read(bench.path(&format!("{folder}/000002.png"))).unwrap()
    };
    let third = draw("turns", "--class 3,7-8");
    assert_eq!(third, draw("eighth", "--class 8"));
    assert_ne!(third, draw("seventh", "--class 7"));
}

/// What was stopped, or asked for more images, gives what one sampling would have.
#[test]
fn a_folder_of_images_is_gone_on_with() {
    let bench = Bench::new();
    let model = bench.str("base");
    let draw = |folder: &str, rest: &str| {
        ok(&format!(
            "sample --model {model} --sampling-steps 2 --batch 1 --out {} {rest}",
            bench.str(folder)
        ))
    };
    draw(
        "whole",
        &format!("--count 9 --npz {}", bench.str("whole.npz")),
    );
    draw("parts", "--count 4");
    let first = bench.path("parts/000000.png");
    let written = fs::metadata(&first).unwrap().modified().unwrap();
    fs::remove_file(bench.path("parts/000003.png")).unwrap();
    // None of the images, whatever the number.
    fs::write(bench.path("parts/3.png"), "mine").unwrap();
    draw(
        "parts",
        &format!("--count 9 --npz {}", bench.str("parts.npz")),
    );
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
    for index in 0..9 {
        let name = format!("{index:06}.png");
        let [whole, parts] =
            ["whole", "parts"].map(|folder| bench.bytes(&format!("{folder}/{name}")));
        assert_eq!(whole, parts, "{name}");
    }
    assert_eq!(bench.bytes("whole.npz"), bench.bytes("parts.npz"));
}

/// What a sampling would mix with or overwrite is the user's.
#[test]
fn a_folder_of_other_images_is_refused() {
    let bench = Bench::new();
    let (model, folder) = (bench.str("base"), bench.str("images"));
    let draw = |count: usize, rest: &str| {
        format!("sample --model {model} --count {count} --sampling-steps 2 --out {folder} {rest}")
    };
    ok(&draw(2, ""));
    says(
        &draw(2, "--seed 1"),
        &["seed = 0", "seed = 1", "another folder"],
    );
    says(&draw(1, ""), &["000001.png", "another folder"]);
    says(
        &draw(2, "--seed 9223372036854775808"),
        &["--seed", "largest"],
    );
    fs::create_dir(bench.path("others")).unwrap();
    fs::write(bench.path("others/000000.png"), "mine").unwrap();
    says(
        &draw(2, "").replace(&folder, &bench.str("others")),
        &["others", "sampling.toml", "another folder"],
    );
    assert_eq!(bench.bytes("others/000000.png"), b"mine");
    fs::remove_file(bench.path("others/000000.png")).unwrap();
    fs::write(bench.path("others/sampling.toml"), "mine = 1").unwrap();
    says(
        &draw(2, "").replace(&folder, &bench.str("others")),
        &["sampling.toml", "another folder"],
    );
    assert_eq!(bench.bytes("others/sampling.toml"), b"mine = 1");
    says(
        &draw(2, &format!("--grid {folder}/000001.png")),
        &["--grid", "give another"],
    );
    let image = bench.bytes("images/000001.png");
    fs::write(bench.path("images/000001.png"), &image[..40]).unwrap();
    says(&draw(2, ""), &["000001.png", "damaged"]);
    let lock = fs::File::create(bench.path("images/.lock")).unwrap();
    lock.lock().unwrap();
    says(&draw(2, ""), &["images", "another process"]);
    says(&draw(2, "--eta 0.5"), &["--eta", "ddim"]);
    says(
        &draw(2, &format!("--grid {}/no/x.png", bench.str("nowhere"))),
        &["does not exist"],
    );
}
