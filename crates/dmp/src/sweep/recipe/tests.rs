use super::*;

const HEAD: &str = "out = 'runs/x'\nseeds = [1, 2]\n";

fn recipe(rest: &str) -> Result<Recipe> {
    Recipe::parse(&format!("{HEAD}{rest}"))
}

fn typed(words: &Words) -> String {
    words.typed().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_list_has_the_common_flags_and_its_own() {
    let recipe = recipe(
        "[train]\nsteps = 20\ndecay = 'cosine'\n[eval]\ncount = 50\n\
         [[setting]]\nname = 'bare'\nbase = true\n\
         [[setting]]\nname = 'mixture'\ntrain = { position = 'mix', steps = 30 }",
    )
    .unwrap();
    assert_eq!(
        (recipe.out.as_path(), recipe.seeds.as_slice()),
        (Path::new("runs/x"), [1, 2].as_slice())
    );
    let [bare, mixture] = &recipe.settings[..] else {
        panic!("{recipe:?}");
    };
    assert!(bare.base && !mixture.base);
    assert_eq!(
        typed(&mixture.train),
        "--decay cosine --position mix --steps 30"
    );
    assert_eq!(recipe.evaluations.len(), 1);
    assert_eq!(typed(&recipe.evaluations[0].flags), "--count 50");
}

#[test]
fn a_grid_is_every_combination_named_by_what_differs() {
    let recipe =
        recipe("[eval]\n[grid]\nprompts = [2, 4]\nposition = ['mix']\ngate-rate = [1e-4, 1e-3]")
            .unwrap();
    let names: Vec<&str> = recipe
        .settings
        .iter()
        .map(|setting| setting.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "prompts 2, gate-rate 0.0001",
            "prompts 2, gate-rate 0.001",
            "prompts 4, gate-rate 0.0001",
            "prompts 4, gate-rate 0.001",
        ]
    );
    assert_eq!(
        typed(&recipe.settings[2].train),
        "--gate-rate 0.0001 --position mix --prompts 4"
    );
}

#[test]
fn several_evaluations_have_names() {
    let recipe = recipe(
        "[[eval]]\nname = 'embedded'\ncount = 9\n[[eval]]\nname = 'real'\nmetrics = ['fid', 'kid']\n[grid]\nsteps = [1]",
    )
    .unwrap();
    let names: Vec<&str> = recipe
        .evaluations
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["embedded", "real"]);
    assert_eq!(recipe.settings[0].name, "grid");
}

/// Every refusal names the place and the key, and says what to do.
#[test]
fn what_makes_no_sense_is_refused() {
    const EVAL: &str = "[eval]\ncount = 9\n";
    let with = |rest: &str| format!("{HEAD}{EVAL}{rest}");
    for (text, says) in [
        (
            "out = 'x'\nseeds = []\n[eval]\n".to_owned(),
            &["'seeds' is empty"][..],
        ),
        (
            "out = 'x'\nseeds = [1, 1]\n[eval]\n".to_owned(),
            &["1 twice"],
        ),
        (
            "out = ''\nseeds = [1]\n[eval]\n".to_owned(),
            &["'out' is empty"],
        ),
        ("seeds = [1]".to_owned(), &["line 1", "`out`"]),
        (format!("{HEAD}colour = 3"), &["line 3", "colour", "--help"]),
        (format!("{HEAD}= 3"), &["line 3"]),
        (HEAD.to_owned(), &["no [eval]"]),
        (format!("{HEAD}eval = 3"), &["'eval' is no table"]),
        (with(""), &["[[setting]]", "[grid]"]),
        (with("[[setting]]\nname = ' '"), &["empty 'name'"]),
        (
            with("[[setting]]\nname = 'a'\nrate = 3"),
            &["line 7", "rate"],
        ),
        (
            with("[[setting]]\nname = 'a'\ntrain = { seed = 3 }"),
            &["setting 'a'", "'seed'", "'seeds'"],
        ),
        (
            with("[[setting]]\nname = 'a'\nbase = true\ntrain = { steps = 3 }"),
            &["setting 'a'", "'base"],
        ),
        (
            with("[[setting]]\nname = 'a'\n[[setting]]\nname = 'a'"),
            &["named 'a'"],
        ),
        (
            with("[[setting]]\nname = 'a'\n[[setting]]\nname = 'b'"),
            &["'a' and 'b'", "same flags"],
        ),
        (
            with("[[setting]]\nname = 'a'\nbase = true\n[[setting]]\nname = 'b'\nbase = true"),
            &["'a' and 'b'", "base"],
        ),
        (
            with("[grid]\nprompts = 3"),
            &["[grid]", "'prompts' is no list"],
        ),
        (with("[grid]\nprompts = []"), &["[grid]", "empty list"]),
        (with("[grid]\nout = ['a']"), &["[grid]", "'out'"]),
        (
            format!("{HEAD}[eval]\njson = true\n[grid]\nsteps = [1]"),
            &["[eval]", "'json'"],
        ),
        (
            format!("{HEAD}[[eval]]\n[[eval]]\nname = 'b'\n"),
            &["number 1", "'name'"],
        ),
        (
            format!("{HEAD}[[eval]]\nname = 'a'\n[[eval]]\nname = 'a'\ncount = 3\n"),
            &["number 2", "'a'"],
        ),
    ] {
        let error = format!("{:#}", Recipe::parse(&text).unwrap_err());
        for word in says {
            assert!(error.contains(word), "no '{word}' in: {error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_recipes_of_the_repository_are_some() {
    for (text, seeds) in [
        (include_str!("../../../../../recipes/order.toml"), 3),
        (include_str!("../../../../../recipes/order-512.toml"), 3),
        (include_str!("../../../../../recipes/ablations.toml"), 1),
        (
            include_str!("../../../../../recipes/ablations-again.toml"),
            3,
        ),
        (
            include_str!("../../../../../recipes/ablations-held-out.toml"),
            3,
        ),
        (include_str!("../../../../../recipes/rates.toml"), 1),
        (include_str!("../../../../../recipes/rates-again.toml"), 3),
        (
            include_str!("../../../../../recipes/stable-targets.toml"),
            3,
        ),
        (include_str!("../../../../../recipes/timesteps.toml"), 2),
        (include_str!("../../../../../recipes/fid.toml"), 3),
        (include_str!("../../../../../recipes/sizes.toml"), 3),
        (include_str!("../../../../../recipes/below.toml"), 1),
        (include_str!("../../../../../recipes/lora-below.toml"), 1),
        (include_str!("../../../../../recipes/transfer.toml"), 3),
        (include_str!("../../../../../recipes/longer.toml"), 3),
    ] {
        let recipe = Recipe::parse(text).unwrap();
        assert_eq!(recipe.seeds.len(), seeds);
        // What the others are compared with, once.
        let bases = recipe.settings.iter().filter(|setting| setting.base);
        assert_eq!(bases.count(), 1);
        assert!(recipe.settings[0].base && recipe.settings.len() > 1);
    }
}
