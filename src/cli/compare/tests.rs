//! Tests of what people type and read; files and exit codes are tested on the real program, in `tests/it/compare.rs`.

use super::*;
use crate::domain::measurement::{Recipe, Segment, Status};
use crate::domain::skew::Finding;
use crate::services::comparison::{
    Comparison, FeatureSummary, Measurement, SchemaFinding, SideSummary,
};

fn day(day: u32) -> Window {
    let at = format!("2026-03-{day:02}T05:00:00Z")
        .parse()
        .expect("a time");
    Grain::Day.window_at(at)
}

fn measurement(
    feature: &str,
    window: Option<Window>,
    value: Option<f64>,
    status: Status,
) -> Measurement {
    Measurement {
        window,
        segment: Segment::overall(),
        feature: feature.to_owned(),
        measure: Measure::TotalVariation,
        value,
        interval: None,
        p_value: None,
        status,
        reference_rows: 1_000,
        current_rows: 100,
        recipe: Recipe {
            method: "deciles of the reference".to_owned(),
            threshold: Some(0.25),
            cause: (status == Status::Insufficient).then(|| "fewer than 30 values".to_owned()),
            ..Recipe::default()
        },
    }
}

fn comparison(measurements: Vec<Measurement>, schema: Vec<SchemaFinding>) -> Comparison {
    let mut features: Vec<&str> = measurements.iter().map(|m| m.feature.as_str()).collect();
    features.dedup();
    Comparison {
        features: features
            .into_iter()
            .map(|feature| FeatureSummary {
                feature: feature.to_owned(),
                feature_type: None,
                dimensions: None,
                window: None,
                shape: None,
                cell_edges: Vec::new(),
                reference: SideSummary::default(),
                current: SideSummary::default(),
            })
            .collect(),
        windows: measurements.iter().filter_map(|m| m.window).collect(),
        measurements,
        schema,
        ..Comparison::default()
    }
}

#[test]
fn thresholds_are_read_or_refused_with_a_hint() {
    assert_eq!(threshold("psi=0.1"), Ok((Measure::Psi, 0.1)));
    assert_eq!(threshold("l_infinity=0"), Ok((Measure::LInfinity, 0.0)));
    let hinted = threshold("psy=0.1").expect_err("no such measure");
    assert!(hinted.contains("did you mean `psi`?"), "{hinted}");
    assert_eq!(threshold("mae=1"), Ok((Measure::Mae, 1.0)));
    assert!(
        threshold("traffic=1").is_err(),
        "a measure, but not of files"
    );
    for wrong in ["psi", "psi=", "psi=much", "psi=-1", "psi=NaN", "=1"] {
        assert!(threshold(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn windows_have_names() {
    let at = "2026-03-05T05:00:00Z".parse().expect("a time");
    let names = [
        (Grain::Hour, "2026-03-05 05:00"),
        (Grain::Day, "2026-03-05"),
        (Grain::Week, "2026-W10"),
        (Grain::Month, "2026-03"),
    ];
    for (grain, name) in names {
        assert_eq!(window_name(grain.window_at(at)), name);
    }
}

#[test]
fn a_feature_stands_where_it_is_worst_and_small_windows_do_not_count() {
    let compared = comparison(
        vec![
            measurement("calm", Some(day(1)), Some(0.01), Status::Ok),
            measurement("calm", Some(day(2)), Some(9.0), Status::Insufficient),
            measurement("few", Some(day(1)), None, Status::Insufficient),
            measurement("moved", Some(day(1)), Some(0.3), Status::Drift),
            measurement("moved", Some(day(2)), Some(0.9), Status::Drift),
            measurement("moved", Some(day(3)), Some(0.1), Status::Ok),
        ],
        Vec::new(),
    );
    let ranked = ranking::rank(&compared);
    let standing: Vec<(&str, Status, &str, usize, usize)> = ranked
        .iter()
        .map(|r| {
            (
                r.summary.feature.as_str(),
                r.status,
                r.place.as_str(),
                r.drifted,
                r.unclear,
            )
        })
        .collect();
    assert_eq!(
        standing,
        [
            ("moved", Status::Drift, "2026-03-02", 2, 0),
            ("few", Status::Insufficient, "2026-03-01", 0, 1),
            ("calm", Status::Ok, "2026-03-01", 0, 1),
        ]
    );
}

#[test]
fn a_feature_without_a_distance_is_not_well_because_something_beside_them_is() {
    let beside = |status| Measurement {
        measure: Measure::FutureShareChange,
        ..measurement("due", None, Some(0.0), status)
    };
    let nothing = || measurement("due", None, None, Status::Insufficient);
    let chi2 = Measurement {
        measure: Measure::Chi2,
        ..nothing()
    };
    let cases = [
        (vec![nothing(), beside(Status::Ok)], Status::Insufficient),
        (vec![nothing(), beside(Status::Drift)], Status::Drift),
        (vec![nothing(), beside(Status::Error)], Status::Error),
        (vec![beside(Status::Ok)], Status::Ok),
        (
            vec![measurement("due", None, Some(0.0), Status::Ok), chi2],
            Status::Ok,
        ),
    ];
    for (measured, expected) in cases {
        let compared = comparison(measured, Vec::new());
        assert_eq!(ranking::rank(&compared)[0].status, expected);
        let written = junit::text(&compared);
        let skipped = written.contains("<skipped message=\"fewer than 30 values\"/>");
        assert_eq!(skipped, expected == Status::Insufficient, "{written}");
    }
}

#[test]
fn many_findings_of_one_kind_are_not_all_listed() {
    let schema = (1..=9)
        .map(|at| SchemaFinding {
            window: Some(day(at)),
            finding: Finding::unreadable("wind", "is of another type"),
        })
        .collect();
    let compared = comparison(
        vec![measurement("wind", None, Some(0.0), Status::Ok)],
        schema,
    );
    let written = table::text(&compared);
    assert_eq!(
        written.matches("is of another type").count(),
        3,
        "{written}"
    );
    assert!(written.contains("and in 6 more windows"), "{written}");
    assert!(
        written.contains("0 of 1 features drift; 9 schema findings"),
        "{written}"
    );
}

#[test]
fn a_comparison_without_anything_is_written_in_every_format() {
    let nothing = Comparison::default();
    assert!(table::text(&nothing).contains("0 of 0 features drift; no schema findings"));
    assert!(
        junit::text(&nothing).contains("<testcase classname=\"schema\" name=\"no findings\"/>")
    );
    let json: serde_json::Value =
        serde_json::from_str(&json::text(&nothing).expect("writes")).expect("JSON");
    assert_eq!(json["measurements"], serde_json::json!([]));
    assert!(
        page::text(&nothing)
            .expect("renders")
            .contains("The two files look alike")
    );
}
