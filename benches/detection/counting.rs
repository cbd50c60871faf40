//! What detectors count of a day.
//!
//! Rows are drawn only where a statistic needs them. A detector that counts in frozen bins sees the same whether the
//! rows are drawn and counted or the counts are drawn from the multinomial distribution they have; the latter lets
//! thousands of days of a model run in a second.

use bellwether::stats::detector::{Bins, FeatureDays, Observation, Role, Tally};
use bellwether::stats::grid::TARGET_CELLS;
use bellwether::stats::{FeatureProfile, Grid};

use crate::changes::Numbers;
use crate::random::Random;
use crate::streams::{Day, DayOfFeature, FIRST_DAY};

/// Rows that a grid is fitted on at most.
const GRID_ROWS: u64 = 30_000;

/// The bins of a model's features, with what is needed to draw counts in them.
pub struct Counting {
    features: Vec<CountedFeature>,
    pub random: Random,
}

struct CountedFeature {
    bins: Bins,
    /// The upper edge of each bin of numbers.
    edges: Vec<f64>,
    names: Vec<String>,
}

/// The counts of a model's days, by feature and day.
pub type Tallies = Vec<Vec<Tally>>;

impl Counting {
    /// Chooses bins for the days of a reference, and counts these.
    pub fn of_reference(days: &[Day], mut random: Random) -> (Self, Tallies) {
        let mut features = Vec::new();
        let mut tallies = Vec::new();
        for place in 0..days[0].features.len() {
            let (feature, counted) = match &days[0].features[place] {
                DayOfFeature::Number(..) => numbers(days, place, &mut random),
                DayOfFeature::Category(_) => categories(days, place, &mut random),
            };
            features.push(feature);
            tallies.push(counted);
        }
        (Self { features, random }, tallies)
    }

    pub fn count(&mut self, day: &Day, place: usize) -> Tally {
        let feature = &self.features[place];
        match &day.features[place] {
            DayOfFeature::Number(numbers) => {
                count_numbers(&feature.edges, numbers, day, &mut self.random)
            }
            DayOfFeature::Category(shares) => {
                let profile = profile(shares, &feature.names, day, &mut self.random);
                feature.bins.tally(&profile).expect("categories")
            }
        }
    }

    /// What is there of a day while so large a share of its rows is still to come.
    pub fn before(&mut self, late: f64, whole: &Tally) -> Tally {
        let counts = whole.counts.iter();
        let counts: Vec<u64> = counts.map(|count| self.kept(*count, late)).collect();
        let missing = self.kept(whole.missing, late);
        let unseen = whole.unseen.map(|unseen| self.kept(unseen, late));
        let rows = counts.iter().sum::<u64>() + missing;
        Tally {
            rows,
            counts,
            missing,
            unseen,
            ..whole.clone()
        }
    }

    fn kept(&mut self, count: u64, late: f64) -> u64 {
        count - self.random.binomial(count, late)
    }

    /// What a reference is fitted on.
    pub fn feature_days<'a>(&self, tallies: &'a Tallies) -> Vec<FeatureDays<'a>> {
        self.feature_buckets(tallies, FIRST_DAY)
    }

    /// The same of buckets that are numbered from another.
    pub fn feature_buckets<'a>(&self, tallies: &'a Tallies, first: i64) -> Vec<FeatureDays<'a>> {
        let days = |place: usize| {
            (first..)
                .zip(&tallies[place])
                .map(|(bucket, tally)| Observation {
                    bucket,
                    holiday: false,
                    tally,
                })
        };
        (0..tallies.len())
            .map(|place| FeatureDays {
                name: format!("feature {place}"),
                role: Role::Input,
                bins: self.features[place].bins.clone(),
                days: days(place).collect(),
            })
            .collect()
    }
}

pub fn observation(day: usize, tally: &Tally) -> Observation<'_> {
    Observation {
        bucket: FIRST_DAY + day as i64,
        holiday: false,
        tally,
    }
}

