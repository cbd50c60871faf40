//! Charts as data. A chart carries its numbers three ways: as JSON for the script that draws it, as a table
//! for people without script or eyes on the screen, and as one sentence. All three come from the same
//! values, so a test can read the table and know what is drawn.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::escape::{json_for_script, visible};
use super::wording::{self, Scale};

/// What a line stands for; decides how it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// A version of the model; thick where it was the champion.
    Version,
    /// The one value of charts that are not about versions.
    Total,
    /// What the value was over the baseline.
    Reference,
    /// Beyond it, a rule is in breach.
    Threshold,
}

/// One line.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub name: String,
    pub kind: LineKind,
    /// Which of the chart colours; lines of one version have the same everywhere on the page.
    pub colour: usize,
    pub values: Vec<Option<f64>>,
    /// Where the version was the champion; empty when that means nothing.
    pub served: Vec<bool>,
}

/// Something that happened, marked on the time axis.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    pub at: i64,
    pub kind: String,
    pub text: String,
    #[serde(skip)]
    pub when: String,
}

/// A window on the horizontal axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
}

/// What a chart is made of.
#[derive(Debug, Clone)]
pub struct Chart {
    pub id: String,
    pub title: String,
    pub measure: String,
    pub unit: String,
    pub windows: Vec<Span>,
    pub lines: Vec<Line>,
    pub marks: Vec<Mark>,
}

/// A chart, ready for its template.
#[derive(Debug, Clone)]
pub struct ChartView {
    pub id: String,
    pub title: String,
    pub unit: String,
    pub summary: String,
    pub json: String,
    pub legend: Vec<LegendEntry>,
    pub marks: Vec<Mark>,
    pub head: Vec<String>,
    pub rows: Vec<TableRow>,
}

/// One entry of the legend, with the class that gives its swatch a colour and a form.
#[derive(Debug, Clone)]
pub struct LegendEntry {
    pub name: String,
    pub class: String,
}

/// One window of the table.
#[derive(Debug, Clone)]
pub struct TableRow {
    pub window: String,
    pub cells: Vec<String>,
}

#[derive(Serialize)]
struct Payload<'a> {
    scale: Scale,
    unit: &'a str,
    x: Vec<i64>,
    labels: Vec<String>,
    lines: &'a [Line],
    marks: &'a [Mark],
}

impl Chart {
    /// The chart for its template; `None` when it has no value at all.
    #[must_use]
    pub fn view(mut self) -> Option<ChartView> {
        let measured = |line: &Line| line.values.iter().any(Option::is_some);
        self.lines.retain(measured);
        if !self
            .lines
            .iter()
            .any(|line| matches!(line.kind, LineKind::Version | LineKind::Total))
        {
            return None;
        }
        for line in &mut self.lines {
            line.name = visible(&line.name);
        }
        for mark in &mut self.marks {
            mark.text = visible(&mark.text);
        }
        Some(ChartView {
            json: self.json(),
            summary: self.summary(),
            legend: self.lines.iter().map(legend_entry).collect(),
            head: self.lines.iter().map(|line| line.name.clone()).collect(),
            rows: self.rows(),
            id: self.id,
            title: self.title,
            unit: self.unit,
            marks: self.marks,
        })
    }

    fn json(&self) -> String {
        json_for_script(&Payload {
            scale: wording::scale(&self.measure),
            unit: &self.unit,
            x: self.windows.iter().map(|w| w.start.timestamp()).collect(),
            labels: self
                .windows
                .iter()
                .map(|w| wording::window(w.start, w.end))
                .collect(),
            lines: &self.lines,
            marks: &self.marks,
        })
    }

    fn rows(&self) -> Vec<TableRow> {
        let row = |(position, span): (usize, &Span)| TableRow {
            window: wording::window(span.start, span.end),
            cells: self
                .lines
                .iter()
                .map(|line| wording::value_or_dash(&self.measure, line.values[position]))
                .collect(),
        };
        // The newest window first: that is what a reader of the table wants.
        self.windows.iter().enumerate().rev().map(row).collect()
    }

    fn summary(&self) -> String {
        let now = |line: &Line| {
            let newest = line.values.iter().rev().find_map(|v| *v)?;
            Some(format!(
                "{} {}",
                line.name,
                wording::value(&self.measure, newest)
            ))
        };
        let newest: Vec<String> = self.lines.iter().filter_map(now).collect();
        format!(
            "{}, {} windows. Newest values: {}.",
            self.title,
            self.windows.len(),
            newest.join(", ")
        )
    }
}

