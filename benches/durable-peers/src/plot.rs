//! Plots as SVG, readable on a light and on a dark page. Must never know what is plotted.

use std::fmt::Write as _;

pub(crate) struct Bar {
    /// Bars of one group stand together.
    pub(crate) group: String,
    pub(crate) label: String,
    pub(crate) value: f64,
    /// The least and the most.
    pub(crate) spread: Option<[f64; 2]>,
}

const WIDTH: f64 = 760.0;
const OWN: &str = "#c2410c";
const OTHERS: [&str; 3] = ["#475569", "#94a3b8", "#0f766e"];

fn open(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\" fill=\"#222\">{title}</text>\n"
    )
}

/// Bars in groups, the longest at full width, each with a line from its least to its most.
pub(crate) fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    const LABELS: f64 = 300.0;
    const ROW: f64 = 20.0;
    const GAP: f64 = 10.0;
    let longest = bars
        .iter()
        .map(|bar| bar.spread.map_or(bar.value, |[_, most]| most));
    let longest = longest.fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABELS - 90.0) / longest;
    let groups: Vec<_> = bars.chunk_by(|one, next| one.group == next.group).collect();
    let height = 48.0 + ROW * bars.len() as f64 + GAP * groups.len() as f64;
    let mut svg = open(title, height);
    let mut top = 36.0;
    for group in groups {
        let _ = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\" fill=\"#222\">{}</text>",
            top + 14.0,
            group[0].group
        );
        for (index, bar) in group.iter().enumerate() {
            let color = if bar.label.starts_with("bgtask") {
                OWN
            } else {
                OTHERS[index % OTHERS.len()]
            };
            let (width, middle) = (bar.value * scale, top + 8.0);
            let _ = writeln!(
                svg,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{}</text>\
                 <rect x=\"{LABELS}\" y=\"{top}\" width=\"{width:.1}\" height=\"16\" fill=\"{color}\"/>",
                LABELS - 8.0,
                top + 13.0,
                bar.label,
            );
            let mut end = width;
            if let Some([least, most]) = bar.spread {
                let (least, most) = (least * scale, most * scale);
                end = end.max(most);
                let _ = writeln!(
                    svg,
                    "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\" stroke=\"#111\"/>",
                    LABELS + least,
                    LABELS + most
                );
            }
            let digits = if bar.value < 20.0 { 1 } else { 0 };
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" fill=\"#222\">{:.digits$} {unit}</text>",
                LABELS + end + 6.0,
                top + 13.0,
                bar.value,
            );
            top += ROW;
        }
        top += GAP;
    }
    svg.push_str("</svg>\n");
    svg
}

/// One line of a plot over time: its name and its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<[f64; 2]>,
}

/// Lines over time in seconds, from zero up.
pub(crate) fn lines(title: &str, unit: &str, lines: &[Line]) -> String {
    const LEFT: f64 = 60.0;
    const RIGHT: f64 = 200.0;
    const TOP: f64 = 40.0;
    const BOTTOM: f64 = 30.0;
    const HEIGHT: f64 = 260.0;
    let most = |axis: usize| {
        let points = lines.iter().flat_map(|line| &line.points);
        points
            .map(|point| point[axis])
            .fold(f64::MIN_POSITIVE, f64::max)
    };
    let (last, highest) = (most(0), most(1));
    let mut svg = open(title, HEIGHT);
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / last;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / highest;
    for part in 0..=4 {
        let value = highest * f64::from(part) / 4.0;
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\" fill=\"#222\">{value:.1}</text>",
            WIDTH - RIGHT,
            y(value),
            LEFT - 6.0,
            y(value) + 4.0,
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{last:.0} s</text>\
         <text x=\"10\" y=\"{}\" fill=\"#222\">{unit}</text>",
        WIDTH - RIGHT,
        HEIGHT - 10.0,
        HEIGHT - 10.0,
    );
    let colors = [OWN, OTHERS[0], OTHERS[2], OTHERS[1]];
    for (index, line) in lines.iter().enumerate() {
        let color = colors[index % colors.len()];
        let points: Vec<_> = line
            .points
            .iter()
            .map(|[seconds, value]| format!("{:.1},{:.1}", x(*seconds), y(*value)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{color}\">{}</text>",
            points.join(" "),
            WIDTH - RIGHT + 8.0,
            TOP + 10.0 + 18.0 * index as f64,
            line.name,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
