//! Bar charts as SVG, readable on a light and on a dark page.

use std::fmt::Write;

/// One bar a row, longest value at full width.
pub(crate) fn bars(title: &str, unit: &str, rows: &[(String, f64)]) -> String {
    const LABELS: f64 = 230.0;
    const WIDTH: f64 = 760.0;
    const ROW: f64 = 26.0;
    let most = rows.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let height = 48.0 + ROW * rows.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\" fill=\"#222\">{title}</text>\n"
    );
    for (index, (label, value)) in rows.iter().enumerate() {
        let top = 36.0 + ROW * index as f64;
        let width = (WIDTH - LABELS - 130.0) * value / most;
        let color = if label.starts_with("bgtask") {
            "#c2410c"
        } else {
            "#64748b"
        };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#222\">{label}</text>\
             <rect x=\"{LABELS}\" y=\"{top}\" width=\"{width:.1}\" height=\"18\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{}\" fill=\"#222\">{value:.0} {unit}</text>",
            LABELS - 8.0,
            top + 14.0,
            LABELS + width + 6.0,
            top + 14.0,
        );
    }
    svg.push_str("</svg>\n");
    svg
}
