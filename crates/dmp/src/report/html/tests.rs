//! What a page promises: everything escaped, nothing fetched, every picture described.

use super::*;
use crate::report::chart::LineChart;
use crate::report::grid::{GridStyle, Tiles};
use crate::report::heatmap::HeatMap;
use crate::report::table::Column;

const NASTY: &str = "<script>alert('x')</script> & \"quoted\"";

/// A page with every kind of block, each holding `text`.
fn page(text: &str) -> Page {
    let picture = Tiles::new(&[0, 255], [1, 1, 1, 2])
        .unwrap()
        .to_png(&GridStyle::default())
        .unwrap();
    let panel = Panel {
        name: text.into(),
        alt: text.into(),
        picture,
    };
    let chart = LineChart::new(text)
        .axes(text, text)
        .series(text, [(0.0, 0.0), (1.0, 1.0)])
        .series(text, []);
    let map = HeatMap::new(text, &[0.0, 1.0], [1, 2])
        .unwrap()
        .to_svg()
        .unwrap();
    Page::new(text)
        .lead(text)
        .key_figures([
            KeyFigure::new(text, text, text),
            KeyFigure::new("plain", "1", ""),
        ])
        .section(text)
        .paragraph(text)
        .table(
            text,
            Table::new([Column::text(text), Column::number("n")]).row([text, text]),
        )
        .compare(text, [panel.clone(), panel])
        .chart(text, chart.to_svg().unwrap())
        .charts(text, [map.clone(), map])
        .commands([text])
        .settings(serde_json::json!({ text: text }))
}

#[test]
fn no_text_becomes_markup() {
    let html = page(NASTY).to_html();
    assert!(!html.contains("<script"), "a script got through");
    assert!(!html.contains("alert('x')") && !html.contains("\"quoted\""));
    let count = html.matches("&lt;script&gt;").count();
    assert!(count >= 18, "a text is missing: {count}");
    // The structure does not depend on the texts.
    let tags = |html: &str| html.matches('<').count();
    assert_eq!(tags(&html), tags(&page("plain").to_html()));
}

#[test]
fn nothing_is_fetched() {
    let html = page("plain")
        .to_html()
        .replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
    for request in [
        "http:", "https:", "src=\"/", "url(", "@import", "<link", "<script", "<iframe",
    ] {
        assert!(!html.contains(request), "{request}");
    }
    for (index, _) in html
        .match_indices("src=\"")
        .chain(html.match_indices("href=\""))
    {
        let address = html[index..].split('"').nth(1).unwrap();
        assert!(
            address.starts_with("data:image/png;base64,"),
            "{address:.40}"
        );
    }
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn every_picture_is_described() {
    let html = page("plain").to_html();
    let pictures: Vec<&str> = html
        .split("<img ")
        .skip(1)
        .map(|rest| rest.split('>').next().unwrap())
        .collect();
    assert_eq!(pictures.len(), 2);
    assert!(
        pictures
            .iter()
            .all(|tag| tag.contains("alt=\"plain\"") && tag.contains("width=\""))
    );
    assert_eq!(html.matches("<svg").count(), 3);
    assert_eq!(html.matches("role=\"img\" aria-label=\"plain\"").count(), 3);
}

#[test]
fn tags_are_balanced() {
    let html = page(NASTY).to_html();
    for tag in [
        "html", "head", "body", "main", "header", "footer", "div", "dl", "table", "tr", "th", "td",
        "figure", "pre", "svg", "p",
    ] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
        assert!(opened > 0, "{tag} is not in the page");
    }
}

#[test]
fn an_empty_page_is_a_page() {
    let html = Page::new("t").to_html();
    assert!(html.contains("<h1>t</h1>") && !html.contains("lead\"") && !html.contains("<details>"));
}
