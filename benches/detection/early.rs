//! How soon a change is seen: the share of runs in which a feature is a candidate by the first, seventh and
//! twenty-eighth day, the median delay, how many episodes a change makes, and whether the right features are named.

use bellwether::stats::detector::{
    Change, Episode, Grain, Reference, Settings, Status, Tally, Verdict,
};

use crate::Run;
use crate::figures::{Goal, Report};
use crate::pictures::{self, Bars};
use crate::quiet::judge;
use crate::random::Random;
use crate::streams::{Calm, Counting, Day, Drift, Moved, Shape, World, thirty_features, zipf};

const REFERENCE_DAYS: usize = 28;
pub const HORIZON: usize = 28;
/// Where the categories begin among the thirty features.
const CATEGORIES: usize = 20;

/// A change of one of the thirty features.
#[derive(Debug, Clone)]
pub struct Kind {
    pub name: String,
    pub place: usize,
    pub drift: Drift,
}

/// The changes whose delays are measured, each of another feature.
pub fn kinds() -> Vec<Kind> {
    let number = |place: usize, shape: Shape, shift: f64, scale: f64| {
        let what = match (shift != 0.0, scale != 1.0) {
            (true, _) => format!("{} +{shift} σ", shape.name()),
            (_, true) => format!("{} × {scale}", shape.name()),
            _ => shape.name().to_owned(),
        };
        Kind {
            name: what,
            place,
            drift: Drift::Number(Moved { shift, scale }),
        }
    };
    let category = |index: usize, name: &str, shares: Vec<f64>| Kind {
        name: name.to_owned(),
        place: CATEGORIES + index,
        drift: Drift::Category(shares),
    };
    vec![
        number(0, Shape::Normal, 0.05, 1.0),
        number(1, Shape::Normal, 0.1, 1.0),
        number(2, Shape::Normal, 0.2, 1.0),
        number(3, Shape::Normal, 0.3, 1.0),
        number(4, Shape::Normal, 0.5, 1.0),
        number(5, Shape::Normal, 0.0, 1.25),
        number(6, Shape::Lognormal, 0.1, 1.0),
        number(7, Shape::Lognormal, 0.2, 1.0),
        number(9, Shape::Exponential, 0.1, 1.0),
        number(10, Shape::Exponential, 0.0, 1.1),
        number(14, Shape::Uniform, 0.1, 1.0),
        number(15, Shape::Uniform, 0.0, 1.25),
        number(16, Shape::Bimodal, 0.2, 1.0),
        number(18, Shape::Poisson, 0.2, 1.0),
        category(0, "two categories, .50 to .55", vec![0.45, 0.55]),
        category(1, "a rare one of two, 2 % to 3 %", vec![0.97, 0.03]),
        category(
            3,
            "five categories, 2 points",
            moved(vec![0.4, 0.25, 0.15, 0.12, 0.08], 0.02),
        ),
        category(4, "eight categories, 5 points", moved(zipf(8, 1.0), 0.05)),
        category(5, "a new category, 0.2 %", with_new(zipf(12, 1.0), 0.002)),
        category(6, "a new category, 1 %", with_new(zipf(20, 1.0), 0.01)),
        category(7, "fifty categories, 5 points", moved(zipf(50, 1.0), 0.05)),
    ]
}

/// So much moved from the first category to the second.
pub fn moved(mut shares: Vec<f64>, part: f64) -> Vec<f64> {
    shares[0] -= part;
    shares[1] += part;
    shares
}

/// One category more.
pub fn with_new(shares: Vec<f64>, part: f64) -> Vec<f64> {
    shares
        .into_iter()
        .map(|share| share * (1.0 - part))
        .chain([part])
        .collect()
}

/// How a change comes about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Course {
    /// At once, to stay.
    Sudden,
    /// Evenly over four weeks.
    Ramp,
    /// For one day.
    Transient,
}

impl Course {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sudden => "sudden",
            Self::Ramp => "ramp of 28 days",
            Self::Transient => "one day",
        }
    }

    fn part(self, day: usize) -> f64 {
        match self {
            Self::Sudden => 1.0,
            Self::Ramp => ((day + 1) as f64 / HORIZON as f64).min(1.0),
            Self::Transient => f64::from(u8::from(day == 0)),
        }
    }
}

