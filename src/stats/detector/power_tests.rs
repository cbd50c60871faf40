//! Whether a change of the size that is promised to be seen is seen as often as promised, in made-up worlds with fixed seeds.

use super::scores::polynomials;
use super::tests::number_bins;
use super::*;
use crate::stats::random::uniform;

const ROWS: u64 = 500;
const RUNS: u64 = 150;

/// What a row can be: in one of the bins, missing, or, after them, of a new category.
struct World {
    bins: Bins,
    shares: Vec<f64>,
    draw: Box<dyn FnMut() -> f64>,
}

impl World {
    fn of(bins: Bins, of_bins: &[f64], seed: u64) -> Self {
        let shares = of_bins.iter().copied().chain([0.0, 0.0]).collect();
        Self {
            bins,
            shares,
            draw: Box::new(uniform(seed)),
        }
    }

    fn numbers(seed: u64) -> Self {
        Self::of(
            number_bins(),
            &[0.004, 0.2, 0.2, 0.192, 0.2, 0.2, 0.004],
            seed,
        )
    }

    fn categories(seed: u64) -> Self {
        let names = [("a", 14_000), ("b", 9_800), ("c", 4_200)];
        Self::of(
            Bins::of_categories([names; 28], true),
            &[0.5, 0.35, 0.15, 0.0],
            seed,
        )
    }

    fn day(&mut self) -> Tally {
        let mut counts = vec![0; self.shares.len()];
        for _ in 0..ROWS {
            let mut left = (self.draw)();
            let found = self.shares.iter().position(|share| {
                left -= share;
                left < 0.0
            });
            counts[found.unwrap_or(0)] += 1;
        }
        let unseen = counts.pop().expect("a cell of new categories");
        let missing = counts.pop().expect("a cell of missing values");
        let of_categories = matches!(self.bins, Bins::Categories(_));
        if of_categories {
            *counts.last_mut().expect("a bin of all others") += unseen;
        }
        Tally {
            rows: ROWS,
            missing,
            counts,
            unseen: of_categories.then_some(unseen),
            ..Tally::default()
        }
    }

    /// So many points more of this cell, which all others lose.
    fn raise(&mut self, cell: usize, by: f64) {
        let before = self.shares[cell];
        let others = (1.0 - before - by) / (1.0 - before);
        self.shares.iter_mut().for_each(|share| *share *= others);
        self.shares[cell] = before + by;
    }

    fn change(&mut self, smallest: &SmallestChange) {
        let rise = smallest.shares.map_or(0.0, |(from, to)| to - from);
        let last = self.shares.len() - 1;
        match &smallest.score {
            ScoreKind::Centre => {
                let bins = last - 1;
                let centre = &polynomials(&self.shares[..bins])[0];
                for (share, score) in self.shares.iter_mut().zip(centre) {
                    *share *= 1.0 + smallest.effect * score;
                }
            }
            ScoreKind::Category(_) => self.raise(1, rise),
            ScoreKind::Missing => self.raise(last - 1, rise),
            ScoreKind::Unseen => self.raise(last, rise),
            other => unreachable!("{other:?} is not changed here"),
        }
    }

    fn tallies(&mut self, count: usize) -> Vec<Tally> {
        (0..count).map(|_| self.day()).collect()
    }
}

/// Makes the world of a seed.
type Making = fn(u64) -> World;

fn observed(first: i64, tallies: &[Tally]) -> Vec<Observation<'_>> {
    let days = (first..).zip(tallies);
    days.map(|(bucket, tally)| Observation {
        bucket,
        holiday: false,
        tally,
    })
    .collect()
}

/// The share of references after which a change of the size they promise to see in so many days is seen on the last of these.
fn seen(score: &ScoreKind, days: usize, world: Making) -> f64 {
    let is_seen = |seed: &u64| {
        let mut world = world(*seed);
        let before = world.tallies(28);
        let feature = FeatureDays {
            name: "made up".to_owned(),
            role: Role::Input,
            bins: world.bins.clone(),
            days: observed(0, &before),
        };
        let reference = Reference::fit(Grain::Day, &[feature], &[], Settings::default());
        let reference = reference.expect("a reference");
        let promised = reference.smallest_changes(0).into_iter();
        let mut promised = promised.filter(|of| of.score == *score && of.days == days as f64);
        world.change(&promised.next().expect("a promise"));
        let after = world.tallies(days);
        let verdict = reference.evaluate(0, &observed(28, &after));
        verdict.expect("a verdict").status == Status::Candidate
    };
    (1..=RUNS).filter(is_seen).count() as f64 / RUNS as f64
}

#[test]
fn the_smallest_change_is_seen_in_nine_cases_of_ten() {
    let category = ScoreKind::Category("b".to_owned());
    let cases: [(ScoreKind, Making); 4] = [
        (ScoreKind::Centre, World::numbers),
        (category, World::categories),
        (ScoreKind::Unseen, World::categories),
        (ScoreKind::Missing, World::numbers),
    ];
    for (score, world) in cases {
        for days in [1, 7, 28] {
            // What is missing is not looked for in a single day, nor what is new in four weeks.
            let is_looked_for = match score {
                ScoreKind::Missing => days > 1,
                ScoreKind::Unseen => days < 28,
                _ => true,
            };
            if is_looked_for {
                let share = seen(&score, days, world);
                assert!(share > 0.84, "{score:?} in {days} days: {share}");
            }
        }
    }
}
