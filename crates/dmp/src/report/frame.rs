//! The frame of a plot: its scales, ticks, grid lines and the names of its axes.

use std::ops::Range;

use plotters::chart::ChartContext;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::axis::Tick;
use super::svg::{Drawn, INK, Surface, TEXT, label, px, text_style, text_width};

/// A linear scale with its own ticks; it may run downwards.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pub range: Range<f64>,
    pub ticks: Vec<Tick>,
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let fraction = (value - self.range.start) / (self.range.end - self.range.start);
        // Nothing is drawn so far outside that the difference could be seen, or overflow.
        from + (fraction.clamp(-1.0, 2.0) * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.iter().map(|tick| tick.at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Scale {
    /// plotters asks with the very numbers it was given as key points.
    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|tick| tick.at == *value);
        tick.map_or_else(String::new, |tick| tick.label.clone())
    }
}

/// A plot whose axes are drawn.
pub(super) type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// What surrounds the plot itself.
pub(super) struct Frame<'a> {
    /// Names of the horizontal and the vertical axis.
    pub labels: (&'a str, &'a str),
    /// Space above and to the right, in drawing units.
    pub margin: (i32, i32),
    /// Whether horizontal lines help to read values.
    pub grid: bool,
}

/// Height of the ticks and the name below a plot, in CSS pixels.
pub(super) const BELOW: f64 = 44.0;

impl Frame<'_> {
    /// Draws the frame and opens the plot inside it.
    pub(super) fn draw<'a, 'b>(
        &self,
        surface: &'a Surface<'b>,
        x: Scale,
        y: Scale,
    ) -> Drawn<Plot<'a, 'b>> {
        let widest = y
            .ticks
            .iter()
            .map(|tick| text_width(&tick.label, TEXT))
            .fold(0.0, f64::max);
        let mut plot = ChartBuilder::on(surface)
            .margin_top(self.margin.0)
            .margin_right(self.margin.1)
            .margin_left(px(4.0))
            .set_label_area_size(LabelAreaPosition::Left, px(widest + 34.0))
            .set_label_area_size(LabelAreaPosition::Bottom, px(BELOW))
            .build_cartesian_2d(x, y)?;
        let hairline = px(1.0).unsigned_abs();
        let grid = if self.grid {
            INK.mix(0.14)
        } else {
            TRANSPARENT
        };
        plot.configure_mesh()
            .disable_x_mesh()
            .bold_line_style(grid.stroke_width(hairline))
            .light_line_style(TRANSPARENT)
            .axis_style(INK.mix(0.45).stroke_width(hairline))
            .set_all_tick_mark_size(px(4.0))
            .label_style(text_style(TEXT))
            .axis_desc_style(text_style(TEXT + 1.0))
            .x_desc(label(self.labels.0))
            .y_desc(label(self.labels.1))
            .draw()?;
        Ok(plot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_may_run_downwards() {
        let ticks = vec![Tick {
            at: 0.0,
            label: "zero".to_owned(),
        }];
        let scale = Scale {
            range: 999.0..0.0,
            ticks,
        };
        assert_eq!(
            [999.0, 499.5, 0.0].map(|value| scale.map(&value, (0, 100))),
            [0, 50, 100]
        );
        assert_eq!(
            (scale.format_ext(&0.0), scale.format_ext(&1.0)),
            ("zero".to_owned(), String::new())
        );
    }
}
