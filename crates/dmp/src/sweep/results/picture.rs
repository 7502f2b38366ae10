//! The picture of a sweep.

use super::Results;
use crate::report::dots::{Dot, DotPlot};
use crate::report::{ReportError, Svg, stack};
use crate::sweep::statistics::Mean;

impl Results {
    /// A plot for each figure, of the changes against the base setting or, without one, of the figures
    /// themselves. `None` while there is nothing to draw.
    ///
    /// # Errors
    /// When the drawing library refuses.
    pub fn to_svg(&self) -> Result<Option<String>, ReportError> {
        let plots: Vec<Svg> = (0..self.columns.len())
            .filter_map(|column| self.plot(column))
            .map(|plot| plot.to_svg())
            .collect::<Result<_, _>>()?;
        Ok((!plots.is_empty()).then(|| stack(&plots)))
    }

    /// Whether there is a picture.
    pub(super) fn drawn(&self) -> bool {
        (0..self.columns.len()).any(|column| self.plot(column).is_some())
    }

    /// `None` without a dot.
    fn plot(&self, column: usize) -> Option<DotPlot> {
        let title = &self.columns[column].title;
        let changes = self.base.is_some();
        let dots: Vec<Dot> = self
            .rows
            .iter()
            .filter_map(|row| {
                let cell = &row.figures[column];
                let (mean, points) = match changes {
                    true => (cell.change, &cell.change_by_seed),
                    false => (cell.mean, &cell.by_seed),
                };
                mean.map(|mean| dot(&row.name, &mean, points))
            })
            .collect();
        if dots.is_empty() {
            return None;
        }
        let axis = match &self.base {
            Some(base) => format!("{title}: change against {base}, %"),
            None => title.clone(),
        };
        let plot = DotPlot::new(format!("{axis}, with 95 % intervals"), axis).dots(dots);
        Some(if changes { plot.mark(0.0) } else { plot })
    }
}

fn dot(name: &str, mean: &Mean, points: &[Option<f64>]) -> Dot {
    Dot {
        name: name.to_owned(),
        at: mean.mean,
        interval: mean.interval,
        points: points.iter().flatten().copied().collect(),
    }
}
