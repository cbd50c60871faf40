//! A comparison as a table, for people at a terminal. The worst comes first.

use std::fmt::Write;
use std::path::Path;

use super::ranking::{
    Ranked, TOGETHER, explanation, found_over_days, named, of_quality, of_rows, place, rank,
    stretches, stretches_heading, together, young,
};
use super::window_name;
use crate::domain::measurement::{Measure, Projected, Status};
use crate::domain::schema::FeatureType;
use crate::domain::window::Window;
use crate::services::comparison::{Comparison, Measurement, OverDays, SchemaFinding};
use crate::stats::detector::{Settings, Verdict};

/// How many findings of one kind are listed for one feature; there may be one per hour.
const LISTED: usize = 3;
/// How many findings of columns together over days are listed.
const MOST_STRETCHES: usize = 10;
/// How many values are listed whose labels are not all in.
const MOST_YOUNG: usize = 20;

/// Files, features, findings, and a line that sums it up.
pub(super) fn text(comparison: &Comparison) -> String {
    let ranked = rank(comparison);
    let mut text = head(
        (&comparison.reference, comparison.reference_rows),
        (&comparison.current, comparison.current_rows),
    );
    text += &aligned(&rows(&ranked, comparison.windows.len() > 1));
    text += &over_days(comparison);
    text += &columns_over_days(comparison);
    text += &samples(comparison);
    text += &quality(comparison);
    text += &still_to_come(comparison);
    text += &schema(&comparison.schema);
    text += &left_out(&comparison.left_out);
    line(
        &mut text,
        format_args!("\n{}", summary(comparison, &ranked)),
    );
    text
}

/// The files, and an empty line.
pub(super) fn head(reference: (&Path, u64), current: (&Path, u64)) -> String {
    let mut text = String::new();
    for (side, (file, rows)) in [("reference", reference), ("current", current)] {
        line(
            &mut text,
            format_args!("{side:<9}  {}  ({} rows)", file.display(), thousands(rows)),
        );
    }
    line(&mut text, format_args!(""));
    text
}

