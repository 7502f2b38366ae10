//! Names of the curves of a chart, above it, in as many rows as they need.

use plotters::prelude::*;
use plotters::style::text_anchor::VPos;

use super::svg::{Drawn, Surface, TEXT, anchored_text, label, px, text_width};

/// Lengths in CSS pixels.
const ROW: f64 = 20.0;
const MARGIN: f64 = 12.0;
const SWATCH: f64 = 22.0;
const SWATCH_TO_NAME: f64 = 6.0;
const NAME_TO_NEXT: f64 = 18.0;

/// A legend laid out for a width.
pub(super) struct Legend {
    entries: Vec<Entry>,
    height: f64,
}

struct Entry {
    name: String,
    colour: RGBColor,
    /// Middle of the swatch's left end.
    at: (f64, f64),
}

impl Legend {
    /// Places the names in reading order; a single curve needs no name beside its axis.
    pub(super) fn new<'a>(
        curves: impl ExactSizeIterator<Item = (&'a str, RGBColor)>,
        width: f64,
    ) -> Self {
        if curves.len() < 2 {
            return Self {
                entries: Vec::new(),
                height: MARGIN,
            };
        }
        let (mut x, mut y) = (MARGIN, MARGIN);
        let entries = curves
            .map(|(name, colour)| {
                let name = label(name);
                let extent = SWATCH + SWATCH_TO_NAME + text_width(&name, TEXT);
                if x > MARGIN && x + extent > width - MARGIN {
                    (x, y) = (MARGIN, y + ROW);
                }
                let at = (x, y);
                x += extent + NAME_TO_NEXT;
                Entry { name, colour, at }
            })
            .collect();
        Self {
            entries,
            height: y + ROW,
        }
    }

    /// Space it needs above the plot, in CSS pixels.
    pub(super) fn height(&self) -> f64 {
        self.height
    }

    pub(super) fn draw(&self, surface: &Surface) -> Drawn<()> {
        let style = anchored_text(TEXT, VPos::Center);
        for Entry {
            name,
            colour,
            at: (x, y),
        } in &self.entries
        {
            let ends = [(px(*x), px(*y)), (px(x + SWATCH), px(*y))];
            let stroke = colour.stroke_width(px(2.5).unsigned_abs());
            surface.draw(&PathElement::new(ends, stroke))?;
            let at = (px(x + SWATCH + SWATCH_TO_NAME), px(*y));
            surface.draw(&Text::new(name.as_str(), at, style.clone()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn legend(names: &[&str]) -> Legend {
        Legend::new(names.iter().map(|name| (*name, BLACK)), 200.0)
    }

    #[test]
    fn names_wrap_inside_the_width() {
        let rows = |names: &[&str]| -> Vec<f64> {
            legend(names)
                .entries
                .iter()
                .map(|entry| entry.at.1)
                .collect()
        };
        assert_eq!(rows(&["short", "short"]), [12.0, 12.0]);
        assert_eq!(rows(&["a rather long name", "short"]), [12.0, 32.0]);
        assert_eq!(rows(&[&"endless".repeat(20), "b"]), [12.0, 32.0]);
    }

    #[test]
    fn one_curve_has_no_legend() {
        assert!(legend(&["only"]).entries.is_empty());
        assert!(legend(&["a", "b"]).height() > legend(&["only"]).height());
    }
}
