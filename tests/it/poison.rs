//! One poisoned row in a batch of a thousand, from the body to the views: the others are kept, settled and counted,
//! whatever the format and wherever the row is.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow_ipc::writer::StreamWriter;
use bellwether::domain::batch::RejectReason;
use bellwether::formats::Format;
use bellwether::services::ingest::{self, Receipt, Upload};
use bellwether::storage::intake::BatchKind;
use parquet::arrow::ArrowWriter;
use sqlx::PgPool;

use crate::app::{TestApp, at};
use crate::snapshot::assert_profiles_equal_a_recount;

const ROWS: usize = 1_000;
/// First, somewhere, and last.
const POSITIONS: [usize; 3] = [0, 617, ROWS - 1];
/// A row in which all that can be made canonical has to be.
const AWKWARD: usize = 500;

/// What is wrong with the poisoned row.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Poison {
    NulInFeature,
    NulInId,
    NaNPrediction,
    LongId,
    Year10000,
}
use Poison::{LongId, NaNPrediction, NulInFeature, NulInId, Year10000};

impl Poison {
    fn expected(self, format: Format) -> (&'static str, RejectReason) {
        match self {
            NulInFeature => ("carrier", RejectReason::NulByte),
            NulInId => ("prediction_id", RejectReason::NulByte),
            // JSON has no NaN: the row cannot be read.
            NaNPrediction if matches!(format, Format::Json | Format::Ndjson) => {
                ("", RejectReason::Malformed)
            }
            NaNPrediction => ("prediction", RejectReason::WrongType),
            LongId => ("prediction_id", RejectReason::TooLarge),
            Year10000 => ("timestamp", RejectReason::TimeOutOfBounds),
        }
    }
}

/// The columns of a batch, of which every format makes its own.
struct Rows {
    ids: Vec<String>,
    times: Vec<i64>,
    predictions: Vec<f64>,
    carriers: Vec<String>,
    /// Under a name in decomposed form.
    numbers: Vec<f64>,
    wholes: Vec<i64>,
    flags: Vec<Option<bool>>,
}

impl Rows {
    fn new(prefix: &str, poison: Poison, position: usize) -> Self {
        let noon = at("2026-03-02T12:00:00Z").timestamp_millis();
        let each = || 0..ROWS;
        let mut rows = Self {
            ids: each().map(|row| format!("{prefix}-{row}")).collect(),
            times: each().map(|row| noon + row as i64).collect(),
            predictions: each().map(|row| (row % 50) as f64 + 0.5).collect(),
            carriers: each()
                .map(|row| ["AA", "UA", "DL"][row % 3].to_owned())
                .collect(),
            numbers: each().map(|row| row as f64 + 0.25).collect(),
            wholes: each().map(|row| row as i64).collect(),
            flags: each()
                .map(|row| [Some(true), Some(false), None][row % 3])
                .collect(),
        };
        rows.carriers[AWKWARD] = "\u{202E}e\u{301}\u{200B}".to_owned();
        rows.numbers[AWKWARD] = -0.0;
        rows.numbers[AWKWARD + 1] = 5e-324;
        rows.numbers[AWKWARD + 2] = 1e308;
        rows.wholes[AWKWARD] = 9_007_199_254_740_993;
        match poison {
            NulInFeature => rows.carriers[position] = "a\0b".to_owned(),
            NulInId => rows.ids[position].push('\0'),
            NaNPrediction => rows.predictions[position] = f64::NAN,
            LongId => rows.ids[position] = "i".repeat(10_000),
            Year10000 => rows.times[position] = 253_402_300_800_000,
        }
        rows
    }

    fn json(&self, row: usize) -> String {
        let text = |text: &str| serde_json::to_string(text).expect("text is JSON");
        let flag = self.flags[row].map_or("null".to_owned(), |flag| flag.to_string());
        format!(
            r#"{{"prediction_id": {}, "timestamp": {}, "prediction": {:?}, "features": {{"carrier": {}, "{NAME}": {:?}, "whole": {}, "flag": {flag}}}}}"#,
            text(&self.ids[row]),
            self.times[row],
            self.predictions[row],
            text(&self.carriers[row]),
            self.numbers[row],
            self.wholes[row],
        )
    }