/// What the drift detector says, under its heading, or why it says nothing.
fn over_days(comparison: &Comparison) -> String {
    let Some(of) = &comparison.over_days else {
        let cause = comparison.without_days.as_ref();
        return cause.map_or_else(String::new, |cause| {
            format!("\nOver days: nothing is said: {}\n", shown(cause))
        });
    };
    let header = ["status", "feature", "day", "what the drift detector says"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for m in &of.verdicts {
        let day = m.window.map(window_name).unwrap_or_default();
        let (said, _) = said_over_days(m);
        rows.push(vec![
            m.status.as_str().to_owned(),
            shown(&m.feature),
            day,
            shown(&said),
        ]);
    }
    let verdicts = aligned(&rows);
    format!("\n{}\n{verdicts}", days_heading(of))
}

/// What is said of columns together over days, under its heading; nothing for files without days.
fn columns_over_days(comparison: &Comparison) -> String {
    let stretches = stretches(comparison);
    if stretches.is_empty() {
        return String::new();
    }
    let header = ["status", "measure", "since", "p", "what has changed"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for of in stretches.iter().take(MOST_STRETCHES) {
        let p = of.clearest.p_value;
        rows.push(vec![
            of.first.status.as_str().to_owned(),
            of.first.measure.as_str().to_owned(),
            of.when(),
            p.map_or("–".to_owned(), probability),
            shown(&of.said().join(", ")),
        ]);
    }
    if stretches.len() > MOST_STRETCHES {
        let more = format!("and {} findings more", stretches.len() - MOST_STRETCHES);
        rows.push(vec![more]);
    }
    let heading = stretches_heading(comparison);
    let heading = heading.map_or_else(String::new, |of| format!(": {of}"));
    format!("\nColumns together over days{heading}\n{}", aligned(&rows))
}

/// What was compared over days.
pub(super) fn days_heading(of: &OverDays) -> String {
    format!(
        "Over days: {} days judged by {} days of the reference, {}",
        of.current_days,
        of.reference_days,
        Verdict::by_chance(&Settings::default())
    )
}

/// What the detector found of a feature, and what it would not have seen.
pub(super) fn said_over_days(m: &Measurement) -> (String, String) {
    let recipe = m.recipe.shift.as_ref();
    let said = match (m.status, recipe, &m.recipe.cause) {
        (Status::Drift, Some(recipe), _) => {
            let since = recipe.since.map(|day| format!(" since {day}"));
            let change = recipe.direction.first().cloned().unwrap_or_default();
            format!("{change}{}", since.unwrap_or_default())
        }
        (_, _, Some(cause)) => cause.clone(),
        _ => "nothing beyond chance and size".to_owned(),
    };
    let smallest = recipe.map_or_else(String::new, |recipe| {
        let of = recipe.smallest.iter();
        let sizes: Vec<String> = of
            .map(|s| format!("{:.2} in {:.0} d", s.effect, s.days))
            .collect();
        sizes.join(", ")
    });
    (said, smallest)
}

/// What samples of rows say, under its heading; nothing without any.
fn samples(comparison: &Comparison) -> String {
    let measured = of_rows(comparison);
    if measured.is_empty() {
        return String::new();
    }
    let header = ["status", "feature", "measure", "value", "p", "comes from"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for m in measured {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |v| format!("{v:.3}"));
        let told = match (&m.recipe.cause, m.value) {
            (Some(cause), None) => format!("({cause})"),
            (Some(cause), Some(_)) => format!("{} ({cause})", explanation(m)),
            (None, _) => explanation(m),
        };
        let place = place(m.window, &m.segment);
        rows.push(vec![
            m.status.as_str().to_owned(),
            shown(named(&m.feature)),
            m.measure.as_str().to_owned(),
            number(m.value),
            m.p_value.map_or("–".to_owned(), probability),
            match (place.is_empty(), told.is_empty()) {
                (true, _) => shown(&told),
                (false, true) => format!("in {place}"),
                (false, false) => format!("in {place}: {}", shown(&told)),
            },
        ]);
    }
    format!("\nSamples of rows\n{}", aligned(&rows))
}

/// Each measure of quality where it is worst, under its heading; nothing without any.
fn quality(comparison: &Comparison) -> String {
    let measured = of_quality(comparison);
    if measured.is_empty() {
        return String::new();
    }
    let header = [
        "status",
        "measure",
        "of",
        "reference",
        "current",
        "95 %",
        "labels",
        "in",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for m in measured {
        let number = |value: Option<f64>| value.map_or("–".to_owned(), short);
        let interval = m.interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} to {}", short(low), short(high))
        });
        let place = place(m.window, &m.segment);
        let cause = m.recipe.cause.as_ref().map(|cause| format!("({cause})"));
        rows.push(vec![
            m.status.as_str().to_owned(),
            m.measure.as_str().to_owned(),
            shown(&m.feature),
            number(m.reference),
            number(m.value),
            interval,
            thousands(m.current_labels),
            [Some(shown(&place)).filter(|place| !place.is_empty()), cause]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
        ]);
    }
    format!("\nQuality\n{}", aligned(&rows))
}

