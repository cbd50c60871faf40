//! What arrives around rows: bodies that are packed, and files that are compared.

use std::path::Path;
use std::sync::LazyLock;

use axum::extract::{FromRef, FromRequest, Request};
use bellwether::config::IntakeConfig;
use bellwether::formats::table::{ColumnData, Table};
use bellwether::http::Bodies;
use bellwether::http::bodies::Upload;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::metrics::noop::NoopMeterProvider;
use tokio::runtime::{Builder, Runtime};

/// Small, so that what is out of proportion shows with small inputs.
const MOST_UNPACKED: u64 = 4 << 20;
const RATIO: u64 = 200;
/// Up to here a body may unpack to any multiple of what was sent.
const FREE_OF_RATIO: usize = 1 << 20;
/// How much is unpacked between two looks at the limits.
const PIECE: usize = 64 << 10;

#[derive(Clone)]
struct Service(Bodies);

impl FromRef<Service> for Bodies {
    fn from_ref(service: &Service) -> Self {
        service.0.clone()
    }
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let config = IntakeConfig {
        max_inflated_bytes: MOST_UNPACKED,
        max_inflation_ratio: RATIO,
        ..IntakeConfig::default()
    };
    Service(Bodies::new(
        &config,
        &NoopMeterProvider::new().meter("fuzz"),
    ))
});
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime")
});

/// A packed body, as it is taken from a request.
pub fn inflated(data: &[u8]) {
    for encoding in ["gzip", "zstd", "identity"] {
        let request = Request::builder()
            .header("content-type", "text/csv")
            .header("content-encoding", encoding)
            .body(data.to_vec().into())
            .expect("a request");
        match RUNTIME.block_on(Upload::from_request(request, &*SERVICE)) {
            Ok(upload) => {
                let length = upload.body.len();
                assert!(length as u64 <= MOST_UNPACKED, "{length} bytes");
                let most = FREE_OF_RATIO.max((RATIO as usize + 1) * data.len()) + PIECE;
                assert!(length <= most, "{length} bytes of {}", data.len());
                assert!(encoding != "identity" || upload.body == data);
            }
            Err(problem) => {
                assert!(matches!(problem.status, 400 | 413), "{}", problem.status);
                assert!(problem.detail.len() < 1_000);
            }
        }
    }
}

/// A file of rows as `compare` reads it, under the name of each format it takes: all of its columns, and its vectors.
pub fn tables(data: &[u8]) {
    for ending in ["parquet", "arrow", "csv", "ndjson"] {
        let thread = std::thread::current().id();
        let name = format!("bellwether-{}-{thread:?}.{ending}", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, data).expect("written");
        read_whole(&file);
        std::fs::remove_file(&file).expect("removed");
    }
}

fn read_whole(file: &Path) {
    let Ok(table) = Table::open(file) else {
        return;
    };
    let readable = |place: &usize| table.columns()[*place].refused.is_none();
    let columns: Vec<usize> = (0..table.columns().len()).filter(readable).collect();
    let mut rows = 0_u64;
    let read = table.read(&columns, &mut |batch| {
        assert_eq!(batch.columns.len(), columns.len());
        for column in &batch.columns {
            let length = match column {
                ColumnData::Array(array) => array.len(),
                ColumnData::Mixed(column) => column.len(),
            };
            assert_eq!(length, batch.rows);
        }
        rows += batch.rows as u64;
        // Rows without columns cost nothing to say and all of the time to count.
        rows < 1_000_000
    });
    if read.is_err() {
        return;
    }
    for (place, column) in table.columns().iter().enumerate() {
        if column.vectors {
            let mut vectors = 0;
            let _ = table.each_vector(place, &|_| true, &mut |_, _| {
                vectors += 1;
                vectors < 1_000_000
            });
        }
    }
}
