//! Drawing with plotters, made fit for a page: sharp curves, the page's own ink, a spoken
//! description.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Png, ReportError};

/// A complete SVG element, safe to stand inside a page or alone in a file.
///
/// Text and lines take the surrounding text's colour (`currentColor`), so a figure follows a page's
/// light or dark theme; alone in a file it is black.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Svg(String);

impl Svg {
    /// The element as text, what a `.svg` file holds.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Svg> for String {
    fn from(svg: Svg) -> Self {
        svg.0
    }
}

/// The colour that becomes `currentColor`; no figure uses it for anything else.
pub(super) const INK: RGBColor = RGBColor(0x1b, 0x1c, 0x1d);
const INK_WRITTEN: &str = "\"#1B1C1D\"";

/// Drawing units a CSS pixel: plotters rounds to whole units, and a curve rounded to pixels has
/// stairs.
const UNITS: i32 = 8;

/// Sizes of a figure's text, in CSS pixels.
pub(super) const TEXT: f64 = 12.0;
const FONTS: &str = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

/// `pixels` CSS pixels in drawing units.
pub(super) fn px(pixels: f64) -> i32 {
    (pixels * f64::from(UNITS)).round() as i32
}

/// The figures' text style.
pub(super) fn text_style(size: f64) -> TextStyle<'static> {
    // plotters' SVG backend divides sizes by 1.24.
    let font = FontDesc::new(
        FontFamily::Name(FONTS),
        size * 1.24 * f64::from(UNITS),
        FontStyle::Normal,
    );
    font.color(&INK)
}

/// The figures' text style for text that begins at a point, placed as `vertical` says.
pub(super) fn anchored_text(size: f64, vertical: VPos) -> TextStyle<'static> {
    text_style(size).pos(Pos::new(HPos::Left, vertical))
}

/// Roughly how wide `text` is, in CSS pixels: a little over the average of the fonts a browser may
/// choose.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.58
}

/// The drawing surface of one figure.
pub(super) type Surface<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// What drawing on it may end in.
pub(super) type Drawn<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// An embedded picture and the rectangle it fills, in drawing units.
pub(super) struct Inset {
    pub png: Png,
    pub x: std::ops::Range<i32>,
    pub y: std::ops::Range<i32>,
}

/// Draws a figure of `width` × `height` CSS pixels described by `title`; the insets lie beneath the
/// drawing.
pub(super) fn draw(
    title: &str,
    (width, height): (u32, u32),
    drawing: impl FnOnce(&Surface) -> Drawn<Vec<Inset>>,
) -> Result<Svg, ReportError> {
    let units = UNITS.unsigned_abs();
    let mut body = String::new();
    let insets = {
        let surface =
            SVGBackend::with_string(&mut body, (width * units, height * units)).into_drawing_area();
        let insets = drawing(&surface);
        insets.and_then(|insets| {
            surface.present()?;
            Ok(insets)
        })
    };
    let insets = insets.map_err(|error| ReportError::Backend {
        figure: title.to_owned(),
        reason: error.to_string(),
    })?;

    // plotters' opening tag knows neither a view box apart from the size nor a description: ours
    // takes its place.
    let content = body
        .split_once('>')
        .map_or("", |(_, rest)| rest)
        .replace(INK_WRITTEN, "\"currentColor\"");
    let title = escape(title);
    let view = format!("0 0 {} {}", width * units, height * units);
    let images: String = insets.iter().map(Inset::element).collect();
    Ok(Svg(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"{view}\" \
         role=\"img\" aria-label=\"{title}\">\n<title>{title}</title>{images}{content}"
    )))
}

impl Inset {
    fn element(&self) -> String {
        let (x, y) = (&self.x, &self.y);
        format!(
            "\n<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" preserveAspectRatio=\"none\" \
             style=\"image-rendering:pixelated\" href=\"{}\"/>",
            x.start,
            y.start,
            x.end - x.start,
            y.end - y.start,
            self.png.data_uri()
        )
    }
}

/// Text as it may stand in an element or an attribute of SVG and HTML; characters XML forbids
/// become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(printable(character)),
        }
    }
    escaped
}

/// `text` for plotters, which escapes markup but lets control characters through.
pub(super) fn label(text: &str) -> String {
    text.chars().map(printable).collect()
}

fn printable(character: char) -> char {
    let forbidden = character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    if forbidden || matches!(character, '\u{fffe}' | '\u{ffff}') {
        '\u{fffd}'
    } else {
        character
    }
}

/// Fails unless `text` is one balanced element whose attributes and text are free of stray markup.
#[cfg(test)]
pub(super) fn assert_well_formed(text: &str) {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        assert!(
            !rest[..start].contains('>'),
            "stray '>' in text: {:.80}",
            &rest[..start]
        );
        let end = rest.find('>').expect("a tag is left open");
        let tag = &rest[start + 1..end];
        assert!(!tag.contains('<'), "'<' inside a tag: {tag:.80}");
        assert_eq!(
            tag.matches('"').count() % 2,
            0,
            "an attribute is left open: {tag:.80}"
        );
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closing tag does not match");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().unwrap_or_default());
        }
        assert!(
            !open.is_empty() || rest.trim().is_empty(),
            "more than one root: {rest:.80}"
        );
    }
    assert!(open.is_empty(), "unclosed: {open:?}");
    for (index, _) in text.match_indices('&') {
        let entity = text[index + 1..].split(';').next().unwrap_or_default();
        let known = ["amp", "lt", "gt", "quot", "apos", "#39"];
        assert!(
            known.contains(&entity),
            "bare ampersand before {entity:.20}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_carries_size_description_and_ink() {
        let svg = draw("a < b & \"c\"", (100, 50), |surface| {
            surface.draw_text("x > y", &text_style(TEXT), (0, 0))?;
            Ok(Vec::new())
        })
        .unwrap();
        assert_well_formed(svg.as_str());
        assert!(
            svg.as_str()
                .contains("width=\"100\" height=\"50\" viewBox=\"0 0 800 400\"")
        );
        assert!(
            svg.as_str()
                .contains("<title>a &lt; b &amp; &quot;c&quot;</title>")
        );
        assert!(
            svg.as_str().contains("fill=\"currentColor\"") && !svg.as_str().contains("#1B1C1D")
        );
    }

    #[test]
    fn escaping_leaves_no_markup_and_no_forbidden_character() {
        assert_eq!(
            escape("<a href='x'>&\u{0}\n"),
            "&lt;a href=&#39;x&#39;&gt;&amp;\u{fffd}\n"
        );
    }

    #[test]
    #[should_panic(expected = "closing tag does not match")]
    fn the_check_of_well_formedness_can_fail() {
        assert_well_formed("<svg><g></svg></g>");
    }
}
