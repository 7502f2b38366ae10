//! One self-contained page of results.
//!
//! No script, no request: styles, pictures and figures are all inside, and a content policy in the
//! page's head keeps it so. It follows the reader's light or dark theme, narrow screens and paper.

mod block;

use super::svg::escape;
use super::table::Table;
use super::{Png, Svg};
use block::Block;

/// A figure a reader should see first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFigure {
    /// What it is.
    pub label: String,
    /// The figure, with its unit.
    pub value: String,
    /// What it is compared with, or how it was got; may be empty.
    pub note: String,
}

impl KeyFigure {
    /// A key figure.
    pub fn new(
        label: impl Into<String>,
        value: impl Into<String>,
        note: impl Into<String>,
    ) -> Self {
        Self {
            label: label.into(),
            value: value.into(),
            note: note.into(),
        }
    }
}

/// A picture with its name, for figures that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Panel {
    /// The name above the picture.
    pub name: String,
    /// What the picture shows, for readers who cannot see it.
    pub alt: String,
    /// The picture.
    pub picture: Png,
}

/// A page, built from the top down; every text is escaped.
///
/// ```
/// use dmp::report::html::{KeyFigure, Page};
///
/// let html = Page::new("Patched model")
///     .lead("The same noise, with and without the patch.")
///     .key_figures([KeyFigure::new("Distance", "7.12", "base 7.70")])
///     .section("What next")
///     .commands(["dmp inspect patch.safetensors"])
///     .settings(serde_json::json!({ "seed": 1 }))
///     .to_html();
/// assert!(html.starts_with("<!doctype html>"));
/// ```
#[derive(Debug, Clone)]
pub struct Page {
    title: String,
    lead: String,
    blocks: Vec<Block>,
    settings: Option<serde_json::Value>,
}

impl Page {
    /// An empty page.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            lead: String::new(),
            blocks: Vec::new(),
            settings: None,
        }
    }

    /// The paragraph under the title: the result in a sentence or two.
    #[must_use]
    pub fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = text.into();
        self
    }

    /// A row of tiles, each a figure in large type.
    #[must_use]
    pub fn key_figures(self, figures: impl IntoIterator<Item = KeyFigure>) -> Self {
        self.with(Block::KeyFigures(figures.into_iter().collect()))
    }

    /// A heading that opens a section.
    #[must_use]
    pub fn section(self, heading: impl Into<String>) -> Self {
        self.with(Block::Heading(heading.into()))
    }

    /// A paragraph.
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.with(Block::Paragraph(text.into()))
    }

    /// A table with its caption.
    #[must_use]
    pub fn table(self, caption: impl Into<String>, table: Table) -> Self {
        self.with(Block::Table {
            caption: caption.into(),
            table,
        })
    }

    /// Pictures side by side (one below the other on a narrow screen) under one caption.
    #[must_use]
    pub fn compare(
        self,
        caption: impl Into<String>,
        panels: impl IntoIterator<Item = Panel>,
    ) -> Self {
        self.with(Block::Panels {
            caption: caption.into(),
            panels: panels.into_iter().collect(),
        })
    }

    /// A chart over the whole width.
    #[must_use]
    pub fn chart(self, caption: impl Into<String>, chart: Svg) -> Self {
        self.with(Block::Chart {
            caption: caption.into(),
            chart,
        })
    }

    /// Small charts in a grid under one caption: heat maps, one a block of the model.
    #[must_use]
    pub fn charts(self, caption: impl Into<String>, charts: impl IntoIterator<Item = Svg>) -> Self {
        self.with(Block::Charts {
            caption: caption.into(),
            charts: charts.into_iter().collect(),
        })
    }

    /// Lines a reader may type next.
    #[must_use]
    pub fn commands(self, lines: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.with(Block::Commands(lines.into_iter().map(Into::into).collect()))
    }

    /// The exact settings of the run, shown in the footer.
    #[must_use]
    pub fn settings(mut self, settings: serde_json::Value) -> Self {
        self.settings = Some(settings);
        self
    }

    /// The file's text.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let lead = match self.lead.as_str() {
            "" => String::new(),
            lead => format!("<p class=\"lead\">{}</p>\n", escape(lead)),
        };
        let body: String = self.blocks.iter().map(Block::to_html).collect();
        let settings = self.settings.as_ref().map_or_else(String::new, |settings| {
            let json = escape(&format!("{settings:#}"));
            format!("<details>\n<summary>Exact settings</summary>\n<pre><code>{json}</code></pre>\n</details>\n")
        });
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{title}</h1>\n{lead}</header>\n<main>\n{body}</main>\n\
             <footer>\n{settings}<p>Made by dmp {VERSION}.</p>\n</footer>\n</body>\n</html>\n",
        )
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }
}

/// Nothing is fetched; pictures and styles come from the page itself.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
const STYLE: &str = include_str!("style.css");
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests;