fn numbers(days: &[Day], place: usize, random: &mut Random) -> (CountedFeature, Vec<Tally>) {
    let each = (GRID_ROWS / days.len() as u64).max(1);
    let of = |day: &Day| match day.features[place] {
        DayOfFeature::Number(numbers) => numbers,
        DayOfFeature::Category(_) => unreachable!("a feature keeps its kind"),
    };
    let mut values = Vec::new();
    for day in days {
        let numbers = of(day);
        values.extend((0..day.rows.min(each)).filter_map(|_| numbers.draw(random)));
    }
    let grid = Grid::fit(&values, TARGET_CELLS);
    let mut cells = vec![0; grid.cells()];
    for value in &values {
        cells[grid.cell_of(*value)] += 1;
    }
    let bins = Bins::of_numbers(&grid, &cells, days.len());
    let Bins::Numbers(cut) = &bins else {
        unreachable!("numbers have bins of numbers")
    };
    let edges: Vec<f64> = cut
        .cuts()
        .iter()
        .map(|cell| grid.bounds(*cell).1)
        .chain([f64::INFINITY])
        .collect();
    let tallies = days
        .iter()
        .map(|day| count_numbers(&edges, &of(day), day, random))
        .collect();
    (
        CountedFeature {
            bins,
            edges,
            names: Vec::new(),
        },
        tallies,
    )
}

fn count_numbers(edges: &[f64], numbers: &Numbers, day: &Day, random: &mut Random) -> Tally {
    let mut below = 0.0;
    let shares = edges.iter().map(|edge| {
        let up_to = numbers.share_up_to(*edge);
        let share = (up_to - below).max(0.0);
        below = up_to;
        share
    });
    let mut shares: Vec<f64> = shares.collect();
    shares.push((1.0 - below).max(0.0));
    let mut counts = drawn(&shares, day, random);
    let missing = counts.pop().unwrap_or(0);
    Tally {
        rows: counts.iter().sum::<u64>() + missing,
        counts,
        missing,
        ..Tally::default()
    }
}

/// How many of a day's rows fall into each of some bins; those that come twice fall where they fell before.
fn drawn(shares: &[f64], day: &Day, random: &mut Random) -> Vec<u64> {
    let mut counts = random.multinomial(day.rows, shares);
    for count in &mut counts {
        *count += random.binomial(*count, day.repeated);
    }
    counts
}

fn categories(days: &[Day], place: usize, random: &mut Random) -> (CountedFeature, Vec<Tally>) {
    let mut levels = 0;
    let shares: Vec<&Vec<f64>> = days
        .iter()
        .map(|day| match &day.features[place] {
            DayOfFeature::Category(shares) => shares,
            DayOfFeature::Number(_) => unreachable!("a feature keeps its kind"),
        })
        .inspect(|shares| levels = levels.max(shares.len()))
        .collect();
    // One level more than now, for new ones.
    let names: Vec<String> = (0..=levels).map(|level| format!("level {level}")).collect();
    let profiles: Vec<FeatureProfile> = shares
        .iter()
        .zip(days)
        .map(|(shares, day)| profile(shares, &names, day, random))
        .collect();
    let borrowed: Vec<&FeatureProfile> = profiles.iter().collect();
    let bins = Bins::of_profiles(&borrowed, None).expect("categories");
    let tallies = profiles
        .iter()
        .map(|day| bins.tally_of_reference(day).expect("categories"))
        .collect();
    (
        CountedFeature {
            bins,
            edges: Vec::new(),
            names,
        },
        tallies,
    )
}

fn profile(shares: &[f64], names: &[String], day: &Day, random: &mut Random) -> FeatureProfile {
    let mut profile = FeatureProfile::categorical();
    for (name, count) in names.iter().zip(drawn(shares, day, random)) {
        if count > 0 {
            profile.observe_category(name, count).expect("categories");
        }
    }
    profile
}