/// Days after which a feature was a candidate, for each run; `None` if it never was.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    days: Vec<Option<usize>>,
    /// How far the start named was from the day of the change.
    pub start_errors: Vec<f64>,
}

impl Delays {
    pub fn within(&self, days: usize) -> f64 {
        let seen = self
            .days
            .iter()
            .filter(|day| day.is_some_and(|day| day <= days))
            .count();
        seen as f64 / self.days.len() as f64
    }

    /// The median delay in days; one more than the horizon if half of the runs never saw it.
    pub fn median(&self) -> f64 {
        let mut days: Vec<usize> = self
            .days
            .iter()
            .map(|day| day.unwrap_or(HORIZON + 1))
            .collect();
        days.sort_unstable();
        days[days.len() / 2] as f64
    }

    pub fn told(&self) -> String {
        let median = self.median();
        let median = if median > HORIZON as f64 {
            "never".to_owned()
        } else {
            format!("{median}")
        };
        format!(
            "{:.2} / {:.2} / {:.2} / {median}",
            self.within(1),
            self.within(7),
            self.within(28)
        )
    }
}

/// A model whose days are drawn and judged one by one.
pub struct Model {
    world: World,
    counting: Counting,
    pub reference: Reference,
    history: Vec<Vec<Tally>>,
    day: usize,
}

impl Model {
    pub fn new(calm: Calm, rows: u64, settings: &Settings, seed: u64, run: u64) -> Self {
        let mut world = World::new(thirty_features(), calm, rows, Random::of(seed, 2 * run));
        let before: Vec<Day> = (0..REFERENCE_DAYS)
            .map(|day| world.day(day, &[], 0.0))
            .collect();
        let (counting, tallies) = Counting::of_reference(&before, Random::of(seed, 2 * run + 1));
        let days = counting.feature_days(&tallies);
        let reference =
            Reference::fit(Grain::Day, &days, &[], settings.clone()).expect("a reference");
        let history = vec![Vec::new(); days.len()];
        Self {
            world,
            counting,
            reference,
            history,
            day: 0,
        }
    }

    /// The verdict on one feature on a day that is the first after the reference, whatever was asked before.
    pub fn first_day(&mut self, place: usize, drifts: &[(usize, Drift)]) -> Verdict {
        let day = self.world.day(REFERENCE_DAYS, drifts, 1.0);
        let tally = self.counting.count(&day, place);
        judge(&self.reference, place, &[tally], REFERENCE_DAYS)
    }

    /// The days asked for so far, by feature.
    pub fn history(&self) -> &[Vec<Tally>] {
        &self.history
    }

    /// The verdicts on the next day.
    pub fn next(&mut self, drifts: &[(usize, Drift)], part: f64) -> Vec<Verdict> {
        let day = self.world.day(REFERENCE_DAYS + self.day, drifts, part);
        self.day += 1;
        (0..self.history.len())
            .map(|place| {
                self.history[place].push(self.counting.count(&day, place));
                judge(&self.reference, place, &self.history[place], REFERENCE_DAYS)
            })
            .collect()
    }
}

/// The delays of every kind of change, all in the same runs, each in a feature of its own.
pub fn delays(
    calm: Calm,
    rows: u64,
    course: Course,
    runs: usize,
    settings: &Settings,
    seed: u64,
) -> Vec<Delays> {
    let kinds = kinds();
    let drifts: Vec<(usize, Drift)> = kinds
        .iter()
        .map(|kind| (kind.place, kind.drift.clone()))
        .collect();
    let all = crate::parallel(runs, |run| {
        let mut model = Model::new(calm, rows, settings, seed, run as u64);
        let mut seen: Vec<Option<(usize, f64)>> = vec![None; kinds.len()];
        for day in 0..HORIZON {
            let verdicts = model.next(&drifts, course.part(day));
            for (seen, kind) in seen.iter_mut().zip(&kinds) {
                let verdict = &verdicts[kind.place];
                if seen.is_none() && verdict.status == Status::Candidate {
                    let first = crate::streams::FIRST_DAY + REFERENCE_DAYS as i64;
                    let error = verdict.since.map_or(0, |since| since - first).abs();
                    *seen = Some((day + 1, error as f64));
                }
            }
        }
        seen
    });
    let mut delays = vec![Delays::default(); kinds.len()];
    for run in all {
        for (delays, seen) in delays.iter_mut().zip(run) {
            delays.days.push(seen.map(|(day, _)| day));
            delays.start_errors.extend(seen.map(|(_, error)| error));
        }
    }
    delays
}

