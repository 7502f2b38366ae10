//! Matrices as colour: gate masks over timestep and prompt.

use std::ops::RangeInclusive;

use plotters::prelude::*;

use super::axis::linear_ticks;
use super::colourbar::{self, ColourBar};
use super::colourmap::{index, palette};
use super::frame::{BELOW, Frame, Scale};
use super::picture::Pixels;
use super::svg::{Drawn, Inset, Surface, TEXT, draw, label, px, text_style};
use super::{Png, ReportError, Svg};

/// What the rows or columns of a matrix stand for: a name, and the coordinates of the first and the
/// last.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    label: String,
    first: f64,
    last: f64,
}

impl Axis {
    /// An axis on which the cells stand evenly from `first` to `last`; it may run downwards.
    pub fn new(label: impl Into<String>, first: f64, last: f64) -> Self {
        Self {
            label: label.into(),
            first,
            last,
        }
    }

    /// The outer edges of the first and the last of `cells` cells.
    fn edges(&self, cells: usize) -> (f64, f64) {
        let half = match cells {
            0 | 1 => 0.5,
            _ => (self.last - self.first) / (cells - 1) as f64 / 2.0,
        };
        // A scale must have a length.
        let half = if half == 0.0 || !half.is_finite() {
            0.5
        } else {
            half
        };
        (self.first - half, self.last + half)
    }
}

/// A matrix drawn as coloured cells with axes and a colour bar.
///
/// The first row is at the top. The cells are one embedded palette PNG, so the file weighs about a
/// byte a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct HeatMap<'a> {
    title: String,
    values: &'a [f32],
    rows: usize,
    columns: usize,
    x: Axis,
    y: Axis,
    value_label: String,
    range: Option<RangeInclusive<f32>>,
}

/// Size in CSS pixels.
const SIZE: (u32, u32) = (360, 236);
/// Width kept for the colour bar with its labels.
const BAR_AREA: f64 = 80.0;
/// Height of the title and the name of the values above the cells.
const ABOVE: f64 = 50.0;

impl<'a> HeatMap<'a> {
    /// A heat map of `values`, `[rows, columns]` row by row; `title` stands above it.
    ///
    /// # Errors
    /// When the number of values is not `rows × columns`, or is zero.
    pub fn new(
        title: impl Into<String>,
        values: &'a [f32],
        [rows, columns]: [usize; 2],
    ) -> Result<Self, ReportError> {
        let figure = title.into();
        let expected = rows.saturating_mul(columns);
        if expected != values.len() {
            return Err(ReportError::Shape {
                figure,
                shape: vec![rows, columns],
                expected,
                found: values.len(),
            });
        }
        if values.is_empty() {
            return Err(ReportError::Empty { figure });
        }
        let count = |cells: usize| Axis::new("", 0.0, (cells - 1) as f64);
        let (x, y) = (count(columns), count(rows));
        Ok(Self {
            title: figure,
            values,
            rows,
            columns,
            x,
            y,
            value_label: String::new(),
            range: None,
        })
    }

    /// Names the columns (`x`) and the rows (`y`).
    #[must_use]
    pub fn axes(mut self, x: Axis, y: Axis) -> Self {
        (self.x, self.y) = (x, y);
        self
    }

    /// Names the values, beside the colour bar.
    #[must_use]
    pub fn value_label(mut self, text: impl Into<String>) -> Self {
        self.value_label = text.into();
        self
    }

    /// Fixes the colour scale, so that several maps can be compared; without it, it spans the
    /// finite values.
    #[must_use]
    pub fn range(mut self, range: RangeInclusive<f32>) -> Self {
        self.range = Some(range);
        self
    }

    /// Draws the map.
    ///
    /// # Errors
    /// When the matrix is larger than a picture may be.
    pub fn to_svg(&self) -> Result<Svg, ReportError> {
        let (low, high) = self.scale();
        let cells: Vec<u8> = self
            .values
            .iter()
            .map(|&value| index(value, low, high))
            .collect();
        let size = (self.columns, self.rows);
        let cells = Png::encode(&self.title, size, &Pixels::Indexed(&palette()), &cells)?;
        let ramp = colourbar::ramp(&self.title)?;
        let bar = ColourBar {
            label: &self.value_label,
            range: (low, high),
            margin: (px(ABOVE), px(BELOW)),
        };
        draw(&self.title, SIZE, |surface| {
            let (at, style) = ((px(12.0), px(8.0)), text_style(TEXT + 1.0));
            surface.draw(&Text::new(label(&self.title), at, style))?;
            let (left, right) = surface.split_horizontally(px(f64::from(SIZE.0) - BAR_AREA));
            Ok(vec![self.map(&left, cells)?, bar.draw(&right, ramp)?])
        })
    }

