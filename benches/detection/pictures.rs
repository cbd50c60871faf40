//! Pictures of the results, as SVG that needs nothing else.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 270.0;
const ROW: f64 = 26.0;
const COLOURS: [&str; 3] = ["#2f6f4f", "#c2703d", "#4a6fa5"];

/// A picture, which goes where the table goes that it belongs to: into the documents, if the run is written there.
pub struct Picture {
    file: &'static str,
    svg: String,
}

impl Picture {
    /// Puts it beside the document that shows it.
    pub fn save(&self) -> anyhow::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(self.file), &self.svg)
            .with_context(|| format!("write the picture {}", self.file))
    }
}

/// A row of a chart: what it is, and its values, one of each series.
pub struct Bars {
    pub label: String,
    pub values: Vec<f64>,
    /// What is written beside it.
    pub told: String,
}

/// Horizontal bars, from 0 to the largest value or `most`.
pub fn bars(
    file: &'static str,
    title: &str,
    series: &[&str],
    rows: &[Bars],
    most: f64,
) -> anyhow::Result<Picture> {
    let step = ROW.max(10.0 * series.len() as f64 + 8.0);
    let height = 70.0 + step * rows.len() as f64;
    let scale = (WIDTH - LEFT - 110.0) / most;
    let mut svg = head(title, height);
    for (index, name) in series.iter().enumerate() {
        let x = LEFT + 150.0 * index as f64;
        writeln!(
            svg,
            r#"<rect x="{x}" y="36" width="10" height="10" fill="{}"/><text x="{}" y="45">{name}</text>"#,
            COLOURS[index % 3],
            x + 14.0
        )?;
    }
    for (index, row) in rows.iter().enumerate() {
        let top = 58.0 + step * index as f64;
        let thick = (step - 8.0) / row.values.len() as f64;
        writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
            LEFT - 8.0,
            top + step / 2.0,
            escaped(&row.label)
        )?;
        for (place, value) in row.values.iter().enumerate() {
            let y = top + thick * place as f64;
            let width = (value.min(most) * scale).max(1.0);
            writeln!(
                svg,
                r#"<rect x="{LEFT}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{}"/>"#,
                thick - 1.0,
                COLOURS[place % 3]
            )?;
        }
        let longest = row.values.iter().copied().fold(0.0, f64::max).min(most) * scale;
        writeln!(
            svg,
            r#"<text x="{:.1}" y="{}">{}</text>"#,
            LEFT + longest + 6.0,
            top + step / 2.0,
            escaped(&row.told)
        )?;
    }
    Ok(whole(file, svg))
}

/// Lines through points `(x, y)` with `y` from 0 to 1.
pub fn lines(
    file: &'static str,
    title: &str,
    axis: &str,
    series: &[(&str, Vec<(f64, f64)>)],
) -> anyhow::Result<Picture> {
    let most = series
        .iter()
        .flat_map(|(_, points)| points)
        .map(|(x, _)| *x)
        .fold(0.0, f64::max);
    let place = |x: f64, y: f64| (60.0 + x / most * 560.0, 300.0 - y * 230.0);
    let mut svg = head(title, 350.0);
    for tenth in [0.0, 0.5, 1.0] {
        let (x, y) = place(0.0, tenth);
        writeln!(
            svg,
            r##"<path d="M{x} {y} H620" stroke="#ccc"/><text x="{}" y="{}" text-anchor="end">{tenth}</text>"##,
            x - 6.0,
            y + 4.0
        )?;
    }
    for (index, (name, points)) in series.iter().enumerate() {
        let mut path = String::new();
        for (step, (x, y)) in points.iter().enumerate() {
            let (px, py) = place(*x, *y);
            write!(
                path,
                "{}{px:.1} {py:.1} ",
                if step == 0 { "M" } else { "L" }
            )?;
            if index == 0 {
                writeln!(
                    svg,
                    r#"<text x="{px:.1}" y="318" text-anchor="middle">{x}</text>"#
                )?;
            }
        }
        writeln!(
            svg,
            r#"<path d="{path}" fill="none" stroke="{}" stroke-width="2"/>"#,
            COLOURS[index % 3]
        )?;
        writeln!(
            svg,
            r#"<text x="{}" y="45" fill="{}">{}</text>"#,
            60.0 + 150.0 * index as f64,
            COLOURS[index % 3],
            escaped(name)
        )?;
    }
    writeln!(
        svg,
        r#"<text x="340" y="340" text-anchor="middle">{}</text>"#,
        escaped(axis)
    )?;
    Ok(whole(file, svg))
}

fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n<title>{0}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text x=\"12\" y=\"22\" font-size=\"15\">{0}</text>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

fn whole(file: &'static str, mut svg: String) -> Picture {
    svg.push_str("</svg>\n");
    Picture { file, svg }
}
