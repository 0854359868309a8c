//! Wall times as bars: bench.svg.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::record::Summary;
use crate::row::{Link, Row, RowKind};
use crate::rows::ROWS;

const WIDTH: f64 = 1000.0;
const LABELS: f64 = 430.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const HEADING: f64 = 34.0;
const MARGIN: f64 = 16.0;

/// A row with its median, fastest and slowest wall time in seconds.
struct Bar<'a> {
    row: &'a Row,
    wall: f64,
    least: f64,
    most: f64,
}

/// The drawing: a group for each link, in each group the fastest row first.
pub(crate) fn draw(summaries: &BTreeMap<String, Summary>) -> String {
    let groups: Vec<(&str, Vec<Bar<'_>>)> = [
        (Link::Loopback, "no limit but the machine"),
        (Link::Gigabit, "network at 1 Gbit/s"),
        (Link::TenGigabit, "network at 10 Gbit/s"),
    ]
    .into_iter()
    .map(|(link, title)| (title, bars(summaries, link)))
    .filter(|(_, bars)| !bars.is_empty())
    .collect();
    let all = || groups.iter().flat_map(|(_, bars)| bars);
    let longest = all().map(|bar| bar.most).fold(0.001, f64::max);
    let scale = (WIDTH - LABELS - MARGIN - 70.0) / longest;
    let height = all().fold(MARGIN * 2.0 + 20.0, |sum, _| sum + STEP)
        + groups.iter().fold(0.0, |sum, _| sum + HEADING);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Seconds from the start to the last byte on the disk</title>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    let mut y = MARGIN;
    for (title, bars) in &groups {
        y += HEADING;
        let _ = writeln!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{:.1}\" font-size=\"14\" font-weight=\"bold\" \
             fill=\"#222222\">{title}, seconds</text>",
            y - 12.0
        );
        for bar in bars {
            draw_bar(&mut svg, bar, y, scale);
            y += STEP;
        }
    }
    legend(&mut svg, y + 18.0);
    svg.push_str("</svg>\n");
    svg
}

fn bars(summaries: &BTreeMap<String, Summary>, link: Link) -> Vec<Bar<'static>> {
    let mut bars: Vec<Bar<'static>> = ROWS
        .iter()
        .filter(|row| row.link == link)
        .filter_map(|row| {
            let summary = summaries.get(row.name)?;
            let (least, most) = summary.range(|it| it.wall)?;
            Some(Bar {
                row,
                wall: summary.median(|it| it.wall)?,
                least,
                most,
            })
        })
        .collect();
    bars.sort_by(|a, b| a.wall.total_cmp(&b.wall));
    bars
}

fn colour(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Ours => "#1f6fb4",
        RowKind::Peer => "#9a9a9a",
        RowKind::Limit => "#dfd3a8",
    }
}

fn draw_bar(svg: &mut String, bar: &Bar<'_>, y: f64, scale: f64) {
    let (middle, length) = (y + BAR / 2.0, (bar.wall * scale).max(1.0));
    let weight = if bar.row.kind == RowKind::Ours {
        "bold"
    } else {
        "normal"
    };
    let label = escaped(bar.row.about);
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"#222222\">{label}</text>\n\
         <rect x=\"{LABELS}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{}\"/>\n\
         <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222222\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{:.2}</text>",
        LABELS - 8.0,
        middle + 4.0,
        colour(bar.row.kind),
        LABELS + bar.least * scale,
        LABELS + bar.most * scale,
        LABELS + bar.most.max(bar.wall) * scale + 6.0,
        middle + 4.0,
        bar.wall,
    );
}

fn legend(svg: &mut String, y: f64) {
    let mut x = LABELS;
    for (kind, name) in [
        (RowKind::Ours, "provision"),
        (RowKind::Peer, "other tools"),
        (RowKind::Limit, "limits of the machine"),
    ] {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{y:.1}\" fill=\"#222222\">{name}</text>",
            y - 10.0,
            colour(kind),
            x + 18.0,
        );
        x += 140.0;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::walls;

    #[test]
    fn rows_of_a_group_are_sorted_by_time() {
        let summaries = walls(&[("coreos-zst", 4.0), ("packed", 1.0), ("packed-1g", 5.0)]);
        let svg = draw(&summaries);
        let place = |text: &str| svg.find(text).unwrap_or_else(|| panic!("{text}: {svg}"));
        assert!(place("packed image<") < place("coreos-installer, .zst<"));
        assert!(place("coreos-installer, .zst<") < place("network at 1 Gbit/s"));
        assert!(!svg.contains("10 Gbit/s"));
    }

    #[test]
    fn every_element_is_closed() {
        let svg = draw(&walls(&[("gz", 1.0), ("packed-10g", 2.0)]));
        let count = |text: &str| svg.matches(text).count();
        assert_eq!(count("<text"), count("</text>"));
        assert_eq!(count("<rect") + count("<path"), count("/>"));
        assert_eq!((count("<svg"), count("</svg>")), (1, 1));
        assert_eq!(escaped("a < b & c"), "a &lt; b &amp; c");
    }

    #[test]
    fn a_drawing_without_rows_is_whole() {
        assert!(draw(&BTreeMap::new()).ends_with("</svg>\n"));
    }
}
