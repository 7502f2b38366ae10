//! The key to a heat map's colours.

use plotters::prelude::*;
use plotters::style::text_anchor::VPos;

use super::axis::linear_ticks;
use super::colourmap::palette;
use super::picture::Pixels;
use super::svg::{Drawn, INK, Inset, Surface, TEXT, anchored_text, label, px, text_style};
use super::{Png, ReportError};

/// Lengths in CSS pixels.
const LEFT: f64 = 14.0;
const WIDTH: f64 = 12.0;
const TICK: f64 = 4.0;

/// A colour bar with ticks to its right and the values' name above it.
pub(super) struct ColourBar<'a> {
    /// What the values are.
    pub label: &'a str,
    /// The values of the first and the last colour.
    pub range: (f32, f32),
    /// Space above and below the bar, in drawing units.
    pub margin: (i32, i32),
}

/// The ramp itself, the highest value at the top.
pub(super) fn ramp(figure: &str) -> Result<Png, ReportError> {
    let indices: Vec<u8> = (0..=u8::MAX).rev().collect();
    Png::encode(
        figure,
        (1, indices.len()),
        &Pixels::Indexed(&palette()),
        &indices,
    )
}

impl ColourBar<'_> {
    /// Draws ticks and name on `surface`; the ramp comes back to be laid beneath.
    pub(super) fn draw(&self, surface: &Surface, ramp: Png) -> Drawn<Inset> {
        let (low, high) = (f64::from(self.range.0), f64::from(self.range.1));
        let (x, y) = surface.get_pixel_range();
        let (top, bottom) = (self.margin.0, y.end - y.start - self.margin.1);

        let stroke = INK.mix(0.45).stroke_width(px(1.0).unsigned_abs());
        for tick in linear_ticks(low, high, 4) {
            // All values alike: the one tick stands in the middle.
            let fraction = if low < high {
                (tick.at - low) / (high - low)
            } else {
                0.5
            };
            let height = bottom - (fraction * f64::from(bottom - top)).round() as i32;
            let (from, to) = (px(LEFT + WIDTH), px(LEFT + WIDTH + TICK));
            surface.draw(&PathElement::new([(from, height), (to, height)], stroke))?;
            let at = (to + px(4.0), height);
            surface.draw(&Text::new(
                tick.label,
                at,
                anchored_text(TEXT, VPos::Center),
            ))?;
        }
        let at = (px(LEFT), top - px(22.0));
        surface.draw(&Text::new(label(self.label), at, text_style(TEXT)))?;

        Ok(Inset {
            png: ramp,
            x: x.start + px(LEFT)..x.start + px(LEFT + WIDTH),
            y: y.start + top..y.start + bottom,
        })
    }
}
