//! Every poison value in every position of a row, over every format that can express it: kept as it is, kept in its
//! canonical form, or refused alone with its reason; its neighbours are always kept.
//!
//! `poison` beside this has the values that depend on one format's syntax, and the causes in words.

use super::RejectReason::*;
use super::*;

mod bodies;
mod carriers;

use bodies::{body, csv_cell, json_value};

const FORMATS: [Format; 5] = [
    Format::Json,
    Format::Ndjson,
    Format::Csv,
    Format::Parquet,
    Format::Arrow,
];

/// Where in a row the value is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Feature,
    Label,
    Prediction,
    Class,
    Id,
    Time,
    Version,
    Segment,
    Error,
    Deployment,
    Score,
    /// Of the one class there is.
    Probability,
    Latency,
    ObservedAt,
}
use Place::{
    Class, Deployment, Error, Feature, Id, Label, Latency, ObservedAt, Prediction, Probability,
    Score, Segment, Time, Version,
};

const PLACES: [Place; 10] = [
    Feature, Label, Prediction, Class, Id, Time, Version, Segment, Error, Deployment,
];

/// Places whose fates follow from those of others.
const FOLLOWING: [Place; 4] = [Score, Probability, Latency, ObservedAt];

impl Place {
    fn field(self) -> &'static str {
        match self {
            Feature => "x",
            Label => "label",
            Prediction | Class => "prediction",
            Id => "prediction_id",
            Time => "timestamp",
            Version => "version",
            Segment => "segments",
            Error => "error",
            Deployment => "deployment",
            Score => "score",
            Probability => "probabilities.a",
            Latency => "latency_ms",
            ObservedAt => "observed_at",
        }
    }
}

/// A value as a sender has it.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    /// The key is not there.
    Missing,
    Null,
    Boolean(bool),
    Integer(i64),
    Unsigned(u64),
    Number(f64),
    Text(String),
    /// A column of timestamps; no text format has them.
    Seconds(i64),
    /// As it stands in JSON, good or not.
    Json(Vec<u8>),
    /// As it stands in a CSV cell.
    Csv(Vec<u8>),
    /// A good value, and its key a second time.
    Twice,
}

fn text(text: &str) -> Sent {
    Sent::Text(text.to_owned())
}

/// What becomes of a row.
#[derive(Debug, Clone)]
enum Fate {
    /// The field has this value then, as [`kept`] shows it.
    Kept(String),
    Refused(RejectReason),
    /// No format can say this there.
    Unsaid,
}

fn k(kept: &str) -> Fate {
    Fate::Kept(kept.to_owned())
}

fn r(reason: RejectReason) -> Fate {
    Fate::Refused(reason)
}

/// In the order of [`PLACES`].
type Fates = [Fate; PLACES.len()];

/// A value, its fates, and those in CSV where they are others: there a cell has no type.
struct Case {
    name: &'static str,
    sent: Sent,
    fates: Fates,
    in_csv: Option<Fates>,
}

fn case(name: &'static str, sent: Sent, fates: Fates) -> Case {
    Case {
        name,
        sent,
        fates,
        in_csv: None,
    }
}

impl Case {
    fn in_csv(self, fates: Fates) -> Self {
        Self {
            in_csv: Some(fates),
            ..self
        }
    }
}

/// A number that is no integer where fields hold text: refused in JSON, taken as the cell stands in CSV.
fn number(name: &'static str, sent: Sent, feature: &str, number: Fate, segment: Fate) -> Case {
    let cell = csv_cell(&sent).expect("a cell");
    let cell = String::from_utf8(cell).expect("text");
    let (w, k_cell) = (|| r(WrongType), || k(&cell));
    case(
        name,
        sent,
        [
            k(feature),
            number.clone(),
            number.clone(),
            w(),
            w(),
            w(),
            w(),
            segment,
            w(),
            w(),
        ],
    )
    .in_csv([
        k(feature),
        number.clone(),
        number,
        k_cell(),
        k_cell(),
        w(),
        k_cell(),
        k_cell(),
        k_cell(),
        k_cell(),
    ])
}