/// How many episodes a change makes in sixty days, for each kind of change alone that is seen at all; the mean.
pub fn flapping(course: Course, runs: usize, settings: &Settings, seed: u64) -> f64 {
    let kinds = kinds();
    let episodes = crate::parallel(runs, |run| {
        let kind = &kinds[run % kinds.len()];
        let mut model = Model::new(Calm::IID, 1_000, settings, seed, run as u64);
        let (mut episode, mut opened) = (Episode::default(), 0);
        for day in 0..60 {
            let drift = [(kind.place, kind.drift.clone())];
            let verdicts = model.next(&drift, course.part(day));
            let evidence = verdicts.iter().filter_map(Verdict::evidence);
            let (next, change) =
                episode.step(day as i64, 1.0, evidence.min_by(f64::total_cmp), None);
            episode = next;
            opened += usize::from(change == Change::Opened);
        }
        opened
    });
    let seen: Vec<usize> = episodes.into_iter().filter(|count| *count > 0).collect();
    seen.iter().sum::<usize>() as f64 / seen.len().max(1) as f64
}

/// Three features change at once; how many of the three most surprising on the seventh day are among them.
pub fn precision_at_three(runs: usize, settings: &Settings, seed: u64) -> f64 {
    let kinds: Vec<Kind> = kinds()
        .into_iter()
        .filter(|kind| !kind.name.contains("0.05"))
        .collect();
    let hits = crate::parallel(runs, |run| {
        let mut random = Random::of(seed ^ 0x5eed, run as u64);
        let mut order: Vec<usize> = (0..kinds.len()).collect();
        random.shuffle(&mut order);
        let drifts: Vec<(usize, Drift)> = order[..3]
            .iter()
            .map(|kind| (kinds[*kind].place, kinds[*kind].drift.clone()))
            .collect();
        let mut model = Model::new(Calm::IID, 1_000, settings, seed, run as u64);
        let mut verdicts = Vec::new();
        for _ in 0..7 {
            verdicts = model.next(&drifts, 1.0);
        }
        let mut ranked: Vec<usize> = (0..verdicts.len()).collect();
        let evidence = |place: &usize| verdicts[*place].evidence().unwrap_or(f64::INFINITY);
        ranked.sort_by(|a, b| evidence(a).total_cmp(&evidence(b)));
        ranked[..3]
            .iter()
            .filter(|place| drifts.iter().any(|(own, _)| own == *place))
            .count()
    });
    hits.iter().sum::<usize>() as f64 / (3 * hits.len()) as f64
}

/// The tables and figures of delays.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let runs = if run.long { 2_000 } else { 200 };
    let settings = &run.settings;
    let kinds = kinds();
    let cases = [
        (Calm::IID, 1_000, Course::Sudden),
        (
            Calm {
                name: "days differ by 0.05 σ",
                day: 0.05,
                ..Calm::IID
            },
            1_000,
            Course::Sudden,
        ),
        (Calm::IID, 1_000, Course::Ramp),
        (Calm::IID, 200, Course::Sudden),
    ];
    for (index, (calm, rows, course)) in cases.into_iter().enumerate() {
        let delays = delays(calm, rows, course, runs, settings, run.seed);
        for (kind, delays) in kinds.iter().zip(&delays) {
            report.tell(
                format!(
                    "{}, {}, {}, {rows} rows a day: seen within 1 / 7 / 28 days / median delay",
                    kind.name,
                    course.name(),
                    calm.name
                ),
                delays.told(),
            );
        }
        if index == 0 {
            judge_delays(run, report, &kinds, &delays);
            draw(run, &kinds, &delays)?;
        }
    }
    for (course, name) in [
        (Course::Sudden, "sudden"),
        (Course::Ramp, "ramp"),
        (Course::Transient, "one_day"),
    ] {
        let episodes = flapping(course, runs, settings, run.seed);
        run.figures(
            report,
            &format!("episodes_per_change_{name}"),
            episodes,
            Goal::AtMost(1.2),
            Some(Goal::AtMost(1.05)),
        );
    }
    let precision = precision_at_three(runs, settings, run.seed);
    run.figures(
        report,
        "attribution_precision_at_3",
        precision,
        Goal::AtLeast(0.9),
        Some(Goal::AtLeast(0.97)),
    );
    Ok(())
}

