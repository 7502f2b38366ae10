//! Several figures in one file.

use super::Svg;

/// Space between figures, in CSS pixels.
const GAP: f64 = 12.0;

/// One SVG with all figures, one below the other.
pub fn stack(figures: &[Svg]) -> String {
    let mut top = 0.0;
    let mut widest: f64 = 0.0;
    let mut body = String::new();
    for figure in figures {
        let (width, height) = (
            attribute(figure.as_str(), "width"),
            attribute(figure.as_str(), "height"),
        );
        body.push_str(&format!(
            "<svg y=\"{top}\"{}",
            figure.as_str().trim_start_matches("<svg")
        ));
        top += height + GAP;
        widest = widest.max(width);
    }
    let height = (top - GAP).max(0.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{widest}\" height=\"{height}\" viewBox=\"0 0 {widest} {height}\">{body}</svg>"
    )
}

/// A number among the attributes of the outermost element; 0 if it is not there.
fn attribute(svg: &str, name: &str) -> f64 {
    let tag = svg.split('>').next().unwrap_or_default();
    let value = tag
        .split_once(&format!(" {name}=\""))
        .and_then(|(_, rest)| rest.split('"').next());
    value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::chart::LineChart;

    #[test]
    fn figures_stand_below_each_other() {
        let chart = LineChart::new("a")
            .axes("x", "y")
            .series("s", [(0.0, 1.0), (1.0, 2.0)])
            .to_svg()
            .unwrap();
        let height = attribute(chart.as_str(), "height");
        assert!(height > 0.0);
        let both = stack(&[chart.clone(), chart]);
        assert_eq!(attribute(&both, "height"), 2.0 * height + GAP);
        assert!(both.contains(&format!("<svg y=\"{}\"", height + GAP)));
        assert_eq!(both.matches("<svg").count(), both.matches("</svg>").count());
    }
}
