//! The demo's page.

use anyhow::Result;
use serde_json::Value;

use super::chart::LineChart;
use super::grid::{GridStyle, Tiles};
use super::html::{KeyFigure, Page, Panel};
use super::table::Table;
use super::{Png, Svg};
use crate::data::ImageShape;
use crate::evaluate::{METRIC, Score};
use crate::run::Line;

/// The same images from the bare and the patched model.
#[derive(Debug)]
pub struct Grids<'a> {
    /// Pixels of the bare model's images, `[count, C, H, W]`.
    pub base: &'a [u8],
    /// Pixels of the patched model's.
    pub patched: &'a [u8],
    /// Size of each.
    pub shape: ImageShape,
}

/// Everything the page shows.
#[derive(Debug)]
pub struct DemoPage<'a> {
    /// Score of the bare model.
    pub base: Score,
    /// Score of the patched model.
    pub patched: Score,
    /// The table that the terminal shows.
    pub table: Table,
    /// The images.
    pub grids: Grids<'a>,
    /// Statistics of the training.
    pub stats: &'a [Line],
    /// The gate's masks, one map a block.
    pub heat_maps: Vec<Svg>,
    /// What to type next.
    pub commands: [String; 4],
    /// The exact settings.
    pub settings: Value,
}

impl DemoPage<'_> {
    /// The page as one HTML file.
    pub fn to_html(&self) -> Result<String> {
        let change = 100.0 * (self.patched.frechet / self.base.frechet - 1.0);
        let figures = [
            KeyFigure::new(
                "distance, base",
                format!("{:.3}", self.base.frechet),
                METRIC,
            ),
            KeyFigure::new(
                "distance, patched",
                format!("{:.3}", self.patched.frechet),
                format!("{change:+.1} %"),
            ),
            KeyFigure::new(
                "accuracy, base",
                format!("{:.1} %", 100.0 * self.base.accuracy),
                "classes recognised",
            ),
            KeyFigure::new(
                "accuracy, patched",
                format!("{:.1} %", 100.0 * self.patched.accuracy),
                "classes recognised",
            ),
        ];
        let lead = format!(
            "A frozen diffusion transformer and a patch of prompts mixed by the noise level. {} images of each, from the \
             same noise, measured against the 10 000 test images of Fashion-MNIST. One seed and few images: a glimpse, not evidence.",
            self.base.count
        );
        let page = Page::new("Diffusion model patching")
            .lead(lead)
            .key_figures(figures)
            .table("The demo's result", self.table.clone())
            .section("Images")
            .compare(
                "The same noise, without and with the patch; a column is a class",
                [
                    Panel { name: "base".into(), alt: "Images of the bare model".into(), picture: self.grid(self.grids.base)? },
                    Panel { name: "patched".into(), alt: "Images of the patched model".into(), picture: self.grid(self.grids.patched)? },
                ],
            )
            .section("Training")
            .chart("Loss of the training batches, mean of each window", self.curve("loss", |line| Some(line.mean.loss))?)
            .chart(
                "Entropy of the gate's masks with training noise, over ln N: 1 is uniform, 0 a single prompt",
                self.curve("entropy", |line| line.mean.gate_entropy)?,
            )
            .section("What the gate learnt")
            .charts("Weight of each prompt, times their number, at each noise level; 1 is uniform", self.heat_maps.clone())
            .section("Next")
            .commands(self.commands.clone())
            .settings(self.settings.clone());
        Ok(page.to_html())
    }

    /// The two grids, bare and patched, as files of their own.
    pub fn pictures(&self) -> Result<[Png; 2]> {
        Ok([self.grid(self.grids.base)?, self.grid(self.grids.patched)?])
    }

    fn grid(&self, pixels: &[u8]) -> Result<Png> {
        let ImageShape {
            channels,
            height,
            width,
        } = self.grids.shape;
        let count = pixels.len() / self.grids.shape.len();
        let style = GridStyle {
            columns: 10,
            gap: 2,
            upscale: 1,
            background: 255,
        };
        Ok(Tiles::new(pixels, [count, channels, height, width])?.to_png(&style)?)
    }

    fn curve(&self, name: &str, value: impl Fn(&Line) -> Option<f64>) -> Result<Svg> {
        let points: Vec<(f64, f64)> = self
            .stats
            .iter()
            .filter_map(|line| Some((line.step as f64, value(line)?)))
            .collect();
        Ok(LineChart::new("")
            .axes("step", name)
            .series(name, points)
            .to_svg()?)
    }
}