    /// The values of the first and the last colour.
    fn scale(&self) -> (f32, f32) {
        if let Some(range) = &self.range {
            return (*range.start(), *range.end());
        }
        let finite = self
            .values
            .iter()
            .copied()
            .filter(|value| value.is_finite());
        let (low, high) = finite.fold((f32::MAX, f32::MIN), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        if low <= high { (low, high) } else { (0.0, 0.0) }
    }

    fn map(&self, surface: &Surface, png: Png) -> Drawn<Inset> {
        let (left, right) = self.x.edges(self.columns);
        let (top, bottom) = self.y.edges(self.rows);
        let ticks = |a: f64, b: f64| linear_ticks(a.min(b), a.max(b), 5);
        let x = Scale {
            range: left..right,
            ticks: ticks(left, right),
        };
        let y = Scale {
            range: bottom..top,
            ticks: ticks(top, bottom),
        };
        let labels = (self.x.label.as_str(), self.y.label.as_str());
        let plot = Frame {
            labels,
            margin: (px(ABOVE), 0),
            grid: false,
        }
        .draw(surface, x, y)?;
        let (x, y) = plot.plotting_area().get_pixel_range();
        Ok(Inset { png, x, y })
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::decode;
    use super::super::svg::assert_well_formed;
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use png::ColorType;

    fn pictures(svg: &Svg) -> Vec<Vec<u8>> {
        svg.as_str()
            .split("data:image/png;base64,")
            .skip(1)
            .map(|rest| STANDARD.decode(rest.split('"').next().unwrap()).unwrap())
            .collect()
    }

    #[test]
    fn cells_are_pixels_of_an_embedded_picture() {
        let svg = HeatMap::new("block <3>", &[0.0, 1.0, 2.0, 4.0, 4.0, 4.0], [2, 3])
            .unwrap()
            .axes(
                Axis::new("prompt", 0.0, 2.0),
                Axis::new("timestep", 999.0, 0.0),
            )
            .value_label("mask")
            .to_svg()
            .unwrap();
        assert_well_formed(svg.as_str());
        for text in ["block &lt;3&gt;", "prompt", "timestep", "mask"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        let [cells, ramp] = &pictures(&svg)[..] else {
            panic!("two pictures")
        };
        let (width, height, kind, data) = decode(cells);
        assert_eq!((width, height, kind), (3, 2, ColorType::Indexed));
        assert_eq!(data, [0, 64, 128, 255, 255, 255]);
        assert_eq!(decode(ramp).3.first(), Some(&255));
    }

    #[test]
    fn the_scale_can_be_shared_and_survives_odd_values() {
        let shown = |map: HeatMap| decode(&pictures(&map.to_svg().unwrap())[0]).3;
        let map = HeatMap::new("t", &[0.0, 1.0], [1, 2]).unwrap();
        assert_eq!(shown(map.clone()), [0, 255]);
        assert_eq!(shown(map.range(0.0..=2.0)), [0, 128]);
        assert_eq!(
            shown(HeatMap::new("t", &[0.5; 4], [2, 2]).unwrap()),
            [128; 4]
        );
        assert_eq!(
            shown(HeatMap::new("t", &[f32::NAN; 2], [1, 2]).unwrap()),
            [128; 2]
        );
        assert_eq!(
            shown(HeatMap::new("t", &[f32::INFINITY, 1.0, 2.0], [1, 3]).unwrap()),
            [255, 0, 255]
        );
    }

    #[test]
    fn the_maps_of_a_large_model_stay_small() {
        // The worst case for compression: noise.
        let mut state = 1u32;
        let values: Vec<f32> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32
        })
        .take(50 * 256)
        .collect();
        let svg = HeatMap::new("t", &values, [50, 256])
            .unwrap()
            .to_svg()
            .unwrap();
        assert!(svg.as_str().len() < 25_000, "{}", svg.as_str().len());
    }

    #[test]
    fn wrong_shapes_are_named() {
        let error = HeatMap::new("gate", &[0.0; 5], [2, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "gate: shape [2, 3] asks for 6 values, 5 were given"
        );
        assert!(matches!(
            HeatMap::new("gate", &[], [0, 3]),
            Err(ReportError::Empty { .. })
        ));
    }

    #[test]
    fn an_axis_of_one_cell_has_a_width() {
        assert_eq!(Axis::new("t", 7.0, 7.0).edges(1), (6.5, 7.5));
        assert_eq!(Axis::new("t", 999.0, 0.0).edges(2), (1498.5, -499.5));
    }
}