fn legend_entry(line: &Line) -> LegendEntry {
    LegendEntry {
        name: line.name.clone(),
        class: match line.kind {
            LineKind::Version | LineKind::Total => format!("swatch c{}", line.colour),
            LineKind::Reference => "swatch reference".to_owned(),
            LineKind::Threshold => "swatch threshold".to_owned(),
        },
    }
}

/// A line without axes, for a table cell. Coordinates are computed here, because a template does not.
#[derive(Debug, Clone)]
pub struct Sparkline {
    pub points: String,
    pub reference_y: Option<String>,
    pub last_x: String,
    pub last_y: String,
    pub summary: String,
}

/// Width and height of a sparkline's own coordinates.
pub const SPARK_SIZE: (f64, f64) = (132.0, 36.0);

impl Sparkline {
    /// Draws `values`, oldest first, with the newest reference value as a line across.
    #[must_use]
    pub fn draw(measure: &str, values: &[f64], reference: Option<f64>) -> Option<Self> {
        let newest = *values.last()?;
        let all = || values.iter().copied().chain(reference);
        let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        });
        let (width, height) = SPARK_SIZE;
        let margin = 4.0;
        let y = |v: f64| {
            let share = if high > low {
                (v - low) / (high - low)
            } else {
                0.5
            };
            format!("{:.1}", height - margin - share * (height - 2.0 * margin))
        };
        let step = (width - 2.0 * margin) / (values.len().max(2) - 1) as f64;
        let x = |position: usize| format!("{:.1}", margin + position as f64 * step);
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(position, v)| format!("{},{}", x(position), y(*v)))
            .collect();
        Some(Self {
            points: points.join(" "),
            reference_y: reference.map(y),
            last_x: x(values.len() - 1),
            last_y: y(newest),
            summary: format!(
                "{} over {} windows, between {} and {}",
                wording::measure_title(measure),
                values.len(),
                wording::value(
                    measure,
                    values.iter().copied().fold(f64::INFINITY, f64::min)
                ),
                wording::value(
                    measure,
                    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
                ),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn chart(lines: Vec<Line>) -> Chart {
        let start: DateTime<Utc> = "2013-05-06T00:00:00Z".parse().expect("a valid instant");
        Chart {
            id: "mae".to_owned(),
            title: "Mean absolute error".to_owned(),
            measure: "mae".to_owned(),
            unit: "min".to_owned(),
            windows: (0..2)
                .map(|n| Span {
                    start: start + TimeDelta::weeks(n),
                    end: start + TimeDelta::weeks(n + 1),
                })
                .collect(),
            lines,
            marks: Vec::new(),
        }
    }

    fn line(name: &str, values: [Option<f64>; 2]) -> Line {
        Line {
            name: name.to_owned(),
            kind: LineKind::Version,
            colour: 0,
            values: values.to_vec(),
            served: vec![true, true],
        }
    }

    #[test]
    fn the_table_holds_what_is_drawn_newest_first() {
        let view = chart(vec![
            line("v1", [Some(16.06), None]),
            line("v3", [None, Some(6.93)]),
        ])
        .view()
        .expect("has values");
        assert_eq!(view.head, ["v1", "v3"]);
        assert_eq!(view.rows[0].window, "13–19 May 2013");
        assert_eq!(view.rows[0].cells, ["–", "6.93"]);
        assert_eq!(view.rows[1].cells, ["16.06", "–"]);
    }

    #[test]
    fn a_chart_without_values_is_not_drawn() {
        assert!(chart(vec![line("v1", [None, None])]).view().is_none());
        assert!(chart(Vec::new()).view().is_none());
    }

    #[test]
    fn a_hostile_version_name_cannot_leave_the_data_block() {
        let view = chart(vec![line("</script><script>alert(1)", [Some(1.0), None])])
            .view()
            .expect("has values");
        assert!(!view.json.contains("</script>"));
    }

    #[test]
    fn a_sparkline_of_one_value_and_of_equal_values_stays_inside() {
        for values in [vec![5.0], vec![5.0, 5.0, 5.0]] {
            let spark = Sparkline::draw("mae", &values, Some(5.0)).expect("drawn");
            assert_eq!(spark.last_y, "18.0");
            assert!(!spark.points.contains("NaN"));
        }
        assert!(Sparkline::draw("mae", &[], Some(5.0)).is_none());
    }
}
