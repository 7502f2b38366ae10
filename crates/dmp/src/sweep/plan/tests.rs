use super::*;

const RECIPE: &str = "out = 'runs/x'\nseeds = [4, 5]\n[train]\nmodel = 'm.safetensors'\n[eval]\ncount = 9\n\
    [[setting]]\nname = 'base'\nbase = true\n[[setting]]\nname = 'Full, tuned'\ntrain = { method = 'full' }\n\
    [[setting]]\nname = 'DMP'\n";

fn plan(text: &str, existing: &[String]) -> Plan {
    Plan::new(Recipe::parse(text).unwrap(), existing)
}

#[test]
fn every_setting_is_trained_and_measured_a_seed_after_the_other() {
    let plan = plan(RECIPE, &[]);
    let steps = plan.steps();
    let lines: Vec<String> = steps[..5]
        .iter()
        .map(|step| shell(&plan.words(*step)))
        .collect();
    let (full, dmp) = (plan.run(steps[1]), plan.run(steps[3]));
    let (full, dmp) = (full.display(), dmp.display());
    assert_eq!(
        lines,
        [
            "eval --count 9 --model m.safetensors --seed 4 --json".to_owned(),
            format!("train --method full --model m.safetensors --seed 4 --out {full}"),
            format!("eval --count 9 --seed 4 --model {full}/backbone.safetensors --json"),
            format!("train --model m.safetensors --seed 4 --out {dmp}"),
            format!(
                "eval --count 9 --model m.safetensors --seed 4 --patch {dmp}/patch.safetensors --json"
            ),
        ]
    );
    assert_eq!((steps.len(), steps[5].seed), (10, 5));
    assert_eq!(plan.name(steps[4]).to_string(), "DMP, seed 4: eval");
    assert!(full.to_string().starts_with("runs/x/full-tuned-"));
}

#[test]
fn what_is_measured_has_the_schedule_it_was_trained_with() {
    let text = RECIPE.replace("[eval]", "schedule = 'squaredcos_cap_v2'\n[eval]");
    let cosine = plan(&text, &[]);
    for step in cosine.steps() {
        let line = shell(&cosine.words(step));
        assert_eq!(
            line.matches("--schedule squaredcos_cap_v2").count(),
            1,
            "{line}"
        );
    }
    let base = cosine.steps()[0];
    assert_ne!(cosine.folder(base), plan(RECIPE, &[]).folder(base));
}

#[test]
fn other_flags_have_another_folder_and_another_name_the_same() {
    let first = plan(RECIPE, &[]);
    let step = first.steps()[3];
    let name = |plan: &Plan| {
        plan.folder(step)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let existing = [name(&first)];
    let renamed = RECIPE.replace("'DMP'", "'a patch'\ntrain = { log-every = 5 }");
    assert_eq!(name(&plan(&renamed, &existing)), name(&first));
    assert!(name(&plan(&renamed, &[])).starts_with("a-patch-"));
    let changed = RECIPE.replace("'DMP'", "'DMP'\ntrain = { steps = 5 }");
    assert_ne!(name(&plan(&changed, &existing)), name(&first));
}

#[test]
fn names_become_folders_and_words_a_command() {
    assert_eq!(
        slug("prompts 2, gate-rate 1e-4"),
        "prompts-2-gate-rate-1e-4"
    );
    assert_eq!(slug("../.."), "setting");
    assert_eq!(slug("Größe"), "größe");
    let words = ["a b", "it's", "", "x=1"].map(str::to_owned);
    assert_eq!(shell(&words), r"'a b' 'it'\''s' '' x=1");
}