/// An integer, which is its digits wherever a name or a class is expected.
fn integer(name: &'static str, sent: Sent, feature: &str, as_number: &str) -> Case {
    let digits = String::from_utf8(csv_cell(&sent).expect("a cell")).expect("text");
    let fates = |error: Fate| {
        [
            k(feature),
            k(as_number),
            k(as_number),
            k(&digits),
            k(&digits),
            r(TimeOutOfBounds),
            k(&digits),
            k(&digits),
            error,
            k(&digits),
        ]
    };
    case(name, sent, fates(r(WrongType))).in_csv(fates(k(&digits)))
}

/// A text that looks like nothing else and may stand wherever texts may.
fn harmless(name: &'static str, sent: &str) -> Case {
    let kept = || k(sent);
    let w = || r(WrongType);
    case(
        name,
        text(sent),
        [
            kept(),
            w(),
            w(),
            kept(),
            kept(),
            w(),
            kept(),
            kept(),
            kept(),
            kept(),
        ],
    )
}

/// Something that is refused with the same reason wherever it is.
fn refused(name: &'static str, sent: Sent, reason: RejectReason) -> Case {
    case(name, sent, std::array::from_fn(|_| r(reason)))
}

fn cases() -> Vec<Case> {
    let w = || r(WrongType);
    let long = "x".repeat(100_000);
    let ten_kilobytes = "i".repeat(10_000);
    let forty = "9".repeat(40);
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let names: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":1")).collect();
    let null = |absent: &str| {
        let missing = || r(MissingField);
        [
            k(absent),
            missing(),
            missing(),
            missing(),
            missing(),
            missing(),
            k("v1"),
            k("-"),
            k("-"),
            k("-"),
        ]
    };
    vec![
        number(
            "NaN",
            Sent::Number(f64::NAN),
            "Number(NaN)",
            w(),
            Fate::Unsaid,
        ),
        number(
            "infinity",
            Sent::Number(f64::INFINITY),
            "Number(inf)",
            w(),
            Fate::Unsaid,
        ),
        number(
            "-infinity",
            Sent::Number(f64::NEG_INFINITY),
            "Number(-inf)",
            w(),
            Fate::Unsaid,
        ),
        number(
            "negative zero",
            Sent::Number(-0.0),
            "Number(0.0)",
            k("0.0"),
            k("0"),
        ),
        number(
            "subnormal",
            Sent::Number(5e-324),
            "Number(5e-324)",
            k("5e-324"),
            r(TooLarge),
        ),
        number(
            "1e308",
            Sent::Number(1e308),
            "Number(1e308)",
            k("1e308"),
            r(TooLarge),
        ),
        integer(
            "over 2^53",
            Sent::Integer(9_007_199_254_740_993),
            "Integer(9007199254740993)",
            "9007199254740992.0",
        ),
        integer(
            "u64",
            Sent::Unsigned(u64::MAX),
            "18446744073709551615",
            "1.8446744073709552e19",
        ),
        integer("time 0", Sent::Integer(0), "Integer(0)", "0.0"),
        integer("negative time", Sent::Integer(-1), "Integer(-1)", "-1.0"),
        integer(
            "smallest integer",
            Sent::Integer(i64::MIN),
            "Integer(-9223372036854775808)",
            "-9.223372036854776e18",
        ),
        integer(
            "year 10000",
            Sent::Integer(253_402_300_800_000),
            "Integer(253402300800000)",
            "253402300800000.0",
        ),
        harmless("forty digits as text", &forty).in_csv([
            k(&forty),
            k("1e40"),
            k("1e40"),
            k(&forty),
            k(&forty),
            r(TimeOutOfBounds),
            k(&forty),
            k(&forty),
            k(&forty),
            k(&forty),
        ]),
        case(
            "NUL",
            text("a\0b"),
            [
                r(NulByte),
                w(),
                w(),
                r(NulByte),
                r(NulByte),
                w(),
                r(NulByte),
                r(NulByte),
                r(NulByte),
                r(NulByte),
            ],
        ),
        refused("raw NUL", Sent::Json(b"\"a\0b\"".to_vec()), NulByte),
        refused(
            "lone surrogate",
            Sent::Json(br#""\ud800""#.to_vec()),
            Malformed,
        ),
        refused(
            "reversed surrogates",
            Sent::Json(br#""\udc00\ud800""#.to_vec()),
            Malformed,
        ),
        refused("not UTF-8", Sent::Json(b"\"\xC3\x28\"".to_vec()), Malformed),
        refused("not UTF-8", Sent::Csv(b"\xC3\x28".to_vec()), Malformed),
        case(
            "direction override",
            text("\u{202E}x"),
            [
                k("\u{202E}x"),
                w(),
                w(),
                k("\u{202E}x"),
                w(),
                w(),
                w(),
                w(),
                k("\u{202E}x"),
                w(),
            ],
        ),
        harmless("composed", "\u{E9}"),
        harmless("decomposed", "e\u{301}"),
        harmless("zero width", "a\u{200B}b"),
        harmless("another script's a", "\u{430}"),
        harmless("emoji", "\u{1F4A9}"),
        case(
            "long text",
            text(&long),
            [
                r(TooLarge),
                w(),
                w(),
                r(TooLarge),
                r(TooLarge),
                w(),
                r(TooLarge),
                r(TooLarge),
                r(TooLarge),
                r(TooLarge),
            ],
        ),
        case(
            "10 kB",
            text(&ten_kilobytes),
            [
                k(&ten_kilobytes),
                w(),
                w(),
                k(&ten_kilobytes),
                r(TooLarge),
                w(),
                r(TooLarge),
                r(TooLarge),
                k(&ten_kilobytes),
                r(TooLarge),
            ],
        ),
        case(
            "empty text",
            text(""),
            [
                k(""),
                w(),
                w(),
                r(MissingField),
                r(MissingField),
                w(),
                r(MissingField),
                k(""),
                k("-"),
                r(MissingField),
            ],
        )
        // In CSV it is the same as null; `channel=` still names a segment.
        .in_csv({
            let mut fates = null("Null");
            fates[7] = k("");
            fates
        }),
        case(
            "white space",
            text(" "),
            [
                k(" "),
                w(),
                w(),
                k(" "),
                r(MissingField),
                w(),
                r(MissingField),
                k(" "),
                k(" "),
                r(MissingField),
            ],
        ),
        harmless("the word null", "null"),
        harmless("the word NaN", "NaN").in_csv([
            k("Number(NaN)"),
            w(),
            w(),
            k("NaN"),
            k("NaN"),
            w(),
            k("NaN"),
            k("NaN"),
            k("NaN"),
            k("NaN"),
        ]),
        harmless("the word true", "true").in_csv([
            k("Boolean(true)"),
            w(),
            w(),
            k("true"),
            k("true"),
            w(),
            k("true"),
            k("true"),
            k("true"),
            k("true"),
        ]),
        harmless("1e5 as text", "1e5").in_csv([
            k("Number(100000.0)"),
            k("100000.0"),
            k("100000.0"),
            k("1e5"),
            k("1e5"),
            w(),
            k("1e5"),
            k("1e5"),
            k("1e5"),
            k("1e5"),
        ]),
        case(
            "true",
            Sent::Boolean(true),
            [
                k("Boolean(true)"),
                w(),
                w(),
                k("true"),
                w(),
                w(),
                w(),
                k("true"),
                w(),
                w(),
            ],
        )
        .in_csv([
            k("Boolean(true)"),
            w(),
            w(),
            k("true"),
            k("true"),
            w(),
            k("true"),
            k("true"),
            k("true"),
            k("true"),
        ]),
        case("null", Sent::Null, null("Null")),
        case("missing", Sent::Missing, null("Absent")),
        harmless("year 10000 as text", "10000-01-01T00:00:00Z"),
        harmless("local time in a gap", "2013-03-10T02:30:00"),
        {
            let mut precise = harmless("nanoseconds", "2013-03-01T10:00:00.123456789Z");
            precise.fates[5] = k("2013-03-01T10:00:00.123456Z");
            precise
        },
        refused(
            "a column's year 10000",
            Sent::Seconds(253_402_300_800),
            TimeOutOfBounds,
        ),
        refused(
            "a column's endless time",
            Sent::Seconds(i64::MAX),
            TimeOutOfBounds,
        ),
        refused("twice", Sent::Twice, DuplicateField),
        refused("depth 10,000", Sent::Json(deep.into_bytes()), WrongType),
        refused(
            "100,000 names",
            Sent::Json(format!("{{{}}}", names.join(",")).into_bytes()),
            WrongType,
        ),
    ]
}

/// What becomes of a value in any place.
fn fate_of(place: Place, fates: &Fates) -> Fate {
    let of = |place: Place| {
        let index = PLACES.iter().position(|known| *known == place);
        fates[index.expect("a place with fates of its own")].clone()
    };
    let within = |fate: Fate, is_good: fn(f64) -> bool| match fate {
        Fate::Kept(number) if !is_good(number.parse().expect("a number")) => r(WrongType),
        fate => fate,
    };
    match place {
        Score => within(of(Label), |number| (0.0..=1.0).contains(&number)),
        Probability => within(of(Label), |number| (number - 1.0).abs() < 1e-3),
        // Neither needs to be said.
        Latency => match within(of(Label), |number| number >= 0.0) {
            Fate::Refused(MissingField) => k("-"),
            fate => fate,
        },
        ObservedAt => match of(Time) {
            Fate::Refused(MissingField) => k("2013-06-01T00:00:00Z"),
            fate => fate,
        },
        place => of(place),
    }
}

/// A good value of the type that the poison makes a column have, if there is any.
fn good(place: Place, poison: &Sent, row: usize) -> Option<Sent> {
    Some(match (place, poison) {
        (Time | ObservedAt, Sent::Seconds(_)) => Sent::Seconds(1_362_132_000),
        (Time | ObservedAt, Sent::Text(_)) => text("2013-03-01T10:00:00Z"),
        (Time | ObservedAt, Sent::Number(_) | Sent::Boolean(_) | Sent::Unsigned(_)) => return None,
        (Time | ObservedAt, _) => Sent::Integer(1_362_132_000_000),
        (Feature, Sent::Seconds(_)) => Sent::Seconds(0),
        (Feature, Sent::Text(_)) => text("good"),
        (Feature, Sent::Integer(_)) => Sent::Integer(1),
        (Feature, Sent::Unsigned(_)) => Sent::Unsigned(1),
        (Feature, Sent::Boolean(_)) => Sent::Boolean(false),
        (Feature, _) => Sent::Number(1.0),
        (
            Label | Prediction | Score | Probability | Latency,
            Sent::Text(_) | Sent::Boolean(_) | Sent::Seconds(_),
        ) => return None,
        (Label | Prediction | Score | Probability | Latency, Sent::Integer(_)) => Sent::Integer(1),
        (Label | Prediction | Score | Probability | Latency, Sent::Unsigned(_)) => {
            Sent::Unsigned(1)
        }
        (Label | Prediction | Score | Probability | Latency, _) => Sent::Number(1.0),
        (_, Sent::Number(_) | Sent::Seconds(_)) => return None,
        (Class, Sent::Boolean(_)) => Sent::Boolean(false),
        (Class | Id | Version | Deployment, Sent::Integer(_)) => Sent::Integer(10 + row as i64),
        (Class | Id | Version | Deployment, Sent::Unsigned(_)) => Sent::Unsigned(10 + row as u64),
        (Segment | Error, Sent::Integer(_) | Sent::Unsigned(_)) => return None,
        (_, Sent::Boolean(_)) => return None,
        _ => Sent::Text(format!("good {row}")),
    })
}

/// What a row has in the other places, with its own field left out.
fn others(place: Place, row: usize) -> Vec<(&'static str, Sent)> {
    let id = ("prediction_id", Sent::Text(format!("id {row}")));
    let all = if matches!(place, Label | ObservedAt) {
        vec![id, ("label", Sent::Number(1.0))]
    } else if matches!(place, Score | Probability) {
        vec![id, ("timestamp", Sent::Integer(1_362_132_000_000))]
    } else {
        vec![
            id,
            ("timestamp", Sent::Integer(1_362_132_000_000)),
            match place {
                Class => ("prediction", text("cat")),
                _ => ("prediction", Sent::Number(1.0)),
            },
        ]
    };
    let other = |(field, _): &(&str, Sent)| *field != place.field();
    all.into_iter().filter(other).collect()
}

/// How many rows were kept, the value of the field in the row at `position`, and the refused rows.
fn decoded(
    format: Format,
    place: Place,
    body: &[u8],
    position: usize,
) -> (usize, String, Vec<Reject>) {
    if matches!(place, Label | ObservedAt) {
        return of_labels(labels(format, body, Task::Regression), place, position);
    }
    of_predictions(predictions(format, body, task_of(place)), place, position)
}

fn task_of(place: Place) -> Task {
    match place {
        Class | Probability => Task::Multiclass,
        Score => Task::Binary,
        _ => Task::Regression,
    }
}

fn of_labels(
    decoded: Decoded<LabelBatch>,
    place: Place,
    at: usize,
) -> (usize, String, Vec<Reject>) {
    let batch = &decoded.batch;
    let kept = match (batch.labels.get(at), batch.observed_at.get(at)) {
        (Some(_), Some(observed_at)) if place == ObservedAt => format!("{observed_at:?}"),
        (Some(LabelValue::Number(number)), _) => format!("{number:?}"),
        (other, _) => format!("{other:?}"),
    };
    (decoded.batch.len(), kept, decoded.rejects.first().to_vec())
}

fn of_predictions(
    decoded: Decoded<PredictionBatch>,
    place: Place,
    at: usize,
) -> (usize, String, Vec<Reject>) {
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
    let batch = &decoded.batch;
    let kept = if at < batch.len() {
        match place {
            Feature => match batch.feature("x").map_or(Value::Absent, |x| x.get(at)) {
                Value::Text(text) => text.into_owned(),
                other => format!("{other:?}"),
            },
            Prediction => format!("{:?}", batch.outputs[at].value.unwrap_or_default()),
            Class => or_none(batch.outputs[at].class.as_deref()),
            Id => batch.prediction_ids[at].to_owned(),
            Time => format!("{:?}", batch.predicted_at[at]),
            Version => batch.version(at).to_owned(),
            Segment => or_none((batch.segments[at].first()).map(|(_, value)| value.as_str())),
            Error => or_none(batch.errors.get(at)),
            Deployment => or_none(batch.deployments.get(at)),
            Score => format!("{:?}", batch.outputs[at].score.unwrap_or_default()),
            Probability => match batch.outputs[at].probabilities.as_slice() {
                [(class, probability)] if class == "a" => format!("{probability:?}"),
                other => format!("{other:?}"),
            },
            Latency => batch.latency_ms[at].map_or_else(|| "-".to_owned(), |ms| format!("{ms:?}")),
            Label | ObservedAt => String::new(),
        }
    } else {
        String::new()
    };
    (batch.len(), kept, decoded.rejects.first().to_vec())
}

#[test]
fn every_poison_in_every_place_over_every_format_costs_one_row_at_most() {
    let mut said = 0;
    for case in cases() {
        let large = matches!(&case.sent, Sent::Json(raw) if raw.len() > 50_000);
        for place in PLACES.into_iter().chain(FOLLOWING) {
            for format in FORMATS {
                let fates = match (&case.in_csv, format) {
                    (Some(fates), Format::Csv) => fates,
                    _ => &case.fates,
                };
                for position in if large { 1..2 } else { 0..3 } {
                    let Some(body) = body(format, place, &case.sent, position) else {
                        continue;
                    };
                    said += 1;
                    let fate = fate_of(place, fates);
                    check(&case, &fate, (format, place, position), &body);
                }
            }
        }
    }
    assert!(said > 4_000, "only {said} bodies");
}

fn check(case: &Case, fate: &Fate, (format, place, position): (Format, Place, usize), body: &[u8]) {
    let what = format!(
        "{} as {place:?} in row {position} of {}",
        case.name,
        format.as_str()
    );
    let (rows, value, rejects) = decoded(format, place, body, position);
    match fate {
        Fate::Kept(expected) => {
            assert_eq!(rejects, [], "{what}");
            assert_eq!((rows, &value), (3, expected), "{what}");
        }
        Fate::Refused(reason) => {
            assert_eq!((rows, rejects.len()), (2, 1), "{what}: {rejects:?}");
            let refused = &rejects[0];
            assert_eq!(refused.reason, *reason, "{what}: {refused:?}");
            let header = u64::from(format == Format::Csv);
            assert_eq!(refused.line, position as u64 + 1 + header, "{what}");
            // A row that cannot be read has no fields yet.
            let named = refused.field.is_empty() || refused.field.starts_with(place.field());
            // A row without its score or its probability lacks an answer, and a sum is one of all probabilities.
            let of_answer = match place {
                Score => refused.field == "prediction",
                Probability => ["prediction", "probabilities"].contains(&refused.field.as_str()),
                _ => false,
            };
            let named = named || of_answer;
            assert!(named, "{what}: {refused:?}");
            assert!(
                !refused.field.is_empty() || matches!(reason, Malformed | NulByte),
                "{what}"
            );
            assert!(refused.cause.len() < 1_000, "{what}");
        }
        Fate::Unsaid => panic!("{what} can be said: {value}, {rejects:?}"),
    }
}
