//! The predictions that every side is given: seeded, so that all sides get the same rows, and made to look like
//! what a model in production logs rather than like what any of the sides stores well.
//!
//! | what | how it is drawn |
//! | --- | --- |
//! | id | UUID version 4 |
//! | time | rises through twelve hours of one day; each row arrives late by an exponential delay of 0.5 s on average |
//! | score | full-precision double in (0, 1), the logistic function of a normal |
//! | `count_0` … `count_2` | integers, geometric with means 2, 12 and 150 |
//! | `age_0`, `age_1` | integers, normal around 41 and 900, cut off at 0 |
//! | `amount_0` … `amount_4` | money with two decimals, log-normal |
//! | `ratio_0` … `ratio_4` | four decimals in 0 to 1, uniform or crowded towards one end |
//! | `measure_0` … `measure_4` | full-precision doubles: normal, two normals mixed, exponential |
//! | `category_0` … `category_9` | 2 to 500 values by Zipf's law |
//!
//! `age_0`, `amount_4`, `ratio_4`, `measure_4` and `category_9` are null in one row of a hundred.

use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// How many numeric features a prediction has.
pub const NUMBERS: usize = 20;
/// How many different values each categorical feature has.
const CATEGORIES: [usize; 10] = [2, 3, 5, 8, 12, 24, 50, 120, 250, 500];
const NULL_SHARE: f64 = 0.01;
/// How much of the day the rows of one stream cover.
const SPAN: Duration = Duration::from_secs(12 * 3600);
/// When in the day they begin.
const BEGIN: Duration = Duration::from_secs(6 * 3600);

/// Rows by column. Categories are indexes into [`Vocabulary`].
pub struct Rows {
    pub ids: Vec<Uuid>,
    /// Microseconds since 1970.
    pub times: Vec<i64>,
    pub scores: Vec<f64>,
    pub numbers: Vec<Vec<Option<f64>>>,
    pub categories: Vec<Vec<Option<u16>>>,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    fn with_capacity(rows: usize) -> Self {
        Self {
            ids: Vec::with_capacity(rows),
            times: Vec::with_capacity(rows),
            scores: Vec::with_capacity(rows),
            numbers: vec![Vec::new(); NUMBERS],
            categories: vec![Vec::new(); CATEGORIES.len()],
        }
    }
}

/// The name of a numeric feature.
pub fn number_name(feature: usize) -> String {
    match feature {
        0..3 => format!("count_{feature}"),
        3..5 => format!("age_{}", feature - 3),
        5..10 => format!("amount_{}", feature - 5),
        10..15 => format!("ratio_{}", feature - 10),
        _ => format!("measure_{}", feature - 15),
    }
}

/// Whether a numeric feature holds integers.
pub fn is_integer(feature: usize) -> bool {
    feature < 5
}

/// The name of a categorical feature.
pub fn category_name(feature: usize) -> String {
    format!("category_{feature}")
}

/// How many categorical features there are.
pub fn category_count() -> usize {
    CATEGORIES.len()
}

/// The texts of the categories, and how often each is drawn.
pub struct Vocabulary {
    texts: Vec<Vec<String>>,
    /// Running sums of the shares.
    cumulated: Vec<Vec<f64>>,
}

impl Vocabulary {
    fn new() -> Self {
        let texts = CATEGORIES
            .iter()
            .enumerate()
            .map(|(feature, &values)| (0..values).map(|value| text(feature, value)).collect());
        Self {
            texts: texts.collect(),
            cumulated: CATEGORIES.iter().map(|&values| zipf(values)).collect(),
        }
    }

    pub fn text(&self, feature: usize, value: u16) -> &str {
        &self.texts[feature][usize::from(value)]
    }

    fn draw(&self, feature: usize, random: &mut StdRng) -> u16 {
        let shares = &self.cumulated[feature];
        let drawn = random.random::<f64>();
        let value = shares
            .partition_point(|&sum| sum < drawn)
            .min(shares.len() - 1);
        u16::try_from(value).expect("there are at most 500 values")
    }
}

/// Words of different lengths, as codes and names in real data are.
fn text(feature: usize, value: usize) -> String {
    const WORDS: [&str; 7] = [
        "north",
        "retail",
        "web",
        "premium",
        "mobile-app",
        "partner",
        "eu",
    ];
    match feature % 3 {
        0 => format!("{}-{value}", WORDS[value % WORDS.len()]),
        1 => format!("C{value:03}"),
        _ => format!("{}_{}", WORDS[(value + feature) % WORDS.len()], value * 37),
    }
}

