//! Line charts.

use plotters::prelude::*;

use super::axis::{linear_ticks, log_ticks, padded};
use super::frame::{Frame, Scale};
use super::legend::Legend;
use super::svg::{Drawn, Surface, draw, px};
use super::{ReportError, Svg};

/// A chart of one or more curves over common axes.
///
/// ```
/// use dmp::report::chart::LineChart;
///
/// let svg = LineChart::new("Loss over training")
///     .axes("images seen", "loss")
///     .series("base", [(0.0, 1.0), (1.0, 0.5)])
///     .log_y()
///     .to_svg()?;
/// # Ok::<(), dmp::report::ReportError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LineChart {
    title: String,
    x_label: String,
    y_label: String,
    log_y: bool,
    series: Vec<Series>,
}

#[derive(Debug, Clone, PartialEq)]
struct Series {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Size in CSS pixels; the legend's height comes on top.
const WIDTH: u32 = 720;
const PLOT_HEIGHT: u32 = 300;
/// Okabe and Ito's colours, which readers with any colour vision tell apart; ordered to contrast on
/// white and on black.
pub const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x82, 0xc8),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];
/// A curve drawn with more points than this shows no more, and weighs more.
const MOST_POINTS: usize = 1500;

impl LineChart {
    /// A chart without curves; `title` is what a screen reader says of it.
    pub fn new(title: impl Into<String>) -> Self {
        let (x_label, y_label) = (String::new(), String::new());
        Self {
            title: title.into(),
            x_label,
            y_label,
            log_y: false,
            series: Vec::new(),
        }
    }

    /// Names the axes.
    #[must_use]
    pub fn axes(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        (self.x_label, self.y_label) = (x.into(), y.into());
        self
    }

    /// Makes the vertical axis logarithmic; points at or below zero are then left out.
    #[must_use]
    pub fn log_y(mut self) -> Self {
        self.log_y = true;
        self
    }

    /// Adds a curve through `points` in their order; points that are not finite are left out.
    #[must_use]
    pub fn series(
        mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.series.push(Series {
            name: name.into(),
            points: points.into_iter().collect(),
        });
        self
    }

    /// Draws the chart.
    ///
    /// # Errors
    /// [`ReportError::Empty`] when no curve has a point that can be shown.
    pub fn to_svg(&self) -> Result<Svg, ReportError> {
        let curves: Vec<Curve> = self
            .series
            .iter()
            .zip(COLOURS.iter().cycle())
            .map(|(s, c)| self.curve(s, *c))
            .collect();
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let (Some(x), Some(y)) = (extent(points().map(|p| p.0)), extent(points().map(|p| p.1)))
        else {
            return Err(ReportError::Empty {
                figure: self.title.clone(),
            });
        };
        let names = curves.iter().map(|curve| (curve.name, curve.colour));
        let legend = Legend::new(names, f64::from(WIDTH));
        let size = (WIDTH, PLOT_HEIGHT + legend.height().ceil() as u32);
        draw(&self.title, size, |surface| {
            legend.draw(surface)?;
            self.plot(surface, px(legend.height()), (x, y), &curves)?;
            Ok(Vec::new())
        })
    }

    /// The points as they are placed: finite, thinned, and `log10(y)` on a logarithmic axis.
    fn curve<'a>(&self, series: &'a Series, colour: RGBColor) -> Curve<'a> {
        let place = |&(x, y): &(f64, f64)| (x, if self.log_y { y.log10() } else { y });
        let finite = |&(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let points = thinned(
            series.points.iter().map(place).filter(finite).collect(),
            MOST_POINTS,
        );
        Curve {
            name: &series.name,
            points,
            colour,
        }
    }

    fn plot(
        &self,
        surface: &Surface,
        top: i32,
        (x, y): ((f64, f64), (f64, f64)),
        curves: &[Curve],
    ) -> Drawn<()> {
        let (x_low, x_high) = if x.0 < x.1 { x } else { padded(x.0, x.1, 0.5) };
        let (y_low, y_high) = padded(y.0, y.1, 0.06);
        let x_ticks = linear_ticks(x_low, x_high, 6);
        let y_ticks = if self.log_y {
            log_ticks(10f64.powf(y_low), 10f64.powf(y_high))
        } else {
            linear_ticks(y_low, y_high, 5)
        };
        let frame = Frame {
            labels: (&self.x_label, &self.y_label),
            margin: (top, px(18.0)),
            grid: true,
        };
        let x = Scale {
            range: x_low..x_high,
            ticks: x_ticks,
        };
        let y = Scale {
            range: y_low..y_high,
            ticks: y_ticks,
        };
        let mut plot = frame.draw(surface, x, y)?;
        for curve in curves {
            let style = curve.colour.stroke_width(px(1.5).unsigned_abs());
            plot.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
            if let [only] = curve.points[..] {
                plot.draw_series([Circle::new(only, px(3.0), curve.colour.filled())])?;
            }
        }
        Ok(())
    }
}