/// What values are expected to be once all labels are in, under its heading; nothing where all are.
fn still_to_come(comparison: &Comparison) -> String {
    let young = young(comparison);
    if young.is_empty() {
        return String::new();
    }
    let header = [
        "in",
        "measure",
        "of",
        "labels",
        "of those to come",
        "now",
        "projected",
        "by",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for of in young.iter().take(MOST_YOUNG) {
        let percent = |share: Option<f64>| share.map_or("–".to_owned(), percent);
        rows.push(vec![
            window_or_all(of.value.window),
            of.value.measure.as_str().to_owned(),
            shown(&of.value.feature),
            percent(of.coverage),
            percent(of.completeness),
            of.value.value.map_or("–".to_owned(), short),
            projected(of.projected, short),
            of.projected.matures_at.format("%Y-%m-%d").to_string(),
        ]);
    }
    if young.len() > MOST_YOUNG {
        rows.push(vec![format!(
            "and {} values more",
            young.len() - MOST_YOUNG
        )]);
    }
    format!("\nLabels still to come: {PROJECTED}\n{}", aligned(&rows))
}

/// What is said of values that are projected.
pub(super) const PROJECTED: &str = "what values are expected to be once all are in, by how the reference's late labels differed from \
                                    its early ones; a projection, not a measurement";

pub(super) fn window_or_all(window: Option<Window>) -> String {
    window.map_or_else(|| "all rows".to_owned(), window_name)
}

/// What a value is expected to be once all labels are in, with its interval.
pub(super) fn projected(of: &Projected, digits: fn(f64) -> String) -> String {
    let interval = of.low.zip(of.high);
    let interval = interval.map(|(low, high)| format!(" ({} to {})", digits(low), digits(high)));
    format!("{}{}", digits(of.value), interval.unwrap_or_default())
}

/// The findings of the schema under their heading; nothing without any.
pub(super) fn schema(schema: &[SchemaFinding]) -> String {
    if schema.is_empty() {
        return String::new();
    }
    format!("\nSchema\n{}", aligned(&findings(schema)))
}

/// The columns that are no features under their heading; nothing without any.
pub(super) fn left_out(columns: &[String]) -> String {
    if columns.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = columns.iter().map(|column| shown(column) + "\n").collect();
    format!("\nLeft out\n{}", lines.concat())
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a String cannot fail");
}

/// What it comes to, in one line.
pub(super) fn summary(comparison: &Comparison, ranked: &[Ranked<'_>]) -> String {
    let with = |status| ranked.iter().filter(|r| r.status == status).count();
    let mut parts = vec![format!(
        "{} of {} features drift",
        with(Status::Drift),
        ranked.len()
    )];
    for (status, word) in [
        (Status::Insufficient, "too little to say"),
        (Status::Error, "not comparable"),
    ] {
        if with(status) > 0 {
            parts.push(format!("{}: {word}", with(status)));
        }
    }
    let (over_days, together_over_days) = found_over_days(comparison);
    for (found, words) in [
        (over_days, "over days"),
        (together_over_days, "together over days"),
    ] {
        if found > 0 {
            parts.push(format!("{found} {words}"));
        }
    }
    match together(comparison) {
        Some(Status::Drift) => parts.push(format!("{TOGETHER} drift")),
        Some(Status::Ok) => parts.push(format!("{TOGETHER} do not")),
        Some(Status::Insufficient | Status::Error) => {
            parts.push(format!("{TOGETHER}: too little to say"));
        }
        None => {}
    }
    let lost = of_quality(comparison);
    for (has_threshold, words) in [
        (true, "beyond its threshold"),
        (false, "worse than the reference's"),
    ] {
        let lost: Vec<&str> = (lost.iter().filter(|m| m.status == Status::Drift))
            .filter(|m| m.recipe.threshold.is_some() == has_threshold)
            .map(|m| m.measure.as_str())
            .collect();
        if !lost.is_empty() {
            parts.push(format!("{words}: {}", lost.join(", ")));
        }
    }
    parts.push(certain_findings(&comparison.schema));
    parts.join("; ")
}

/// How many findings are certain, in words.
pub(super) fn certain_findings(schema: &[SchemaFinding]) -> String {
    let certain = schema.iter().filter(|f| f.finding.status == Status::Drift);
    match certain.count() {
        0 => "no schema findings".to_owned(),
        1 => "1 schema finding".to_owned(),
        more => format!("{more} schema findings"),
    }
}

fn rows(ranked: &[Ranked<'_>], windows: bool) -> Vec<Vec<String>> {
    let placed = ranked.iter().any(|r| !r.place.is_empty());
    let mut header = vec!["status", "feature", "tv", "psi", "ks", "missing", "mean"];
    if placed {
        header.push("worst in");
    }
    if windows || placed {
        header.push("drifted");
    }
    let mut rows = vec![
        header
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>(),
    ];
    for r in ranked {
        let number = |measure| {
            r.value(measure)
                .map_or("–".to_owned(), |v| format!("{v:.3}"))
        };
        let (before, now) = (&r.summary.reference, &r.summary.current);
        let mean = |mean| figure(mean, r.summary.feature_type);
        let mut row = vec![
            r.status.as_str().to_owned(),
            shown(&r.summary.feature),
            number(Measure::TotalVariation),
            number(Measure::Psi),
            number(Measure::KolmogorovSmirnov),
            change(
                before.missing_share.map(percent),
                now.missing_share.map(percent),
            ),
            change(before.mean.map(mean), now.mean.map(mean)),
        ];
        if placed {
            row.push(r.place.clone());
        }
        if windows || placed {
            let unclear = match r.unclear {
                0 => String::new(),
                few => format!(", {few} too small"),
            };
            row.push(format!("{} of {}{unclear}", r.drifted, r.groups));
        }
        if let Some(cause) = r
            .cause()
            .filter(|_| matches!(r.status, Status::Error | Status::Insufficient))
        {
            row.push(format!("({cause})"));
        }
        if let Some(told) = beyond_others(r) {
            row.push(told);
        }
        rows.push(row);
    }
    rows
}

/// The measure without a column of its own by which a feature drifted, where none with one says so.
fn beyond_others(r: &Ranked<'_>) -> Option<String> {
    let drifted = r.worst.values().filter(|m| m.status == Status::Drift);
    let mut of_counts = drifted.filter(|m| m.measure.drift().is_some()).peekable();
    let first = of_counts.peek()?;
    let told = format!("({} {})", first.measure.as_str(), short(first.value?));
    let in_columns = [
        Measure::TotalVariation,
        Measure::MissingShareChange,
        Measure::Psi,
        Measure::KolmogorovSmirnov,
    ];
    let is_seen = of_counts.any(|m| in_columns.contains(&m.measure));
    (!is_seen).then_some(told)
}

fn findings(schema: &[SchemaFinding]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut groups: Vec<((&str, &str), Vec<&SchemaFinding>)> = Vec::new();
    for found in schema {
        let key = (found.finding.feature.as_str(), found.finding.kind.as_str());
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(found),
            None => groups.push((key, vec![found])),
        }
    }
    for ((feature, kind), group) in groups {
        for found in group.iter().take(LISTED) {
            let place = found
                .window
                .map_or_else(String::new, |w| format!("{}: ", window_name(w)));
            let unsure = match found.finding.status {
                Status::Insufficient => " (too few rows to be sure)",
                _ => "",
            };
            rows.push(vec![
                kind.to_owned(),
                shown(feature),
                format!("{place}{}{unsure}", found.finding.detail),
            ]);
        }
        if group.len() > LISTED {
            let more = format!("and in {} more windows", group.len() - LISTED);
            rows.push(vec![kind.to_owned(), shown(feature), more]);
        }
    }
    rows
}

/// Columns as wide as their widest cell, but the last; numbers to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| {
        rows.iter()
            .filter_map(|row| row.get(at))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number =
        |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit()) && cell.parse::<f64>().is_ok();
    let numeric: Vec<bool> = (0..columns)
        .map(|at| {
            let mut cells = rows
                .iter()
                .skip(1)
                .filter_map(|row| row.get(at))
                .filter(|cell| *cell != "–")
                .peekable();
            cells.peek().is_some() && cells.all(|cell| is_number(cell))
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let padding = " ".repeat(widths[at] - cell.chars().count());
                if numeric[at] {
                    format!("{padding}{cell}")
                } else {
                    format!("{cell}{padding}")
                }
            })
            .collect();
        line(&mut text, format_args!("{}", cells.join("  ").trim_end()));
    }
    text
}

