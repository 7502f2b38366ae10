//! The parts a page is made of, each as HTML.

use super::super::table::{Align, Table};
use super::{KeyFigure, Panel};
use crate::report::Svg;
use crate::report::svg::escape;

/// One part of a page.
#[derive(Debug, Clone)]
pub(super) enum Block {
    Heading(String),
    Paragraph(String),
    KeyFigures(Vec<KeyFigure>),
    Table { caption: String, table: Table },
    Panels { caption: String, panels: Vec<Panel> },
    Chart { caption: String, chart: Svg },
    Charts { caption: String, charts: Vec<Svg> },
    Commands(Vec<String>),
}

impl Block {
    pub(super) fn to_html(&self) -> String {
        match self {
            Self::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
            Self::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
            Self::KeyFigures(figures) => {
                let tiles: String = figures.iter().map(key_figure).collect();
                format!("<dl class=\"key\">\n{tiles}</dl>\n")
            }
            Self::Table { caption, table } => table_html(caption, table),
            Self::Panels { caption, panels } => {
                let panels: String = panels.iter().map(panel).collect();
                figure("panels", &panels, caption)
            }
            Self::Chart { caption, chart } => figure("chart", chart.as_str(), caption),
            Self::Charts { caption, charts } => {
                let charts: String = charts.iter().map(Svg::as_str).collect();
                figure("charts", &charts, caption)
            }
            Self::Commands(lines) => {
                let lines: String = lines
                    .iter()
                    .map(|line| format!("{}\n", escape(line)))
                    .collect();
                format!("<pre class=\"commands\"><code>{lines}</code></pre>\n")
            }
        }
    }
}

fn key_figure(figure: &KeyFigure) -> String {
    let KeyFigure { label, value, note } = figure;
    let note = if note.is_empty() {
        String::new()
    } else {
        format!("<dd class=\"note\">{}</dd>", escape(note))
    };
    format!(
        "<div><dt>{}</dt><dd>{}</dd>{note}</div>\n",
        escape(label),
        escape(value)
    )
}

fn panel(panel: &Panel) -> String {
    let (name, alt) = (escape(&panel.name), escape(&panel.alt));
    let (width, height, source) = (
        panel.picture.width(),
        panel.picture.height(),
        panel.picture.data_uri(),
    );
    format!(
        "<div><p class=\"name\">{name}</p>\
         <img src=\"{source}\" width=\"{width}\" height=\"{height}\" alt=\"{alt}\"></div>\n"
    )
}

/// `content` is HTML already; the caption is text.
fn figure(class: &str, content: &str, caption: &str) -> String {
    let caption = escape(caption);
    format!(
        "<figure>\n<div class=\"{class}\">\n{content}</div>\n<figcaption>{caption}</figcaption>\n</figure>\n"
    )
}

fn table_html(caption: &str, table: &Table) -> String {
    let class = |index: usize| match table.columns[index].align {
        Align::Left => "",
        Align::Right => " class=\"number\"",
    };
    let headings: String = (table.columns.iter().enumerate())
        .map(|(index, column)| {
            format!(
                "<th scope=\"col\"{}>{}</th>",
                class(index),
                escape(&column.heading)
            )
        })
        .collect();
    let row = |cells: &Vec<String>| -> String {
        let cells: String = (cells.iter().enumerate())
            .map(|(index, cell)| match index {
                0 => format!("<th scope=\"row\"{}>{}</th>", class(0), escape(cell)),
                _ => format!("<td{}>{}</td>", class(index), escape(cell)),
            })
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = table.rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<caption>{}</caption>\n\
         <thead><tr>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n",
        escape(caption)
    )
}
