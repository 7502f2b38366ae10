//! Runs whose flags are in a file.

use std::fs;
use std::path::Path;

use crate::harness::{Bench, ok, refused};

/// What a dry run prints.
fn plan(line: &str) -> toml::Table {
    ok(line).parse().unwrap()
}

fn published(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    folder.join(name).display().to_string()
}

#[test]
fn the_papers_recipes_are_planned_without_their_models() {
    for (name, parameters, added) in [
        ("ffhq-dit-l2.toml", 6_554_112, "1.43"),
        ("ffhq-dit-b2.toml", 2_556_416, "1.97"),
        ("imagenet-dit-xl2.toml", 8_552_960, "1.27"),
    ] {
        let recipe = published(name);
        let plan = plan(&format!("train {recipe} --dry-run"));
        let estimate = plan["estimate"].as_table().unwrap();
        assert_eq!(
            estimate["added_parameters"].as_integer(),
            Some(parameters),
            "{name}"
        );
        let percent = estimate["added_percent"].as_float().unwrap();
        assert_eq!(format!("{percent:.2}"), added, "{name}");
        assert_eq!(plan["prompt_rate"].as_float(), Some(1e-4), "{name}");
        assert!(estimate["step_flops"].as_integer() > Some(1_000_000_000_000));
    }
}

#[test]
fn flags_of_a_file_are_those_of_the_command_line_which_wins() {
    let bench = Bench::new();
    let recipe = bench.str("recipe.toml");
    let write = |text: &str| fs::write(&recipe, text).unwrap();
    let (model, out) = (bench.str("base"), bench.str("run"));
    write(&format!(
        "[train]\nmodel = '{model}'\nout = '{out}'\nbatch = 4\nsteps = 2\nprompts = 3\nposition = 'mix'\nseed = 7\n"
    ));
    let plan = plan(&format!("train {recipe} --seed 8 --dry-run"));
    let number = |name: &str| plan[name].as_integer();
    assert_eq!((number("seed"), number("steps")), (Some(8), Some(2)));
    assert_eq!(plan["patch"]["num_prompts"].as_integer(), Some(3));
    assert!(!bench.path("run").exists(), "a dry run writes nothing");

    ok(&format!("train {recipe}"));
    let typed = format!(
        "train --model {model} --out {} --batch 4 --steps 2 --prompts 3 --position mix --seed 7",
        bench.str("typed")
    );
    ok(&typed);
    let patch = |run: &str| bench.bytes(&format!("{run}/patch.safetensors"));
    assert_eq!(patch("run"), patch("typed"));

    let train = format!("train {recipe}");
    for (text, says) in [
        (
            "[train]\npromts = 3",
            "no flag --promts; did you mean 'prompts'?",
        ),
        ("[train]\ndry-run = true", "--dry-run on the command line"),
        ("seeds = [1]\n[train]\n", "run 'dmp sweep"),
        ("[trian]\n", "'trian' is not known here"),
        ("steps = 3", "'steps' is not known here"),
        ("seeds = [1]\n[eval]\ncount = 4\n", "run 'dmp sweep"),
        ("[train", "is no TOML"),
        (
            "[train]\nsteps = 'many'",
            "invalid value 'many' for '--steps",
        ),
        ("[train]\nposition = 'left'", "invalid value 'left'"),
        ("", "has no table [train]"),
    ] {
        write(text);
        let error = refused(&train);
        assert!(
            error.contains(says) && error.contains("recipe.toml"),
            "{error}"
        );
        assert_eq!(error.trim().lines().count(), 1, "{error}");
    }
    let error = refused(&format!("train {} --out x", bench.str("none.toml")));
    assert!(
        error.contains("none.toml") && error.contains("cannot be read"),
        "{error}"
    );
}

#[test]
fn a_model_that_is_here_must_be_the_expected_one() {
    let bench = Bench::empty();
    let line = format!("train --preset dit-s-2 --out {}", bench.str("run"));
    let error = refused(&line);
    assert!(error.contains("width 384, and the model 64"), "{error}");
}