struct Curve<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
    colour: RGBColor,
}

pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// At most about `most` points that look the same: the lowest and the highest of each run, so that
/// no spike is lost.
fn thinned(points: Vec<(f64, f64)>, most: usize) -> Vec<(f64, f64)> {
    if points.len() <= most {
        return points;
    }
    let run = points.len().div_ceil(most / 2);
    points
        .chunks(run)
        .flat_map(|chunk| {
            let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let low = chunk.iter().min_by(by_height);
            let high = chunk.iter().max_by(by_height);
            let mut pair: Vec<(f64, f64)> = low.into_iter().chain(high).copied().collect();
            pair.sort_by(|a, b| a.0.total_cmp(&b.0));
            pair.dedup();
            pair
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_well_formed;
    use super::*;

    #[test]
    fn every_series_has_a_curve_and_a_name() {
        let chart = LineChart::new("t").axes("step <n>", "loss & more");
        let svg = chart
            .series("a < b", [(0.0, 1.0), (1.0, 2.0)])
            .series("c", [(0.0, 2.0), (1.0, 1.0)])
            .to_svg()
            .unwrap();
        assert_well_formed(svg.as_str());
        for text in ["a &lt; b", "\nc\n", "step &lt;n&gt;", "loss &amp; more"] {
            assert!(svg.as_str().contains(text.trim_matches('\n')), "{text}");
        }
        // Each colour once in the legend and once in the plot.
        for colour in ["#0082C8", "#D55E00"] {
            assert_eq!(
                svg.as_str()
                    .matches(&format!("stroke=\"{colour}\""))
                    .count(),
                2
            );
        }
    }

    #[test]
    fn points_that_cannot_be_placed_are_left_out() {
        let log = LineChart::new("t").log_y();
        let svg = log
            .clone()
            .series(
                "a",
                [(0.0, -1.0), (1.0, 10.0), (2.0, f64::NAN), (3.0, 1000.0)],
            )
            .to_svg()
            .unwrap();
        assert_well_formed(svg.as_str());
        assert!(svg.as_str().contains("100") && !svg.as_str().contains("NaN"));
        let nothing = log.series("a", [(0.0, 0.0), (f64::INFINITY, 1.0)]).to_svg();
        assert_eq!(
            nothing,
            Err(ReportError::Empty {
                figure: "t".to_owned()
            })
        );
        assert!(matches!(
            LineChart::new("t").to_svg(),
            Err(ReportError::Empty { .. })
        ));
    }

    #[test]
    fn odd_ranges_can_be_drawn() {
        for points in [
            vec![(5.0, 5.0)],
            vec![(0.0, 0.0), (1.0, 0.0)],
            vec![(0.0, f64::MAX), (f64::MAX, f64::MIN)],
            vec![(1.0, 1e18), (f64::MIN_POSITIVE, 1e18 + 256.0)],
            vec![(0.0, 5e-324), (1.0, 1e308)],
        ] {
            let chart = LineChart::new("t").series("a", points);
            assert_well_formed(chart.to_svg().unwrap().as_str());
            match chart.log_y().to_svg() {
                Ok(svg) => assert_well_formed(svg.as_str()),
                Err(error) => assert!(matches!(error, ReportError::Empty { .. })),
            }
        }
    }

    #[test]
    fn thinning_keeps_the_ends_and_the_spikes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        points[54_321].1 = 7.0;
        let thin = thinned(points, 1000);
        assert!(thin.len() <= 1000 && thin.contains(&(54_321.0, 7.0)));
        assert!(thin.is_sorted_by(|a, b| a.0 <= b.0));
        let svg = LineChart::new("t").series("a", thin).to_svg().unwrap();
        assert!(svg.as_str().len() < 40_000);
    }
}