/// One value when both sides have the same, else both.
fn change(before: Option<String>, now: Option<String>) -> String {
    match (before, now) {
        (None, None) => "–".to_owned(),
        (before, now) if before == now => now.unwrap_or_default(),
        (before, now) => {
            let word = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
            format!("{} → {}", word(before), word(now))
        }
    }
}

fn percent(share: f64) -> String {
    if share == 0.0 {
        "0 %".to_owned()
    } else {
        format!("{:.1} %", share * 100.0)
    }
}

/// A number of a feature of that type: dates as such.
pub(super) fn figure(number: f64, feature_type: Option<FeatureType>) -> String {
    let date = feature_type.and_then(|feature_type| feature_type.date(number));
    date.unwrap_or_else(|| short(number))
}

/// A number with about four digits.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        0.001..10.0 => format!("{number:.3}"),
        10.0..1_000.0 => format!("{number:.1}"),
        1_000.0..1e7 => format!("{number:.0}"),
        _ => format!("{number:.2e}"),
    }
}

/// A p-value with three digits, and below what a number can hold as the bound that is known.
pub(super) fn probability(p: f64) -> String {
    if p <= f64::MIN_POSITIVE && p > 0.0 {
        "< 1e-307".to_owned()
    } else if p > 0.0 && p < 0.001 {
        format!("{p:.1e}")
    } else {
        format!("{p:.3}")
    }
}

pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A name from a file, without what a terminal would act on.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '�' } else { c })
        .collect()
}
