//! How soon a change is seen: the share of runs in which a feature is a candidate by the first, seventh and
//! twenty-eighth day, the delay, how many episodes a change makes, and whether the right features are named.

use crate::Run;
use crate::course::{Course, Delays, HORIZON, Runs, told_days};
use crate::figures::{Goal, Report};
use crate::kinds::{Kind, kinds, more_kinds, weekend_kinds};
use crate::pictures::{self, Bars};
use crate::streams::Calm;

/// What the cells of a table of delays say.
const CELLS: &str = "share seen within 1, 7 and 28 days; median and 90th percentile of the delay in days (– is not within 28)";

/// The tables and figures of delays.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let runs = Runs {
        calm: Calm::IID,
        rows: 1_000,
        runs: if run.long { 2_000 } else { 200 },
        settings: &run.settings,
        seed: run.seed,
    };
    let kinds = kinds();
    let more = more_kinds();
    let sudden = by_course(report, &runs, &kinds, &more);
    judge_delays(run, report, &kinds, &sudden);
    draw(run, &kinds, &sudden)?;
    by_calm(report, &runs, &kinds, &more);
    let all: Vec<Kind> = kinds.iter().chain(more.iter().flatten()).cloned().collect();
    for (course, name) in Course::ALL.into_iter().zip([
        "sudden",
        "ramp_7_days",
        "ramp_28_days",
        "one_day",
        "two_days_of_seven",
    ]) {
        let episodes = runs.episodes_per_change(&all, course);
        run.figures(
            report,
            &format!("episodes_per_change_{name}"),
            episodes,
            Goal::AtMost(1.2),
            Some(Goal::AtMost(1.05)),
        );
    }
    // Below the gate of size nothing is promised.
    let counts: Vec<Kind> = all
        .into_iter()
        .filter(|kind| !kind.name.contains("0.05"))
        .collect();
    run.figures(
        report,
        "attribution_precision_at_3",
        runs.precision_at_three(&counts),
        Goal::AtLeast(0.9),
        Some(Goal::AtLeast(0.97)),
    );
    Ok(())
}

/// A line of the table for every kind and a column for every course; the delays of the first kinds where they are sudden.
fn by_course(
    report: &mut Report,
    runs: &Runs<'_>,
    kinds: &[Kind],
    more: &[Vec<Kind>],
) -> Vec<Delays> {
    let mut lines = Vec::new();
    let mut first = Vec::new();
    for list in std::iter::once(kinds).chain(more.iter().map(Vec::as_slice)) {
        let courses: Vec<Vec<Delays>> = Course::ALL
            .into_iter()
            .map(|course| runs.delays(list, course))
            .collect();
        for (place, kind) in list.iter().enumerate() {
            let cells = courses.iter().map(|delays| delays[place].told());
            let start = start_error(&courses[0][place].start_errors);
            lines.push(
                std::iter::once(kind.name.clone())
                    .chain(cells)
                    .chain([start])
                    .collect(),
            );
        }
        if first.is_empty() {
            first = courses.into_iter().next().unwrap_or_default();
        }
    }
    let names: Vec<String> = Course::ALL.into_iter().map(Course::name).collect();
    let mut columns = vec!["change"];
    columns.extend(names.iter().map(String::as_str));
    columns.push("start named, days off: median, 90th percentile");
    report.table(
        format!(
            "How soon changes are seen, {}, {} rows a day: {CELLS}.",
            runs.calm.name, runs.rows
        ),
        &columns,
        lines,
    );
    first
}

/// The same changes where they are sudden, on other streams.
fn by_calm(report: &mut Report, runs: &Runs<'_>, kinds: &[Kind], more: &[Vec<Kind>]) {
    let differing = Runs {
        calm: Calm::DIFFERING,
        ..*runs
    };
    let few = Runs { rows: 200, ..*runs };
    let mut lines = Vec::new();
    for list in std::iter::once(kinds).chain(more.iter().map(Vec::as_slice)) {
        let seen = [&differing, &few].map(|runs| runs.delays(list, Course::Sudden));
        for (place, kind) in list.iter().enumerate() {
            let cells = seen.iter().map(|delays| delays[place].told());
            lines.push(std::iter::once(kind.name.clone()).chain(cells).collect());
        }
    }
    let columns = [
        "change",
        "days differ by 0.05 σ, 1,000 rows a day",
        "days alike, 200 rows a day",
    ];
    report.table(
        format!("Sudden changes on other streams: {CELLS}."),
        &columns,
        lines,
    );
    let weekends = Runs {
        calm: Calm {
            name: "weekends are 0.3 σ higher",
            weekend: 0.3,
            ..Calm::DIFFERING
        },
        ..*runs
    };
    let kinds = weekend_kinds();
    let seen = weekends.delays(&kinds, Course::Sudden);
    for (kind, delays) in kinds.iter().zip(&seen) {
        report.tell(
            format!(
                "{}, where weekends are 0.3 σ higher and days differ by 0.05 σ: {CELLS}",
                kind.name
            ),
            delays.told(),
        );
    }
}

fn start_error(errors: &[f64]) -> String {
    let mut sorted = errors.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: f64| sorted.get((sorted.len() as f64 * part) as usize);
    match (at(0.5), at(0.9)) {
        (Some(median), Some(most)) => format!("{median}, {most}"),
        _ => "–".to_owned(),
    }
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
    let errors: Vec<f64> = delays
        .iter()
        .flat_map(|delays| delays.start_errors.iter().copied())
        .collect();
    report.tell(
        "days between the start named and the true one, on the day first seen: median, 90th percentile",
        start_error(&errors),
    );
}

fn draw(run: &Run, kinds: &[Kind], delays: &[Delays]) -> anyhow::Result<()> {
    let rows: Vec<Bars> = kinds
        .iter()
        .zip(delays)
        .map(|(kind, delays)| {
            let median = delays.median();
            Bars {
                label: kind.name.clone(),
                values: vec![median],
                told: told_days(median),
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
