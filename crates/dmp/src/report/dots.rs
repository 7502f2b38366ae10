//! Dots with intervals, a row each: estimates that are to be compared.

use plotters::prelude::*;

use super::axis::{Tick, linear_ticks, padded};
use super::chart::{COLOURS, extent};
use super::frame::{BELOW, Frame, Scale};
use super::svg::{Drawn, INK, Surface, draw, px};
use super::{ReportError, Svg};

/// Lengths in CSS pixels.
const WIDTH: u32 = 720;
const ROW: f64 = 28.0;
const MARGIN: f64 = 12.0;
const CAP: f64 = 5.0;
/// Characters of a name that fit beside the plot.
const NAME: usize = 48;

/// An estimate.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// What it is of.
    pub name: String,
    /// The estimate.
    pub at: f64,
    /// Where the truth may be.
    pub interval: Option<[f64; 2]>,
    /// What it is the mean of, shown small.
    pub points: Vec<f64>,
}

/// A plot of estimates, one below the other, the first at the top.
///
/// ```
/// use dmp::report::dots::{Dot, DotPlot};
///
/// let dot = |name: &str, at: f64| Dot {
///     name: name.to_owned(),
///     at,
///     interval: Some([at - 1.0, at + 1.0]),
///     points: vec![at - 0.5, at + 0.5],
/// };
/// let svg = DotPlot::new("Change of the distance", "change, %")
///     .dots([dot("prompts", -2.0), dot("mixture", -7.0)])
///     .mark(0.0)
///     .to_svg()?;
/// # Ok::<(), dmp::report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DotPlot {
    title: String,
    axis: String,
    dots: Vec<Dot>,
    mark: Option<f64>,
}

impl DotPlot {
    /// A plot without dots; `title` is what a screen reader says of it, `axis` names what is estimated.
    pub fn new(title: impl Into<String>, axis: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            axis: axis.into(),
            dots: Vec::new(),
            mark: None,
        }
    }

    /// Adds dots.
    #[must_use]
    pub fn dots(mut self, dots: impl IntoIterator<Item = Dot>) -> Self {
        self.dots.extend(dots);
        self
    }

    /// Draws a line at a value that all are compared with, which the axis then reaches.
    #[must_use]
    pub fn mark(mut self, at: f64) -> Self {
        self.mark = Some(at);
        self
    }

    /// Draws the plot.
    ///
    /// # Errors
    /// [`ReportError::Empty`] when no dot has a place on the axis.
    pub fn to_svg(&self) -> Result<Svg, ReportError> {
        let dots: Vec<&Dot> = self.dots.iter().filter(|dot| dot.at.is_finite()).collect();
        let ends = dots.iter().flat_map(|dot| {
            let interval = dot.interval.into_iter().flatten();
            [dot.at]
                .into_iter()
                .chain(interval)
                .chain(dot.points.iter().copied())
        });
        let values = ends.chain(self.mark).filter(|value| value.is_finite());
        let (Some(range), false) = (extent(values), dots.is_empty()) else {
            return Err(ReportError::Empty {
                figure: self.title.clone(),
            });
        };
        let height = 2.0 * MARGIN + ROW * dots.len() as f64 + BELOW;
        draw(&self.title, (WIDTH, height.ceil() as u32), |surface| {
            self.plot(surface, range, &dots)?;
            Ok(Vec::new())
        })
    }

    fn plot(&self, surface: &Surface, (low, high): (f64, f64), dots: &[&Dot]) -> Drawn<()> {
        let (low, high) = padded(low, high, 0.06);
        let rows = dots.len() as f64;
        let frame = Frame {
            labels: (&self.axis, ""),
            margin: (px(2.0 * MARGIN), px(18.0)),
            grid: true,
        };
        let x = Scale {
            range: low..high,
            ticks: linear_ticks(low, high, 6),
        };
        let y = Scale {
            range: rows..0.0,
            ticks: dots
                .iter()
                .enumerate()
                .map(|(row, dot)| Tick {
                    at: row as f64 + 0.5,
                    label: short(&dot.name),
                })
                .collect(),
        };
        let mut plot = frame.draw(surface, x, y)?;
        let colour = COLOURS[0];
        let stroke = |width: f64| colour.stroke_width(px(width).unsigned_abs());
        if let Some(mark) = self.mark {
            let line = [(mark, 0.0), (mark, rows)];
            let style = INK.mix(0.6).stroke_width(px(1.0).unsigned_abs());
            plot.draw_series([PathElement::new(line, style)])?;
        }
        let cap = CAP / ROW;
        for (row, dot) in dots.iter().enumerate() {
            let y = row as f64 + 0.5;
            if let Some([from, to]) = dot.interval {
                let line = |a: (f64, f64), b: (f64, f64)| PathElement::new([a, b], stroke(1.5));
                plot.draw_series([
                    line((from, y), (to, y)),
                    line((from, y - cap), (from, y + cap)),
                    line((to, y - cap), (to, y + cap)),
                ])?;
            }
            let points = dot.points.iter().filter(|point| point.is_finite());
            plot.draw_series(points.map(|point| Circle::new((*point, y), px(2.5), stroke(1.0))))?;
            plot.draw_series([Circle::new((dot.at, y), px(4.0), colour.filled())])?;
        }
        Ok(())
    }
}

/// A name that leaves room for the plot.
fn short(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    fn dot(name: &str, at: f64, interval: Option<[f64; 2]>) -> Dot {
        Dot {
            name: name.to_owned(),
            at,
            interval,
            points: vec![at],
        }
    }

    #[test]
    fn every_dot_has_a_name_and_its_interval() {
        let plot = DotPlot::new("t", "change, %").dots([
            dot("a < b", -2.0, Some([-3.0, -1.0])),
            dot(&"long ".repeat(40), 4.0, None),
        ]);
        let svg = plot.clone().mark(0.0).to_svg().unwrap();
        assert_well_formed(svg.as_str());
        for text in ["a &lt; b", "…", "change, %"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        // An interval is three lines; a dot is filled, what it is the mean of is not.
        let strokes = |svg: &Svg| svg.as_str().matches("<polyline").count();
        let bare = DotPlot::new("t", "change, %").dots([
            dot("a < b", -2.0, None),
            dot(&"long ".repeat(40), 4.0, None),
        ]);
        assert_eq!(
            strokes(&plot.to_svg().unwrap()),
            strokes(&bare.to_svg().unwrap()) + 3
        );
        assert_eq!(svg.as_str().matches("<circle").count(), 4);
    }

    #[test]
    fn what_has_no_place_is_left_out() {
        let nothing = DotPlot::new("t", "")
            .dots([dot("a", f64::NAN, None)])
            .mark(0.0)
            .to_svg();
        assert!(matches!(nothing, Err(ReportError::Empty { .. })));
        let wide = dot("a", 1.0, Some([f64::NEG_INFINITY, f64::INFINITY]));
        let svg = DotPlot::new("t", "")
            .dots([wide, dot("b", 1.0, None)])
            .to_svg()
            .unwrap();
        assert_well_formed(svg.as_str());
        assert!(!svg.as_str().contains("NaN"));
    }
}
