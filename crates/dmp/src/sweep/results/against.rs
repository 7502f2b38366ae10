//! One setting held against every other, seed by seed.

use super::table::MISSING;
use super::{Cell, Results, Row};
use crate::report::table::{Column as Heading, Table};
use crate::sweep::figure::write_points;
use crate::sweep::statistics::Mean;

impl Results {
    /// How many points every setting is above the one called `name` with the same seed: of shares (accuracy, recall) their
    /// difference, of other figures that of their changes against the base setting, both in per cent. A table for each
    /// figure, in Markdown.
    ///
    /// # Errors
    /// When the recipe has no such setting, or none that changes are against.
    pub fn against(&self, name: &str) -> Result<String, String> {
        let base = self.base.as_ref().ok_or(
            "the recipe has no setting with 'base = true', which changes would be of; give it one",
        )?;
        let other = self.rows.iter().find(|row| row.name == name);
        let other = other.ok_or_else(|| {
            let names: Vec<_> = self.rows.iter().map(|row| row.name.as_str()).collect();
            format!(
                "the recipe has no setting of that name; give one of '{}'",
                names.join("', '")
            )
        })?;
        let mut text = String::new();
        for (index, column) in self.columns.iter().enumerate() {
            let of = match column.figure.share {
                true => String::new(),
                false => format!(" of its change against '{base}'"),
            };
            let table = self.differences(index, other);
            let title = &column.title;
            text.push_str(&format!(
                "\n{title}, percentage points{of}, against '{name}' with the same seed:\n\n{}\n",
                table.to_markdown().trim_end()
            ));
        }
        Ok(text)
    }

    /// Of one figure, a row a setting.
    fn differences(&self, column: usize, other: &Row) -> Table {
        let mut headings = vec![Heading::text("setting")];
        let seeds = self.seeds.iter();
        headings.extend(seeds.map(|seed| Heading::number(format!("seed {seed}"))));
        headings.push(Heading::number("mean (95 % interval)"));
        let mut table = Table::new(headings);
        for row in self.rows.iter().filter(|row| row.name != other.name) {
            let points = self.points(column, row, other);
            let mean = Mean::of(points.iter().flatten().copied());
            let write = |mean: Option<Mean>| mean.map_or(MISSING.to_owned(), |m| write_points(&m));
            let mut cells = vec![row.name.clone()];
            cells.extend(points.iter().map(|point| write(Mean::of(*point))));
            cells.push(match mean {
                Some(mean) => self.so_far(&mean, write_points(&mean)),
                None => MISSING.to_owned(),
            });
            table.push(cells);
        }
        table
    }

    fn points(&self, column: usize, row: &Row, other: &Row) -> Vec<Option<f64>> {
        let share = self.columns[column].figure.share;
        let values = |row: &Row| -> Vec<Option<f64>> {
            let Cell {
                by_seed,
                change_by_seed,
                ..
            } = &row.figures[column];
            match share {
                true => by_seed.iter().map(|v| v.map(|v| 100.0 * v)).collect(),
                // The base itself has no change.
                false if self.base.as_ref() == Some(&row.name) => {
                    by_seed.iter().map(|v| v.map(|_| 0.0)).collect()
                }
                false => change_by_seed.clone(),
            }
        };
        let pairs = values(row).into_iter().zip(values(other));
        pairs.map(|(one, other)| Some(one? - other?)).collect()
    }
}
