//! Rows in the binary format of `COPY`, the fastest way into Postgres: a length and the bytes of each field, as
//! the type's own binary form has them. The caller names the columns; their order and types are what it pushes.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Microseconds from 1970 to 2000, where Postgres counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// How much is handed to the server at once.
const PIECE: usize = 256 << 10;
const NULL: i32 = -1;

/// Rows to copy, as bytes.
#[derive(Debug)]
pub(super) struct CopyRows {
    bytes: Vec<u8>,
    rows: usize,
}

impl CopyRows {
    pub(super) fn new() -> Self {
        let mut bytes = SIGNATURE.to_vec();
        // Neither flags nor an extended header.
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes, rows: 0 }
    }

    /// Begins a row of so many fields.
    pub(super) fn row(&mut self, fields: i16) {
        self.rows += 1;
        self.bytes.extend_from_slice(&fields.to_be_bytes());
    }

    pub(super) fn null(&mut self) {
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
    }

    pub(super) fn smallint(&mut self, value: i16) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn integer(&mut self, value: i32) {
        self.field(&value.to_be_bytes());
    }

    pub(super) fn bigint(&mut self, value: i64) {
        self.field(&value.to_be_bytes());
    }

    /// A double; one that is none is null.
    pub(super) fn double(&mut self, value: Option<f64>) {
        match value {
            Some(value) => self.field(&value.to_be_bytes()),
            None => self.null(),
        }
    }

    /// A text that is JSON, as `jsonb`.
    pub(super) fn jsonb(&mut self, json: &str) {
        // Its binary form is the text behind the number of its version.
        let length = i32::try_from(json.len() + 1).expect("texts are bounded far below 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.push(1);
        self.bytes.extend_from_slice(json.as_bytes());
    }

    pub(super) fn uuid(&mut self, value: Uuid) {
        self.field(value.as_bytes());
    }

    pub(super) fn timestamp(&mut self, value: DateTime<Utc>) {
        self.field(&(value.timestamp_micros() - EPOCH_MICROS).to_be_bytes());
    }

    pub(super) fn text(&mut self, value: &str) {
        self.field(value.as_bytes());
    }

    /// An array with one dimension; an element that is none is null.
    pub(super) fn array<T: Element>(&mut self, elements: &[Option<T>]) {
        let length_at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let count = i32::try_from(elements.len()).expect("a chunk has some thousand rows");
        let has_null = elements.iter().any(Option::is_none);
        let dimensions = i32::from(count > 0);
        for part in [dimensions, has_null.into(), T::TYPE] {
            self.bytes.extend_from_slice(&part.to_be_bytes());
        }
        if count > 0 {
            for part in [count, 1] {
                self.bytes.extend_from_slice(&part.to_be_bytes());
            }
        }
        for element in elements {
            match element {
                Some(element) => element.push(self),
                None => self.null(),
            }
        }
        let length = i32::try_from(self.bytes.len() - length_at - 4)
            .expect("a chunk is bounded far below 2 GiB");
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn field(&mut self, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).expect("texts are bounded far below 2 GiB");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(bytes);
    }

    /// Copies the rows; `statement` is a `COPY … FROM STDIN (FORMAT binary)`. For many bytes only: the message that ends it is sent
    /// by itself, and `sqlx` 0.9 leaves Nagle's algorithm on (its issue 4335), so over TCP it waits for the data before it to be acknowledged,
    /// which takes the server up to 40 ms if they are few, and now and then if they are many.
    pub(super) async fn copy(
        mut self,
        conn: &mut PgConnection,
        statement: &str,
    ) -> sqlx::Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        // The trailer.
        self.bytes.extend_from_slice(&(-1_i16).to_be_bytes());
        let mut copy = conn.copy_in_raw(statement).await?;
        for piece in self.bytes.chunks(PIECE) {
            copy.send(piece).await?;
        }
        copy.finish().await?;
        Ok(())
    }
}

/// What an array can hold.
pub(super) trait Element {
    /// The number of the type in Postgres's catalogue, which is the same in every Postgres.
    const TYPE: i32;

    fn push(&self, rows: &mut CopyRows);
}

impl Element for i16 {
    const TYPE: i32 = 21;

    fn push(&self, rows: &mut CopyRows) {
        rows.smallint(*self);
    }
}

impl Element for i32 {
    const TYPE: i32 = 23;

    fn push(&self, rows: &mut CopyRows) {
        rows.integer(*self);
    }
}

impl Element for i64 {
    const TYPE: i32 = 20;

    fn push(&self, rows: &mut CopyRows) {
        rows.bigint(*self);
    }
}

impl Element for f32 {
    const TYPE: i32 = 700;

    fn push(&self, rows: &mut CopyRows) {
        rows.field(&self.to_be_bytes());
    }
}

impl Element for f64 {
    const TYPE: i32 = 701;

    fn push(&self, rows: &mut CopyRows) {
        rows.field(&self.to_be_bytes());
    }
}

impl Element for Uuid {
    const TYPE: i32 = 2950;

    fn push(&self, rows: &mut CopyRows) {
        rows.uuid(*self);
    }
}

impl Element for String {
    const TYPE: i32 = 25;

    fn push(&self, rows: &mut CopyRows) {
        rows.text(self);
    }
}
