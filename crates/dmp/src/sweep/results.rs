//! Everything found so far, and its forms: a table, JSON, a picture.

mod against;
mod picture;
mod table;

use serde::Serialize;
use serde_json::Value;

use super::figure::Figure;
use super::plan::{Plan, Work, shell, whole};
use super::record::{Record, Trained};
use super::statistics::{Mean, change};

/// A half-done or finished sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Results {
    /// Seeds of every row, in the order of every list by seed.
    pub seeds: Vec<u64>,
    /// Steps of the sweep.
    pub steps: usize,
    /// Steps that are done.
    pub done: usize,
    /// The setting that changes are against.
    pub base: Option<String>,
    /// A row a setting.
    pub rows: Vec<Row>,
    /// What is measured, in the order of each row's cells.
    #[serde(skip)]
    columns: Vec<Column>,
}

/// What one column of figures holds.
#[derive(Debug, Clone, PartialEq)]
struct Column {
    evaluation: usize,
    /// What the table calls it.
    title: String,
    figure: Figure,
}

/// A setting and what came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The setting's name.
    pub name: String,
    /// The command that trains it, but for seed and folder; none of the bare model.
    pub train: Option<String>,
    /// Parameters of a model all of whose weights are trained.
    pub retrained_parameters: Option<u64>,
    /// Parameters that sampling needs beside the model's.
    pub added_parameters: Option<u64>,
    /// Seconds of training, over seeds.
    pub training_seconds: Option<Mean>,
    /// Figures of the evaluations.
    pub figures: Vec<Cell>,
}

/// One figure of one setting.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Name of the evaluation; empty for a lone one.
    pub evaluation: String,
    /// Its key in what `dmp eval --json` prints.
    pub figure: &'static str,
    /// By seed; null where it is not there yet.
    pub by_seed: Vec<Option<f64>>,
    /// Over the seeds that are there.
    pub mean: Option<Mean>,
    /// Per cent of the base setting's figure with the same seed; null where either is not there.
    pub change_by_seed: Vec<Option<f64>>,
    /// Their mean; none where the base's figure with some seed is not above 0.
    pub change: Option<Mean>,
}

impl Results {
    /// Of the records of `plan`'s steps, in their order.
    pub fn of(plan: &Plan, records: &[Option<Record>]) -> Self {
        let recipe = &plan.recipe;
        let found = Found { plan, records };
        let columns = found.columns();
        let base = recipe.settings.iter().position(|setting| setting.base);
        let values = |setting: usize, column: &Column| -> Vec<Option<f64>> {
            let value = |seed: &u64| {
                found.of(setting, *seed, Work::Evaluate(column.evaluation))?[column.figure.key]
                    .as_f64()
            };
            recipe.seeds.iter().map(value).collect()
        };
        let cell = |setting: usize, column: &Column| {
            let by_seed = values(setting, column);
            let against = match base.filter(|base| *base != setting) {
                Some(base) => values(base, column),
                None => vec![None; by_seed.len()],
            };
            // Where one seed's has no share that could be told, a mean of the others would be a choice among seeds.
            let shareless = by_seed.iter().zip(&against).any(|(value, base)| {
                matches!((*value, *base), (Some(value), Some(base)) if change(value, base).is_none())
            });
            let change_by_seed: Vec<Option<f64>> = by_seed
                .iter()
                .zip(against)
                .map(|(value, base)| change((*value)?, base?))
                .collect();
            Cell {
                evaluation: recipe.evaluations[column.evaluation].name.clone(),
                figure: column.figure.key,
                mean: Mean::of(by_seed.iter().flatten().copied()),
                by_seed,
                change: (!shareless)
                    .then(|| Mean::of(change_by_seed.iter().flatten().copied()))
                    .flatten(),
                change_by_seed,
            }
        };
        let row = |index: usize| {
            let setting = &recipe.settings[index];
            let trained: Vec<Trained> = recipe
                .seeds
                .iter()
                .filter_map(|seed| {
                    serde_json::from_value(found.of(index, *seed, Work::Train)?.clone()).ok()
                })
                .collect();
            let typed: Vec<String> = setting.train.typed().collect();
            Row {
                name: setting.name.clone(),
                train: (!setting.base)
                    .then(|| format!("dmp train {}", shell(&typed)).trim_end().to_owned()),
                retrained_parameters: trained
                    .first()
                    .and_then(|one| one.retrained_parameters)
                    .filter(|_| whole(setting)),
                added_parameters: match setting.base {
                    true => Some(0),
                    false => trained.first().and_then(|one| one.added_parameters),
                },
                training_seconds: Mean::of(trained.iter().map(|one| one.seconds)),
                figures: columns.iter().map(|column| cell(index, column)).collect(),
            }
        };
        Self {
            seeds: recipe.seeds.clone(),
            steps: records.len(),
            done: records.iter().flatten().count(),
            base: base.map(|base| recipe.settings[base].name.clone()),
            rows: (0..recipe.settings.len()).map(row).collect(),
            columns,
        }
    }

    /// All of it, for programs.
    ///
    /// # Errors
    /// None but of the JSON library's own.
    pub fn to_json(&self) -> serde_json::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// Records by what they are of.
struct Found<'a> {
    plan: &'a Plan,
    records: &'a [Option<Record>],
}

impl Found<'_> {
    fn of(&self, setting: usize, seed: u64, work: Work) -> Option<&Value> {
        let place =
            self.plan.steps().iter().position(|step| {
                step.setting == setting && step.seed == seed && step.work == work
            })?;
        self.records
            .get(place)?
            .as_ref()
            .map(|record| &record.found)
    }

    /// Every figure that some record has.
    fn columns(&self) -> Vec<Column> {
        let steps = self.plan.steps();
        let evaluations = &self.plan.recipe.evaluations;
        let mut columns = Vec::new();
        for (number, evaluation) in evaluations.iter().enumerate() {
            let of = |key: &str| {
                steps.iter().zip(self.records).any(|(step, record)| {
                    let found = record.as_ref().map(|record| &record.found);
                    step.work == Work::Evaluate(number)
                        && found.is_some_and(|found| found[key].is_number())
                })
            };
            for figure in Figure::ALL.into_iter().filter(|figure| of(figure.key)) {
                let title = match evaluation.name.as_str() {
                    "" => figure.title.to_owned(),
                    name => format!("{name}: {}", figure.title),
                };
                columns.push(Column {
                    evaluation: number,
                    title,
                    figure,
                });
            }
        }
        columns
    }
}

#[cfg(test)]
mod tests;