    fn csv(&self, row: usize) -> String {
        let flag = self.flags[row].map_or(String::new(), |flag| flag.to_string());
        format!(
            "{},{},{:?},{},{:?},{},{flag}",
            self.ids[row],
            self.times[row],
            self.predictions[row],
            self.carriers[row],
            self.numbers[row],
            self.wholes[row],
        )
    }

    fn columns(&self) -> RecordBatch {
        let columns: [(&str, ArrayRef); 7] = [
            (
                "prediction_id",
                Arc::new(StringArray::from(self.ids.clone())),
            ),
            (
                "timestamp",
                Arc::new(TimestampMillisecondArray::from(self.times.clone())),
            ),
            (
                "prediction",
                Arc::new(Float64Array::from(self.predictions.clone())),
            ),
            (
                "carrier",
                Arc::new(StringArray::from(self.carriers.clone())),
            ),
            (NAME, Arc::new(Float64Array::from(self.numbers.clone()))),
            ("whole", Arc::new(Int64Array::from(self.wholes.clone()))),
            ("flag", Arc::new(BooleanArray::from(self.flags.clone()))),
        ];
        RecordBatch::try_from_iter(columns).expect("columns fit")
    }

    fn body(&self, format: Format) -> Vec<u8> {
        let each = |row: fn(&Self, usize) -> String| -> Vec<String> {
            (0..ROWS).map(|number| row(self, number)).collect()
        };
        match format {
            Format::Json => format!("[{}]", each(Self::json).join(",")).into_bytes(),
            Format::Ndjson => each(Self::json).join("\n").into_bytes(),
            Format::Csv => {
                let header =
                    format!("prediction_id,timestamp,prediction,carrier,{NAME},whole,flag\n");
                (header + &each(Self::csv).join("\n")).into_bytes()
            }
            Format::Parquet => {
                let batch = self.columns();
                let mut file = Vec::new();
                let mut writer =
                    ArrowWriter::try_new(&mut file, batch.schema(), None).expect("a writer");
                writer.write(&batch).expect("written");
                writer.close().expect("closed");
                file
            }
            Format::Arrow => {
                let batch = self.columns();
                let mut writer =
                    StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a writer");
                writer.write(&batch).expect("written");
                writer.into_inner().expect("finished")
            }
            Format::SageMaker | Format::AzureMl => unreachable!("not among the formats tried"),
        }
    }
}

/// "distancé", with an accent of its own.
const NAME: &str = "distance\u{301}";
const KEPT_NAME: &str = "distanc\u{E9}";

async fn send(app: &TestApp, format: Format, body: Vec<u8>) -> Receipt {
    let upload = Upload {
        project_id: app.project,
        model: "fares",
        format,
        body: body.into(),
        version: Some("v1".to_owned()),
        generation: None,
    };
    ingest::predictions(&app.services, upload)
        .await
        .expect("the batch is taken")
}

const DECLARED: &str = "models:
  - name: fares
    task: regression
    window: day
    monitors:
      - {name: traffic, kind: traffic, window: day}
";

