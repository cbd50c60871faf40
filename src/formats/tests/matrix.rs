//! Every poison value in every position of a row, over every format that can express it: kept as it is, kept in its
//! canonical form, or refused alone with its reason; its neighbours are always kept.
//!
//! `poison` beside this has the values that depend on one format's syntax, and the causes in words.

use std::sync::Arc;

use arrow_array::*;

use super::RejectReason::*;
use super::files::{arrow_stream, parquet_file};
use super::*;

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
}
use Place::{Class, Deployment, Error, Feature, Id, Label, Prediction, Segment, Time, Version};

const PLACES: [Place; 10] = [
    Feature, Label, Prediction, Class, Id, Time, Version, Segment, Error, Deployment,
];

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

/// A good value of the type that the poison makes a column have, if there is any.
fn good(place: Place, poison: &Sent, row: usize) -> Option<Sent> {
    Some(match (place, poison) {
        (Time, Sent::Seconds(_)) => Sent::Seconds(1_362_132_000),
        (Time, Sent::Text(_)) => text("2013-03-01T10:00:00Z"),
        (Time, Sent::Number(_) | Sent::Boolean(_) | Sent::Unsigned(_)) => return None,
        (Time, _) => Sent::Integer(1_362_132_000_000),
        (Feature, Sent::Seconds(_)) => Sent::Seconds(0),
        (Feature, Sent::Text(_)) => text("good"),
        (Feature, Sent::Integer(_)) => Sent::Integer(1),
        (Feature, Sent::Unsigned(_)) => Sent::Unsigned(1),
        (Feature, Sent::Boolean(_)) => Sent::Boolean(false),
        (Feature, _) => Sent::Number(1.0),
        (Label | Prediction, Sent::Text(_) | Sent::Boolean(_) | Sent::Seconds(_)) => return None,
        (Label | Prediction, Sent::Integer(_)) => Sent::Integer(1),
        (Label | Prediction, Sent::Unsigned(_)) => Sent::Unsigned(1),
        (Label | Prediction, _) => Sent::Number(1.0),
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
    let all = if place == Label {
        vec![id, ("label", Sent::Number(1.0))]
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

fn json_value(sent: &Sent) -> Option<Vec<u8>> {
    Some(match sent {
        Sent::Null => b"null".to_vec(),
        Sent::Boolean(boolean) => boolean.to_string().into_bytes(),
        Sent::Integer(integer) => integer.to_string().into_bytes(),
        Sent::Unsigned(integer) => integer.to_string().into_bytes(),
        Sent::Number(number) if number.is_finite() => format!("{number:?}").into_bytes(),
        Sent::Text(text) => serde_json::to_vec(text).expect("text is JSON"),
        Sent::Json(raw) => raw.clone(),
        Sent::Number(_) | Sent::Missing | Sent::Seconds(_) | Sent::Csv(_) | Sent::Twice => {
            return None;
        }
    })
}

fn json_row(place: Place, row: usize, sent: &Sent) -> Option<Vec<u8>> {
    let mut members: Vec<Vec<u8>> = Vec::new();
    let member =
        |field: &str, value: Vec<u8>| [format!("\"{field}\":").into_bytes(), value].concat();
    for (field, value) in others(place, row) {
        members.push(member(field, json_value(&value)?));
    }
    let values = match sent {
        Sent::Missing => vec![],
        Sent::Twice => {
            let good = json_value(&good(place, &Sent::Json(Vec::new()), row)?)?;
            vec![good.clone(), good]
        }
        sent => vec![json_value(sent)?],
    };
    match place {
        Segment => {
            let inside: Vec<Vec<u8>> = (values.into_iter()).map(|v| member("channel", v)).collect();
            let object = [b"{".as_slice(), &inside.join(&b','), b"}"].concat();
            members.push(member("segments", object));
        }
        _ => members.extend(values.into_iter().map(|value| member(place.field(), value))),
    }
    Some([b"{".as_slice(), &members.join(&b','), b"}"].concat())
}

fn csv_cell(sent: &Sent) -> Option<Vec<u8>> {
    Some(match sent {
        Sent::Null => Vec::new(),
        Sent::Boolean(boolean) => boolean.to_string().into_bytes(),
        Sent::Integer(integer) => integer.to_string().into_bytes(),
        Sent::Unsigned(integer) => integer.to_string().into_bytes(),
        Sent::Number(number) => format!("{number:?}").into_bytes(),
        Sent::Text(text) => text.clone().into_bytes(),
        Sent::Csv(raw) => raw.clone(),
        Sent::Missing | Sent::Seconds(_) | Sent::Json(_) | Sent::Twice => return None,
    })
}

/// Flat rows name their segment in the value.
fn flat(place: Place, sent: &Sent) -> Option<Sent> {
    if place != Segment || *sent == Sent::Null {
        return Some(sent.clone());
    }
    Some(match sent {
        Sent::Text(text) => Sent::Text(format!("channel={text}")),
        Sent::Csv(raw) => Sent::Csv([b"channel=", raw.as_slice()].concat()),
        Sent::Json(_) | Sent::Seconds(_) | Sent::Missing | Sent::Twice => return None,
        other => Sent::Csv([b"channel=".to_vec(), csv_cell(other)?].concat()),
    })
}

fn csv_body(place: Place, column: &[Sent]) -> Option<Vec<u8>> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut header: Vec<&str> = others(place, 0)
        .into_iter()
        .map(|(field, _)| field)
        .collect();
    header.push(place.field());
    writer.write_record(header).expect("written");
    for (row, sent) in column.iter().enumerate() {
        let mut cells: Vec<Vec<u8>> = Vec::new();
        for (_, value) in others(place, row) {
            cells.push(csv_cell(&value)?);
        }
        cells.push(csv_cell(&flat(place, sent)?)?);
        writer.write_record(cells).expect("written");
    }
    Some(writer.into_inner().expect("flushed"))
}

fn array(column: &[Sent]) -> Option<ArrayRef> {
    macro_rules! of {
        ($array:ty, $variant:path) => {
            Arc::new(
                (column.iter())
                    .map(|sent| match sent {
                        $variant(value) => Some(value.clone()),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    let known = |sent: &&Sent| **sent != Sent::Null;
    let array: ArrayRef = match column.iter().find(known)? {
        Sent::Boolean(_) => of!(BooleanArray, Sent::Boolean),
        Sent::Integer(_) => of!(Int64Array, Sent::Integer),
        Sent::Unsigned(_) => of!(UInt64Array, Sent::Unsigned),
        Sent::Number(_) => of!(Float64Array, Sent::Number),
        Sent::Text(_) => of!(StringArray, Sent::Text),
        Sent::Seconds(_) => of!(TimestampSecondArray, Sent::Seconds),
        _ => return None,
    };
    Some(array)
}

fn columns(place: Place, column: &[Sent]) -> Option<Vec<(&'static str, ArrayRef)>> {
    let rows: Vec<Vec<(&str, Sent)>> = (0..column.len()).map(|row| others(place, row)).collect();
    let mut columns = Vec::new();
    for (index, (field, _)) in others(place, 0).into_iter().enumerate() {
        let values: Vec<Sent> = rows.iter().map(|row| row[index].1.clone()).collect();
        columns.push((field, array(&values)?));
    }
    let flat: Option<Vec<Sent>> = column.iter().map(|sent| flat(place, sent)).collect();
    columns.push((place.field(), array(&flat?)?));
    Some(columns)
}

/// Three rows with the poison in one of them; none where the format cannot say it.
fn body(format: Format, place: Place, poison: &Sent, position: usize) -> Option<Vec<u8>> {
    let typed = matches!(format, Format::Parquet | Format::Arrow);
    if typed
        && matches!(
            poison,
            Sent::Missing | Sent::Json(_) | Sent::Csv(_) | Sent::Twice
        )
    {
        return None;
    }
    let column: Option<Vec<Sent>> = (0..3)
        .map(|row| match row {
            _ if row == position => Some(poison.clone()),
            _ if typed => good(place, poison, row),
            _ => good(place, &Sent::Json(Vec::new()), row),
        })
        .collect();
    let column = column?;
    Some(match format {
        Format::Csv => csv_body(place, &column)?,
        Format::Parquet => parquet_file(columns(place, &column)?),
        Format::Arrow => arrow_stream(columns(place, &column)?, Default::default()),
        Format::SageMaker | Format::AzureMl => unreachable!("not among the formats tried"),
        Format::Json | Format::Ndjson => {
            let rows: Option<Vec<Vec<u8>>> = (column.iter().enumerate())
                .map(|(row, sent)| json_row(place, row, sent))
                .collect();
            match format {
                Format::Json => [b"[".as_slice(), &rows?.join(&b','), b"]"].concat(),
                _ => rows?.join(&b'\n'),
            }
        }
    })
}

/// How many rows were kept, the value of the field in the row at `position`, and the refused rows.
fn decoded(
    format: Format,
    place: Place,
    body: &[u8],
    position: usize,
) -> (usize, String, Vec<Reject>) {
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
    if place == Label {
        let decoded = labels(format, body, Task::Regression);
        let kept = match decoded.batch.labels.get(position) {
            Some(LabelValue::Number(number)) => format!("{number:?}"),
            other => format!("{other:?}"),
        };
        return (decoded.batch.len(), kept, decoded.rejects);
    }
    let task = match place {
        Class => Task::Multiclass,
        _ => Task::Regression,
    };
    let decoded = predictions(format, body, task);
    let (batch, at) = (&decoded.batch, position);
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
            Label => String::new(),
        }
    } else {
        String::new()
    };
    (batch.len(), kept, decoded.rejects)
}

#[test]
fn every_poison_in_every_place_over_every_format_costs_one_row_at_most() {
    let mut said = 0;
    for case in cases() {
        let large = matches!(&case.sent, Sent::Json(raw) if raw.len() > 50_000);
        for (index, place) in PLACES.into_iter().enumerate() {
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
                    check(&case, &fates[index], (format, place, position), &body);
                }
            }
        }
    }
    assert!(said > 3_000, "only {said} bodies");
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
