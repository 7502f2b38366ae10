//! Images that are measured: kept, taken again and removed.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Bench, dmp, ok, refused, rewind};
use crate::sweep::{recipe, sweep};

#[test]
fn measured_images_are_kept_and_taken_again() {
    let bench = Bench::new();
    let (model, out) = (bench.str("base"), bench.str("images"));
    let draw = format!("--model {model} --count 5 --sampling-steps 2 --batch 2");
    let (sampled, array) = (bench.str("sampled"), bench.str("x.npz"));
    ok(&format!("sample {draw} --out {sampled} --npz {array}"));
    let plain = ok(&format!("eval {draw} --json"));

    let line = format!("eval {draw} --out {out}");
    ok(&format!("{line} --dry-run"));
    assert!(!bench.path("images").exists(), "a dry run writes nothing");
    assert_eq!(ok(&format!("{line} --json")), plain);
    let name = |index: usize| format!("images/{index:06}.png");
    for index in 0..5 {
        let other = name(index).replace("images", "sampled");
        assert_eq!(bench.bytes(&name(index)), bench.bytes(&other));
    }

    // A kept image is measured as it is, and one that is missing is drawn.
    let changed = || fs::metadata(bench.path(&name(0))).unwrap().modified();
    let first = changed().unwrap();
    fs::remove_file(bench.path(&name(3))).unwrap();
    // As a process leaves it that was killed.
    let cut_off = bench.path("images/.dmp-x.tmp");
    fs::write(&cut_off, "half").unwrap();
    let stderr = dmp(&format!("{line} --reference validation")).stderr;
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(stderr.contains("3 of 5 images are there"), "{stderr}");
    assert_eq!(changed().unwrap(), first);
    assert!(bench.path(&name(3)).exists() && !cut_off.exists());
    assert_eq!(ok(&format!("{line} --json")), plain);
    let black = image::GrayImage::new(28, 28);
    black.save(bench.path(&name(0))).unwrap();
    assert_ne!(ok(&format!("{line} --json")), plain);

    for (line, says) in [
        (format!("{line} --seed 1"), "seed = 1"),
        (
            format!("eval {out} --reference {array} --out {out}"),
            "--out is for what a model draws",
        ),
        (format!("{line} --reference {out}"), "lies within"),
    ] {
        let error = refused(&line);
        assert!(error.contains(says), "{error}");
    }
}

/// Every folder of images of a sweep, and when its first image was written.
fn folders(bench: &Bench) -> Vec<(PathBuf, std::time::SystemTime)> {
    let inside = |path: PathBuf| {
        fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let settings = inside(bench.path("sweep")).filter(|path| path.is_dir());
    let mut found: Vec<_> = settings
        .flat_map(inside)
        .filter(|path| path.display().to_string().contains(".images-"))
        .map(|path| {
            let first = fs::metadata(path.join("000000.png")).unwrap();
            (path, first.modified().unwrap())
        })
        .collect();
    found.sort();
    found
}

const EVALS: &str = "[[eval]]\nname = 'one'\ncount = 4\nsampling-steps = '2'\n\
    [[eval]]\nname = 'other'\ncount = 4\nsampling-steps = '2'\nreference = 'validation'\n";

const SETTINGS: &str = "[[setting]]\nname = 'bare'\nbase = true\n[[setting]]\nname = 'patch'\n";

#[test]
fn a_sweep_keeps_images_if_it_is_told_to() {
    let bench = Bench::new();
    let write = |evals: &str, keep: &str| {
        let path = recipe(&bench, "[1]", &format!("{evals}{SETTINGS}"));
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{keep}{text}")).unwrap();
        format!("sweep {path}")
    };
    let figures = || -> Value {
        let json: Value =
            serde_json::from_slice(&bench.bytes("sweep/results-recipe.json")).unwrap();
        let figures = |row: usize| json["rows"][row]["figures"].clone();
        Value::from(vec![figures(0), figures(1)])
    };
    sweep(&write(EVALS, ""));
    assert_eq!(folders(&bench), []);
    let plain = figures();

    // One measurement, and later another of the same images.
    fs::remove_dir_all(bench.path("sweep")).unwrap();
    let one = &EVALS[..EVALS.rfind("[[").unwrap()];
    sweep(&write(one, "keep-images = true\n"));
    let kept = folders(&bench);
    assert_eq!(kept.len(), 2);
    let line = write(EVALS, "keep-images = true\n");
    assert_eq!(
        sweep(&line).1,
        ["bare, seed 1: eval other", "patch, seed 1: eval other"]
    );
    assert_eq!((folders(&bench), figures()), (kept.clone(), plain.clone()));

    // They stay whatever is done, also for a recipe that keeps none.
    let patch = kept.iter().map(|(path, _)| path.parent().unwrap());
    let patch = patch.map(|folder| folder.join("seed-1"));
    let run = patch.into_iter().find(|run| run.exists()).unwrap();
    rewind(&run, "patch.safetensors");
    assert_eq!(sweep(&write(EVALS, "")).1, ["patch, seed 1: train"]);
    assert_eq!((folders(&bench), figures()), (kept, plain));

    let error = refused(&write(&EVALS.replace("count", "out = 'x'\ncount"), ""));
    assert!(
        error.contains("'out'") && error.contains("keep-images"),
        "{error}"
    );
}

/// Images of a model that has changed are drawn again, and those that no step needs any more go.
#[test]
fn images_of_another_model_are_not_measured() {
    let bench = Bench::new();
    bench.pretrain("other", "--seed 1");
    let recipe = |rest: &str| {
        let eval = format!(
            "[eval]\nsampling-steps = '2'\ncount = {rest}\n[[setting]]\nname = 'bare'\nbase = true\n"
        );
        format!("sweep {}", recipe(&bench, "[1]", &eval))
    };
    sweep(&recipe("4"));
    let record = || {
        let settings = fs::read_dir(bench.path("sweep"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        settings.into_iter().find(|path| path.is_dir()).unwrap()
    };
    // As an evaluation leaves them that was stopped, of this recipe and of another, and of a number that it has no longer.
    let left = |name: &str, owner: &str| {
        let folder = record().join(format!("seed-1.images-{name}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".sweep"), owner).unwrap();
        fs::write(folder.join("000000.png"), "").unwrap();
    };
    left("ours", "results-recipe\n");
    left("theirs", "results-another\n");
    fs::copy(
        bench.path("other/backbone.safetensors"),
        bench.path("base/backbone.safetensors"),
    )
    .unwrap();
    assert_eq!(sweep(&recipe("4")).1, ["bare, seed 1: eval"]);
    let left: Vec<_> = folders(&bench).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, [record().join("seed-1.images-theirs")]);
}
