//! Small tables: aligned text for a terminal, rows and columns for a page.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// Which edge the cells of a column share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

impl Align {
    /// The cell with blanks up to `width`.
    fn pad(self, cell: &str, width: usize) -> String {
        let blank = " ".repeat(width.saturating_sub(cell.width()));
        match self {
            Self::Left => format!("{cell}{blank}"),
            Self::Right => format!("{blank}{cell}"),
        }
    }
}

/// A column's heading and alignment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub(super) heading: String,
    pub(super) align: Align,
}

impl Column {
    /// A column of words.
    pub fn text(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            align: Align::Left,
        }
    }

    /// A column of numbers.
    pub fn number(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            align: Align::Right,
        }
    }
}

/// Headings and rows; its [`Display`](fmt::Display) is the terminal's form.
///
/// ```
/// use dmp::report::table::{Column, Table};
///
/// let table = Table::new([Column::text("model"), Column::number("distance")])
///     .row(["base", "7.70"])
///     .row(["patched", "7.12"]);
/// assert_eq!(table.to_string(), "\
/// model    distance
/// ───────  ────────
/// base         7.70
/// patched      7.12
/// ");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Self {
            columns: columns.into_iter().collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; a short one is filled with empty cells, and one too long opens columns without
    /// heading.
    #[must_use]
    pub fn row(mut self, cells: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.push(cells);
        self
    }

    /// [`row`](Self::row), in place.
    pub fn push(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        while self.columns.len() < cells.len() {
            self.columns.push(Column::text(""));
        }
        for row in &mut self.rows {
            row.resize(self.columns.len(), String::new());
        }
        cells.resize(self.columns.len(), String::new());
        self.rows.push(cells);
    }

    /// The table as Markdown, its columns aligned in the text too.
    ///
    /// ```
    /// use dmp::report::table::{Column, Table};
    ///
    /// let table = Table::new([Column::text("model"), Column::number("distance")]).row(["base", "7.70"]);
    /// assert_eq!(table.to_markdown(), "\
    /// | model | distance |
    /// | ----- | -------: |
    /// | base  |     7.70 |
    /// ");
    /// ```
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let plain = |text: &str| text.replace('\n', " ").replace('|', "\\|");
        let cells = |row: &[String]| row.iter().map(|cell| plain(cell)).collect();
        let headings = self.columns.iter().map(|column| plain(&column.heading));
        let escaped = Self {
            columns: self.columns.clone(),
            rows: [headings.collect()]
                .into_iter()
                .chain(self.rows.iter().map(|row| cells(row)))
                .collect(),
        };
        let widths: Vec<usize> = escaped
            .widths()
            .into_iter()
            .map(|width| width.max(3))
            .collect();
        let line = |row: &Vec<String>| -> String {
            let cells = row.iter().zip(escaped.columns.iter().zip(&widths));
            let padded = cells.map(|(cell, (column, width))| column.align.pad(cell, *width));
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rules = escaped.columns.iter().zip(&widths);
        let rules = rules.map(|(column, width)| match column.align {
            Align::Left => "-".repeat(*width),
            Align::Right => format!("{}:", "-".repeat(width - 1)),
        });
        let mut lines: Vec<String> = escaped.rows.iter().map(line).collect();
        lines.insert(1, line(&rules.collect()));
        lines.concat()
    }

    fn widths(&self) -> Vec<usize> {
        let heading = self.columns.iter().map(|column| column.heading.width());
        heading
            .enumerate()
            .map(|(index, heading)| {
                self.rows
                    .iter()
                    .map(|row| row[index].width())
                    .fold(heading, usize::max)
            })
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(self.columns.iter().zip(&widths))
                .map(|(cell, (column, width))| column.align.pad(cell, *width))
                .collect();
            padded.join("  ").trim_end().to_owned()
        };
        writeln!(
            f,
            "{}",
            line(&mut self.columns.iter().map(|column| column.heading.as_str()))
        )?;
        let rules: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
        writeln!(f, "{}", rules.join("  "))?;
        self.rows
            .iter()
            .try_for_each(|row| writeln!(f, "{}", line(&mut row.iter().map(String::as_str))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let table = Table::new([
            Column::text("stage"),
            Column::number("s"),
            Column::text("note"),
        ])
        .row(["train", "121.5", "700 steps"])
        .row(["Fréchet", "3.0", ""]);
        let expected = "\
stage        s  note
───────  ─────  ─────────
train    121.5  700 steps
Fréchet    3.0
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn ragged_rows_lose_nothing() {
        let table = Table::new([Column::text("a")])
            .row(["1"])
            .row(["2", "extra"])
            .row([""; 0]);
        assert_eq!(table.to_string(), "a\n─  ─────\n1\n2  extra\n\n");
    }

    #[test]
    fn markdown_escapes_what_would_end_a_cell() {
        let table = Table::new([Column::text("a|b"), Column::number("n")]).row(["x", "1|2"]);
        assert_eq!(
            table.to_markdown(),
            "| a\\|b |    n |\n| ---- | ---: |\n| x    | 1\\|2 |\n"
        );
    }

    #[test]
    fn wide_characters_count_double() {
        let table = Table::new([Column::text("名"), Column::number("n")]).row(["x", "1"]);
        assert_eq!(table.to_string(), "名  n\n──  ─\nx   1\n");
    }
}
