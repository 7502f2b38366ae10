//! The table of a sweep.

use super::{Cell, Column, Results, Row};
use crate::report::table::{Column as Heading, Table};
use crate::sweep::figure::{write_change, write_seconds};
use crate::sweep::statistics::Mean;

/// What stands where nothing was found yet.
pub(super) const MISSING: &str = "…";

impl Results {
    /// A row a setting.
    pub fn table(&self) -> Table {
        let mut headings = vec![
            Heading::text("setting"),
            Heading::number("parameters added"),
            Heading::number("training"),
        ];
        for column in &self.columns {
            headings.push(Heading::number(&column.title));
            if self.base.is_some() {
                headings.push(Heading::number("change"));
            }
        }
        let mut table = Table::new(headings);
        for row in &self.rows {
            table.push(self.cells(row));
        }
        table
    }

    /// A page of text; `picture` is the file that [`Self::to_svg`] is written to, beside it.
    pub fn to_markdown(&self, picture: &str) -> String {
        let mut text = format!("# Results of a sweep\n\n{}\n", self.table().to_markdown());
        text.push_str(&self.note());
        if self.drawn() {
            text.push_str(&format!(
                "\n![each setting's figures with their intervals](<{picture}>)\n"
            ));
        }
        text.push_str("\nWhat was trained, each with `--seed` and `--out` beside it:\n\n");
        for row in &self.rows {
            let what = row.train.as_ref().map_or_else(
                || "nothing; the bare model".to_owned(),
                |line| format!("`{line}`"),
            );
            text.push_str(&format!("- {}: {what}\n", row.name));
        }
        text
    }

    /// What the numbers of the table are.
    fn note(&self) -> String {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let mut note = match seeds.as_slice() {
            [seed] => format!("One seed, {seed}."),
            _ => format!(
                "Means over seeds {}, ± one standard error.",
                seeds.join(", ")
            ),
        };
        if let Some(base) = &self.base {
            note.push_str(&format!(
                " Changes are against '{base}' with the same seed, in per cent"
            ));
            note.push_str(match seeds.len() {
                1 => ".",
                _ => "; in brackets the 95 % interval of their mean (Student's t).",
            });
        }
        if self.done < self.steps {
            note.push_str(&format!(
                " {} of {} steps are done; {MISSING} is not there yet.",
                self.done, self.steps
            ));
        }
        note + "\n"
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let mut cells = vec![row.name.clone(), parameters(row), self.training(row)];
        let base = self
            .rows
            .iter()
            .find(|row| self.base.as_ref() == Some(&row.name));
        for (index, (column, cell)) in self.columns.iter().zip(&row.figures).enumerate() {
            cells.push(self.figure(column, cell));
            if let Some(base) = base {
                cells.push(match base.name == row.name {
                    true => String::new(),
                    false => self.change(cell, &base.figures[index]),
                });
            }
        }
        cells
    }

    fn training(&self, row: &Row) -> String {
        match &row.training_seconds {
            _ if row.train.is_none() => String::new(),
            None => MISSING.to_owned(),
            Some(mean) => self.so_far(mean, write_seconds(mean.mean)),
        }
    }

    fn figure(&self, column: &Column, cell: &Cell) -> String {
        match &cell.mean {
            None => MISSING.to_owned(),
            Some(mean) => self.so_far(mean, column.figure.write(mean)),
        }
    }

    fn change(&self, cell: &Cell, base: &Cell) -> String {
        let mut pairs = cell.by_seed.iter().zip(&base.by_seed);
        match &cell.change {
            Some(mean) => self.so_far(mean, write_change(mean)),
            // Both are there, and what the base has is nothing, of which nothing is a share.
            None if pairs.any(|(one, other)| one.is_some() && other.is_some()) => "–".to_owned(),
            None => MISSING.to_owned(),
        }
    }

    /// Marks what is not of all seeds.
    pub(super) fn so_far(&self, mean: &Mean, text: String) -> String {
        if mean.count < self.seeds.len() {
            format!("{text} [{} of {}]", mean.count, self.seeds.len())
        } else {
            text
        }
    }
}

fn parameters(row: &Row) -> String {
    match (row.added_parameters, row.retrained_parameters) {
        (Some(added), Some(all)) => format!("{added} ({all} retrained)"),
        (Some(added), None) => added.to_string(),
        (None, _) if row.training_seconds.is_some() => "?".to_owned(),
        (None, _) => MISSING.to_owned(),
    }
}
