use serde_json::json;

use super::*;
use crate::sweep::Recipe;

const RECIPE: &str = "out = 'x'\nseeds = [1, 2]\n[eval]\n[[setting]]\nname = 'base'\nbase = true\n\
    [[setting]]\nname = 'full'\ntrain = { method = 'full' }\n[[setting]]\nname = 'a|b'\n";

fn plan(recipe: &str) -> Plan {
    Plan::new(Recipe::parse(recipe).unwrap(), &[])
}

fn plan_without_base() -> Plan {
    plan(&RECIPE.replace("[[setting]]\nname = 'base'\nbase = true\n", ""))
}

/// Records of every step: figures that differ by setting and seed.
fn records(plan: &Plan) -> Vec<Option<Record>> {
    let record = |found| {
        Some(Record {
            command: String::new(),
            inputs: Default::default(),
            product: None,
            seconds: 1.0,
            found,
        })
    };
    let steps = plan.steps().into_iter();
    steps
        .map(|step| match step.work {
            Work::Train if step.setting == 1 => {
                record(json!({"seconds": 60.0, "added_parameters": 0, "retrained_parameters": 500}))
            }
            Work::Train => record(
                json!({"seconds": 30.0, "added_parameters": 7, "retrained_parameters": null}),
            ),
            Work::Evaluate(_) => {
                let bare = 10.0 + step.seed as f64;
                let frechet =
                    [bare, bare * 1.1, bare * (0.8 + 0.02 * step.seed as f64)][step.setting];
                record(json!({"frechet": frechet, "count": 9, "accuracy": 0.5}))
            }
        })
        .collect()
}

#[test]
fn changes_are_paired_by_seed() {
    let plan = plan(RECIPE);
    let results = Results::of(&plan, &records(&plan));
    // Figures of seeds 1 and 2 differ by more than the settings do; the pairs do not.
    let full = &results.rows[1].figures[0];
    assert_eq!(full.by_seed, [Some(11.0 * 1.1), Some(12.0 * 1.1)]);
    let change = full.change.unwrap();
    assert!((change.mean - 10.0).abs() < 1e-9 && change.standard_error.unwrap() < 1e-9);
    let patch = results.rows[2].figures[0].change.unwrap();
    let [low, high] = patch.interval.unwrap();
    assert!((patch.mean + 17.0).abs() < 1e-9 && (patch.standard_error.unwrap() - 1.0).abs() < 1e-9);
    assert!((high - low - 2.0 * 12.706_204_736).abs() < 1e-6);
    assert!(results.rows[0].figures[0].change.is_none());
}

#[test]
fn any_setting_can_be_held_against_the_others() {
    let plan = plan(RECIPE);
    let results = Results::of(&plan, &records(&plan));
    let text = results.against("full").unwrap();
    for part in [
        "Fréchet distance, percentage points of its change against 'base', against 'full' with the same seed:",
        "| base    | −10.00 | −10.00 |",
        // Changes of −18 and −16 per cent, less 10.
        "| a\\|b    | −28.00 | −26.00 |     −27.0 ± 1.0 (−39.7 to −14.3) |",
        "accuracy, percentage points, against 'full'",
        "+0.00 |",
    ] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    assert!(!text.contains("| full"), "{text}");
    let error = results.against("none").unwrap_err();
    assert!(error.contains("'base', 'full', 'a|b'"), "{error}");
    let without = plan_without_base();
    let error = Results::of(&without, &[]).against("full").unwrap_err();
    assert!(error.contains("base = true"), "{error}");
}

#[test]
fn a_table_has_a_row_a_setting() {
    let plan = plan(RECIPE);
    let text = Results::of(&plan, &records(&plan)).to_markdown("two.svg");
    for part in [
        "parameters added | training | Fréchet distance |",
        "| base    |",
        "0 (500 retrained) |",
        "60.0 s |",
        "| a\\|b    |",
        "−17.0 ± 1.0 % (−29.7 to −4.3) |",
        "50.00 ± 0.00 % |",
        "Means over seeds 1, 2",
        "against 'base'",
        "(<two.svg>)",
        "- full: `dmp train --method full`",
    ] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    assert!(!text.contains('…'), "{text}");
}

#[test]
fn what_is_missing_is_marked() {
    let plan = plan(RECIPE);
    let mut records = records(&plan);
    // The second seed of the last setting, and all of the one before it.
    records[9] = None;
    records[2] = None;
    records[7] = None;
    let results = Results::of(&plan, &records);
    let text = results.to_markdown("two.svg");
    assert!(text.contains("[1 of 2]") && text.contains(" … |"), "{text}");
    assert!(text.contains("7 of 10 steps are done"), "{text}");
    let none = Results::of(&plan, &vec![None; 10]);
    assert!(none.to_markdown("two.svg").contains(" … |") && none.to_svg().unwrap().is_none());
    let json: Value = serde_json::from_str(&results.to_json().unwrap()).unwrap();
    assert_eq!(json["rows"][2]["figures"][0]["by_seed"][1], Value::Null);
    assert_eq!(json["base"], "base");
}

#[test]
fn without_a_base_there_are_no_changes() {
    let plan = plan_without_base();
    let results = Results::of(&plan, &vec![None; 8]);
    assert!(!results.to_markdown("two.svg").contains("change"));
    let mut records = records(&plan);
    records[0] = None;
    let svg = Results::of(&plan, &records).to_svg().unwrap().unwrap();
    assert!(svg.contains("Fréchet distance") && !svg.contains("against"));
}

#[test]
fn evaluations_are_told_apart() {
    let two = RECIPE.replace(
        "[eval]",
        "[[eval]]\nname = 'near'\n[[eval]]\nname = 'far'\ncount = 3",
    );
    let plan = plan(&two);
    let text = Results::of(&plan, &records(&plan)).to_markdown("two.svg");
    assert!(
        text.contains("near: Fréchet distance") && text.contains("far: accuracy"),
        "{text}"
    );
}
