//! Running what is not done yet.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::Value;

use super::folder::Pages;
use super::program::{Program, Stderr};
use crate::output::write_atomic;
use crate::run::{Interrupted, RunDir};
use crate::sweep::record::{Records, Trained};
use crate::sweep::{Elsewhere, Pace, Plan, Record, Results, Step, Work};

/// A sweep under way.
pub(super) struct Sweep<'a> {
    pub(super) plan: &'a Plan,
    pub(super) steps: Vec<Step>,
    pub(super) records: Records<'a>,
    program: Program,
    pub(super) pages: Pages,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        elsewhere: Elsewhere<'a>,
        program: Program,
        pages: Pages,
    ) -> Self {
        Self {
            plan,
            steps: plan.steps(),
            records: Records::new(plan, elsewhere),
            program,
            pages,
        }
    }

    /// What only the commands themselves can tell, of every setting and evaluation that has something to do: whether
    /// model, data and reference are there, and whether flags go together.
    pub(super) fn check(&mut self) -> Result<()> {
        let mut checked: Vec<Vec<String>> = Vec::new();
        let mut kinds: Vec<Step> = Vec::new();
        for &step in &self.steps {
            // One seed stands for others, but not one that is done.
            if kinds.iter().any(|before| same_but_seed(*before, step))
                || self.records.current(step)?.is_some()
            {
                continue;
            }
            kinds.push(step);
            // What is to be measured is not there yet; its model is, and stands for it.
            let words = match step.work {
                Work::Train => self.plan.words(step),
                Work::Evaluate(_) => self.plan.bare_words(step),
            };
            if checked.contains(&words) {
                continue;
            }
            let dry = [words.as_slice(), &["--dry-run".to_owned()]].concat();
            self.program
                .run(&dry, Stderr::Hidden)
                .map_err(|error| self.stopped(error, || self.plan.place(step)))?;
            checked.push(words);
        }
        Ok(())
    }

    /// Does every step that is not done.
    pub(super) fn run(&mut self) -> Result<()> {
        let mut pace = Pace::default();
        let found = self.found()?;
        for (step, record) in self.steps.iter().zip(found) {
            if let Some(record) = record {
                pace.add(step.work, record.seconds);
            }
        }
        for index in 0..self.steps.len() {
            let step = self.steps[index];
            if self.records.current(step)?.is_some() {
                continue;
            }
            if self.program.interrupted() {
                return Err(self.stopped(Interrupted(String::new()).into(), String::new));
            }
            let rest = self.rest(index)?;
            crate::tell!(
                "[{} of {}] {}{}",
                index + 1,
                self.steps.len(),
                self.plan.name(step),
                pace.words(&rest)
            );
            let start = Instant::now();
            let found = self
                .act(step)
                .map_err(|error| self.stopped(error, || self.plan.name(step).to_string()))?;
            let seconds = start.elapsed().as_secs_f64();
            self.records.keep(step, seconds, found)?;
            self.tidy(step)?;
            pace.add(step.work, seconds);
            self.write()?;
        }
        // Those of a step that was stopped, and that the recipe has no longer.
        for index in 0..self.steps.len() {
            self.tidy(self.steps[index])?;
        }
        Ok(())
    }

    /// Writes what was found so far.
    pub(super) fn write(&mut self) -> Result<Results> {
        let results = Results::of(self.plan, &self.found()?);
        let picture = self.pages.picture();
        if let Some(svg) = results.to_svg()? {
            write_atomic(&picture, svg.as_bytes())?;
        }
        let name = picture.file_name().unwrap_or_default().to_string_lossy();
        let text = results.to_markdown(&name);
        write_atomic(&self.pages.json(), results.to_json()?.as_bytes())?;
        write_atomic(&self.pages.text(), text.as_bytes())?;
        Ok(results)
    }

    fn found(&mut self) -> Result<Vec<Option<Record>>> {
        self.steps
            .iter()
            .map(|step| self.records.current(*step))
            .collect()
    }

    /// Work of the steps from `index` on that are not done.
    fn rest(&mut self, index: usize) -> Result<Vec<Work>> {
        let mut rest = Vec::new();
        for step in &self.steps[index..] {
            if self.records.current(*step)?.is_none() {
                rest.push(step.work);
            }
        }
        Ok(rest)
    }

    fn act(&mut self, step: Step) -> Result<Value> {
        let mut words = self.plan.words(step);
        // In a folder, so that what is stopped goes on, and other steps that measure the same need not draw it.
        let images = self.images(step)?;
        words.extend(
            images
                .into_iter()
                .flat_map(|folder| ["--out".to_owned(), folder.display().to_string()]),
        );
        let printed = self.program.run(&words, Stderr::Shown)?;
        match step.work {
            Work::Train => Ok(serde_json::to_value(self.trained(step)?)?),
            Work::Evaluate(_) => serde_json::from_str(&printed)
                .context("what it printed is no JSON; this is a fault of the program"),
        }
    }

    /// What is worth keeping of a finished training.
    fn trained(&self, step: Step) -> Result<Trained> {
        let product = self.plan.product(step).filter(|path| path.is_file());
        let product = product.with_context(|| {
            format!(
                "{} has no file of what was trained; this is a fault of the program",
                self.plan.run(step).display()
            )
        })?;
        let words = ["inspect", &product.display().to_string(), "--json"].map(str::to_owned);
        let shown = self.program.run(&words, Stderr::Hidden)?;
        let shown: Value = serde_json::from_str(&shown).unwrap_or_default();
        let whole = shown["kind"] == "backbone";
        Ok(Trained {
            seconds: RunDir::at(self.plan.run(step)).training_seconds()?,
            added_parameters: if whole {
                Some(0)
            } else {
                shown["added_parameters"].as_u64()
            },
            retrained_parameters: shown["parameters"].as_u64().filter(|_| whole),
        })
    }

    /// An error with its place, or how to go on after Ctrl-C.
    fn stopped(&self, error: anyhow::Error, place: impl Fn() -> String) -> anyhow::Error {
        if !error.is::<Interrupted>() {
            return error.context(place());
        }
        let results = self.pages.text();
        let so_far = match results.exists() {
            true => format!("; {} has what is done", results.display()),
            false => String::new(),
        };
        Interrupted(format!(
            "the sweep was stopped{so_far}; run the same command to go on"
        ))
        .into()
    }
}

fn same_but_seed(one: Step, other: Step) -> bool {
    (one.setting, one.work) == (other.setting, other.work)
}
