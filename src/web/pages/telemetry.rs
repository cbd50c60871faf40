//! How a model does in service, as charts of its page: one for each measure that somebody reports.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::domain::ids::ModelId;
use crate::domain::telemetry::{MeasureInfo, Point, Quantiles};
use crate::services::Error;
use crate::services::telemetry::{self as readings, Readings};
use crate::web::chart::{Chart, ChartView, Line, LineKind, Span};

const GIB: f64 = (1_u64 << 30) as f64;

/// The charts of the last day.
pub async fn charts(
    conn: &mut PgConnection,
    model: ModelId,
    now: DateTime<Utc>,
) -> Result<Vec<ChartView>, Error> {
    let range = (now - readings::USUAL_RANGE, now);
    let read = readings::read(conn, model, None, range).await?;
    Ok(read
        .into_iter()
        .filter_map(|(info, readings)| chart(info, &readings).view())
        .collect())
}

fn chart(info: &MeasureInfo, readings: &Readings) -> Chart {
    let (unit, scale) = shown_in(info);
    let windows = windows(&readings.points, readings.step);
    let line = |name: &str, colour, value: &dyn Fn(&Point) -> Option<f64>| {
        let at = |window: &Span| {
            let point = readings
                .points
                .iter()
                .find(|point| point.at == window.start);
            point.and_then(value).map(|value| value * scale)
        };
        Line {
            name: name.to_owned(),
            kind: LineKind::Total,
            colour,
            values: windows.iter().map(at).collect(),
            served: Vec::new(),
        }
    };
    let quantile =
        |of: fn(&Quantiles) -> f64| move |point: &Point| point.quantiles.as_ref().map(of);
    let spread = readings
        .points
        .iter()
        .any(|point| point.quantiles.is_some());
    let lines = if spread {
        vec![
            line("half are below", 0, &quantile(|of| of.p50)),
            line("95 % are below", 1, &quantile(|of| of.p95)),
            line("99 % are below", 2, &quantile(|of| of.p99)),
        ]
    } else {
        vec![line("value", 0, &|point| Some(point.value))]
    };
    Chart {
        id: format!("telemetry-{}", info.name.replace('_', "-")),
        title: info.title.clone(),
        measure: info.name.clone(),
        unit,
        windows,
        lines,
        marks: Vec::new(),
    }
}

/// Every step from the first with samples to the last, so that a gap is seen as one.
fn windows(points: &[Point], step: TimeDelta) -> Vec<Span> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let mut windows = Vec::new();
    let mut start = first.at;
    while start <= last.at {
        let end = start + step;
        windows.push(Span { start, end });
        start = end;
    }
    windows
}

/// The unit that people read, and what values are multiplied with to be in it.
fn shown_in(info: &MeasureInfo) -> (String, f64) {
    match info.unit.as_str() {
        "ratio" | "1" => (String::new(), 1.0),
        "By" => ("GiB".to_owned(), 1.0 / GIB),
        "Cel" => ("°C".to_owned(), 1.0),
        "{request}" | "{token}" | "{cpu}" => {
            let unit = info.unit.trim_matches(['{', '}']);
            (format!("{unit}s"), 1.0)
        }
        unit => (unit.to_owned(), 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::telemetry::table;

    fn point(minutes: i64, value: f64) -> Point {
        let start: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().expect("a valid instant");
        Point {
            at: start + TimeDelta::minutes(minutes),
            value,
            quantiles: None,
        }
    }

    #[test]
    fn a_gap_is_seen_and_a_share_is_a_percentage() {
        let info = table().measure("gpu_utilization").expect("known");
        let readings = Readings {
            step: TimeDelta::minutes(10),
            points: vec![point(0, 0.25), point(20, 0.75)],
        };
        let view = chart(info, &readings).view().expect("has values");
        let cells: Vec<&str> = view.rows.iter().map(|row| row.cells[0].as_str()).collect();
        assert_eq!(cells, ["75 %", "–", "25 %"]);
        assert_eq!(view.rows[0].window, "1 Mar 2026, 10:20");
    }

    #[test]
    fn memory_is_told_in_gibibytes() {
        let info = table().measure("gpu_memory_used").expect("known");
        let readings = Readings {
            step: TimeDelta::minutes(10),
            points: vec![point(0, 3.0 * GIB)],
        };
        let view = chart(info, &readings).view().expect("has values");
        assert_eq!(
            (view.unit.as_str(), view.rows[0].cells[0].as_str()),
            ("GiB", "3.00")
        );
    }
}