/// What is promised of a kind of change.
enum Promise {
    FirstDay(f64, Option<f64>),
    Week(f64),
    Median(f64, Option<f64>),
}

fn judge_delays(run: &Run, report: &mut Report, kinds: &[Kind], delays: &[Delays]) {
    use Promise::{FirstDay, Median, Week};
    let promises = [
        ("normal_0.2", "normal +0.2 σ", FirstDay(0.85, Some(0.95))),
        ("normal_0.1", "normal +0.1 σ", Median(3.0, Some(2.0))),
        ("normal_0.1", "normal +0.1 σ", Week(0.95)),
        ("lognormal_0.1", "lognormal +0.1 σ", FirstDay(0.98, None)),
        (
            "new_category_1_percent",
            "a new category, 1 %",
            FirstDay(0.99, None),
        ),
        (
            "new_category_0.2_percent",
            "a new category, 0.2 %",
            Median(7.0, Some(4.0)),
        ),
        (
            "two_categories_50_to_55",
            "two categories, .50 to .55",
            Median(3.0, Some(2.0)),
        ),
        (
            "rare_2_to_3_percent",
            "a rare one of two, 2 % to 3 %",
            Median(7.0, Some(5.0)),
        ),
        (
            "eight_categories_5_points",
            "eight categories, 5 points",
            Median(3.0, Some(2.0)),
        ),
        (
            "uniform_leaves_range",
            "uniform +0.1 σ",
            FirstDay(0.5, Some(0.9)),
        ),
        ("uniform_leaves_range", "uniform +0.1 σ", Median(2.0, None)),
    ];
    for (name, kind, promise) in promises {
        let place = kinds
            .iter()
            .position(|own| own.name == kind)
            .expect("a kind that is measured");
        let delays = &delays[place];
        match promise {
            FirstDay(gate, stretch) => run.figures(
                report,
                &format!("{name}_seen_first_day"),
                delays.within(1),
                Goal::AtLeast(gate),
                stretch.map(Goal::AtLeast),
            ),
            Week(gate) => run.figures(
                report,
                &format!("{name}_seen_in_a_week"),
                delays.within(7),
                Goal::AtLeast(gate),
                None,
            ),
            Median(gate, stretch) => run.figures(
                report,
                &format!("{name}_median_days"),
                delays.median(),
                Goal::AtMost(gate),
                stretch.map(Goal::AtMost),
            ),
        }
    }
    let mut errors: Vec<f64> = delays
        .iter()
        .flat_map(|d| d.start_errors.iter().copied())
        .collect();
    errors.sort_by(f64::total_cmp);
    if !errors.is_empty() {
        let told = format!(
            "{} / {}",
            errors[errors.len() / 2],
            errors[errors.len() * 9 / 10]
        );
        report.tell("days between the start named and the true one, on the day first seen: median / 90th percentile", told);
    }
}

fn draw(run: &Run, kinds: &[Kind], delays: &[Delays]) -> anyhow::Result<()> {
    let rows: Vec<Bars> = kinds
        .iter()
        .zip(delays)
        .map(|(kind, delays)| {
            let median = delays.median();
            let told = if median > HORIZON as f64 {
                "not in 28 days".to_owned()
            } else {
                format!("{median}")
            };
            Bars {
                label: kind.name.clone(),
                values: vec![median],
                told,
            }
        })
        .collect();
    run.show(&pictures::bars(
        "detection-delays.svg",
        "Days until a change is seen (median, 1,000 rows a day)",
        &["Bellwether"],
        &rows,
        HORIZON as f64,
    )?)?;
    let normal: Vec<(f64, &Delays)> = [0.05, 0.1, 0.2, 0.3, 0.5].into_iter().zip(delays).collect();
    let curve = |days: usize| {
        normal
            .iter()
            .map(|(size, delays)| (*size, delays.within(days)))
            .collect()
    };
    let series = [
        ("within 1 day", curve(1)),
        ("within 7 days", curve(7)),
        ("within 28 days", curve(28)),
    ];
    run.show(&pictures::lines(
        "detection-power.svg",
        "Share of shifts of a normal feature seen (1,000 rows a day)",
        "shift in standard deviations",
        &series,
    )?)
}