#[sqlx::test(migrator = "bellwether::storage::MIGRATOR")]
async fn one_poisoned_row_of_a_thousand_costs_itself_alone(pool: PgPool) {
    let app = TestApp::start(pool, "2026-03-03").await;
    app.apply(DECLARED).await;
    app.version("fares", "v1").await;
    let formats = [
        Format::Json,
        Format::Ndjson,
        Format::Csv,
        Format::Parquet,
        Format::Arrow,
    ];
    let poisons = [NulInFeature, NulInId, NaNPrediction, LongId, Year10000];
    let mut batches = 0;
    for (turn, format) in formats.into_iter().enumerate() {
        for (position, poison) in POSITIONS.into_iter().zip(poisons.iter().cycle().skip(turn)) {
            let what = format!("{poison:?} in row {position} of {}", format.as_str());
            let rows = Rows::new(
                &format!("{}-{position}", format.as_str()),
                *poison,
                position,
            );
            let receipt = send(&app, format, rows.body(format)).await;
            let counts = (receipt.received, receipt.kept, receipt.rejected);
            assert_eq!(counts, (1_000, 999, 1), "{what}: {:?}", receipt.rejects);
            let (field, reason) = poison.expected(format);
            let refused = &receipt.rejects[0];
            assert_eq!(
                (refused.field.as_str(), refused.reason),
                (field, reason),
                "{what}"
            );
            let header = u64::from(format == Format::Csv);
            assert_eq!(refused.line, position as u64 + 1 + header, "{what}");
            assert_eq!(
                receipt.rejected_by_reason.get(reason.as_str()),
                Some(&1),
                "{what}"
            );
            batches += 1;
        }
    }
    app.settle().await;
    app.assert_conserved("fares").await;
    let accepted = app.count("fares", BatchKind::Predictions, "accepted").await;
    assert_eq!(accepted, 999 * batches);
    assert_eq!(
        app.count("fares", BatchKind::Predictions, "rejected").await,
        batches
    );
    assert_eq!(
        app.number("SELECT COUNT(*) FROM predictions").await,
        accepted
    );
    let unsettled = "SELECT COUNT(*) FROM landed_batches WHERE state <> 'settled'";
    assert_eq!(app.number(unsettled).await, 0);

    // Each awkward row shows what it became, whatever the format.
    let seen = |feature: &'static str, id: usize| {
        let pool = app.services.pool.clone();
        async move {
            let seen: Vec<(Option<f64>, Option<String>)> = sqlx::query_as(
                "SELECT DISTINCT f.number, f.text
                 FROM feature_values f JOIN predictions p USING (model_version_id, day, chunk, position)
                 WHERE f.feature = $1 AND p.prediction_id LIKE '%-' || $2",
            )
            .bind(feature)
            .bind(id.to_string())
            .fetch_all(&pool)
            .await
            .expect("values");
            seen
        }
    };
    let carrier = "\u{202E}e\u{301}\u{200B}".to_owned();
    assert_eq!(seen("carrier", AWKWARD).await, [(None, Some(carrier))]);
    let zero = seen(KEPT_NAME, AWKWARD).await;
    assert_eq!(zero.len(), 1, "{zero:?}");
    assert_eq!(zero[0].0.map(f64::to_bits), Some(0), "{zero:?}");
    for (row, number) in [(AWKWARD + 1, 5e-324), (AWKWARD + 2, 1e308)] {
        let found = seen(KEPT_NAME, row).await;
        assert_eq!((found.len(), found[0].0), (1, Some(number)), "{found:?}");
    }
    // The views count in doubles; what is stored has every digit.
    let exact = "SELECT COUNT(*) FROM chunk_columns c, unnest(c.large_units) AS unit
                 WHERE c.name = 'whole' AND c.base + unit = 9007199254740993";
    assert_eq!(app.number(exact).await, batches);
    let whole = seen("whole", AWKWARD).await;
    assert_eq!(
        (whole.len(), whole[0].0),
        (1, Some(9_007_199_254_740_992.0)),
        "{whole:?}"
    );
    let names: Vec<String> =
        sqlx::query_scalar("SELECT DISTINCT feature FROM feature_values ORDER BY 1")
            .fetch_all(&app.services.pool)
            .await
            .expect("names");
    let mut expected = ["carrier", KEPT_NAME, "flag", "whole"];
    expected.sort_unstable();
    assert_eq!(
        names.into_iter().collect::<std::collections::BTreeSet<_>>(),
        expected.iter().map(|name| (*name).to_owned()).collect()
    );
    app.tick("2026-03-03T01:00:00Z").await;
    let traffic = app.value("fares", "traffic", "", "2026-03-02").await;
    assert_eq!(
        traffic.expect("is measured").2,
        u64::try_from(accepted).expect("a count")
    );
    assert_profiles_equal_a_recount(&app, "fares").await;
}