fn zipf(values: usize) -> Vec<f64> {
    let weights = (1..=values).map(|rank| 1.0 / f64::from(u16::try_from(rank).unwrap_or(u16::MAX)));
    let total: f64 = weights.clone().sum();
    weights
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect()
}

/// A stream of rows.
pub struct Generator {
    random: StdRng,
    pub vocabulary: Vocabulary,
    next_row: u64,
    begin_micros: i64,
    step_micros: f64,
}

impl Generator {
    /// The stream with this seed, whose times would fill their span with `expected` rows.
    pub fn new(seed: u64, expected: u64) -> Self {
        let span = SPAN.as_micros() as f64;
        Self {
            random: StdRng::seed_from_u64(seed),
            vocabulary: Vocabulary::new(),
            next_row: 0,
            begin_micros: yesterday_micros() + micros(BEGIN),
            step_micros: span / expected.max(1) as f64,
        }
    }

    /// The next rows of the stream.
    pub fn rows(&mut self, count: usize) -> Rows {
        let mut rows = Rows::with_capacity(count);
        for _ in 0..count {
            self.push(&mut rows);
        }
        rows
    }

    fn push(&mut self, rows: &mut Rows) {
        self.push_identity(rows);
        rows.scores.push(logistic(self.normal() * 1.5 - 1.0));
        for feature in 0..NUMBERS {
            let value = self.number(feature);
            let null = matches!(feature, 3 | 9 | 14 | 19) && self.random.random_bool(NULL_SHARE);
            rows.numbers[feature].push((!null).then_some(value));
        }
        for feature in 0..CATEGORIES.len() {
            let value = self.vocabulary.draw(feature, &mut self.random);
            let null = feature == 9 && self.random.random_bool(NULL_SHARE);
            rows.categories[feature].push((!null).then_some(value));
        }
    }

    fn push_identity(&mut self, rows: &mut Rows) {
        let id = uuid::Builder::from_random_bytes(self.random.random()).into_uuid();
        rows.ids.push(id);
        let on_time = self.begin_micros + (self.next_row as f64 * self.step_micros) as i64;
        let late = (self.exponential() * 500_000.0).min(30e6) as i64;
        rows.times.push(on_time - late);
        self.next_row += 1;
    }

    /// Gives rows new ids and the next times, and leaves their values: for filling a database with more rows
    /// than there is time to draw.
    pub fn renew(&mut self, rows: &mut Rows) {
        let count = rows.len();
        rows.ids.clear();
        rows.times.clear();
        for _ in 0..count {
            self.push_identity(rows);
        }
    }

    fn number(&mut self, feature: usize) -> f64 {
        match feature {
            0 => (self.exponential() * 2.0).floor(),
            1 => (self.exponential() * 12.0).floor(),
            2 => (self.exponential() * 150.0).floor(),
            3 => (41.0 + 14.0 * self.normal()).max(0.0).floor(),
            4 => (900.0 + 400.0 * self.normal()).max(0.0).floor(),
            5..10 => self.amount(feature - 5),
            10..15 => self.ratio(feature - 10),
            15 => self.normal(),
            16 => 37.5 + 0.8 * self.normal(),
            17 if self.random.random_bool(0.3) => 12.0 + 3.0 * self.normal(),
            17 => -4.0 + self.normal(),
            18 => self.exponential() * 0.02,
            _ => 1e4 * self.normal(),
        }
    }

    fn amount(&mut self, which: usize) -> f64 {
        const SHAPES: [(f64, f64); 5] =
            [(2.5, 0.8), (4.0, 1.0), (5.5, 1.2), (7.5, 0.6), (3.2, 1.6)];
        let (middle, spread) = SHAPES[which];
        let amount = (middle + spread * self.normal()).exp();
        (amount * 100.0).round() / 100.0
    }

    fn ratio(&mut self, which: usize) -> f64 {
        const POWERS: [f64; 5] = [1.0, 2.0, 0.5, 4.0, 1.0];
        let ratio = self.random.random::<f64>().powf(POWERS[which]);
        (ratio * 10_000.0).round() / 10_000.0
    }

    fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.random.random::<f64>()).cos()
    }

    /// With mean 1. The argument of the logarithm lies in (0, 1].
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.random.random::<f64>()).ln()
    }
}

fn logistic(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("a duration within a day")
}

/// The day before today: its rows are never in the future, whatever the hour of the run.
fn yesterday_micros() -> i64 {
    let today = UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs() / 86_400;
    micros(Duration::from_secs((today - 1) * 86_400))
}
