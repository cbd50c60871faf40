//! Outcomes of a ranking: per query a list of items with scores, and how relevant each turned out to be.

use super::intervals::{mean, share, sum};
use super::{Quality, Undefined};

/// Ranked lists, measured at the first `cutoff` places.
///
/// An item is relevant when its relevance is above zero. A query without any relevant item has no right order:
/// it is counted and left out. Items with equal scores have no order either: the discounted gain takes the mean
/// over all orders, as scikit-learn does; the other measures place relevant items last among equals, so that
/// equal scores for everything do not pass for knowledge.
#[derive(Debug, Clone, PartialEq)]
pub struct RankingOutcomes {
    cutoff: usize,
    queries: Vec<Query>,
    without_relevant: u64,
    left_out: u64,
}

/// The measures of one query.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Query {
    ndcg: f64,
    average_precision: f64,
    reciprocal_rank: f64,
    hit: bool,
}

/// What is measured of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RankingMeasure {
    /// Discounted gain over that of the best order, with the relevance as gain and `1/log₂(place + 1)` as
    /// discount: 0 to 1. Järvelin and Kekäläinen (2002).
    Ndcg,
    /// Mean of the precisions at the places of the relevant items up to the cutoff, over as many of those as
    /// there are or fit: 0 to 1.
    MeanAveragePrecision,
    /// Reciprocal of the first relevant item's place, 0 beyond the cutoff: 0 to 1.
    MeanReciprocalRank,
    /// Share of queries with a relevant item up to the cutoff: 0 to 1.
    HitRate,
}

impl RankingOutcomes {
    /// No outcomes yet, to be measured at the first `cutoff` places.
    #[must_use]
    pub fn new(cutoff: usize) -> Self {
        Self {
            cutoff,
            queries: Vec::new(),
            without_relevant: 0,
            left_out: 0,
        }
    }

    /// Adds a query: score and relevance of every item. A query with a score that is NaN, or a relevance that
    /// is not a finite number from zero up, is counted and left out.
    pub fn push(&mut self, items: &[(f64, f64)]) {
        let usable = |(score, relevance): &(f64, f64)| {
            !score.is_nan() && relevance.is_finite() && *relevance >= 0.0
        };
        if !items.iter().all(usable) {
            self.left_out += 1;
        } else if items.iter().all(|(_, relevance)| *relevance == 0.0) {
            self.without_relevant += 1;
        } else {
            self.queries.push(Query::of(items, self.cutoff));
        }
    }

    /// Adds the queries of another accumulator.
    ///
    /// # Errors
    /// If it has another cutoff.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        if self.cutoff != other.cutoff {
            return Err(Undefined::BadParameter);
        }
        self.queries.extend_from_slice(&other.queries);
        self.without_relevant += other.without_relevant;
        self.left_out += other.left_out;
        Ok(())
    }

    /// Queries that were left out because none of their items is relevant.
    #[must_use]
    pub fn without_relevant(&self) -> u64 {
        self.without_relevant
    }

    /// Queries that were left out because of a score or relevance that is no number to go by.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The mean over the queries: 0 to 1, less is worse. The interval is Wilson's for the hit rate and the normal
    /// approximation for the others.
    ///
    /// # Errors
    /// Without a query that has a relevant item, or for a cutoff of 0.
    pub fn measure(&self, measure: RankingMeasure) -> Quality {
        if self.cutoff == 0 {
            return Err(Undefined::BadParameter);
        }
        if self.queries.is_empty() {
            return Err(match (self.without_relevant, self.left_out) {
                (0, 0) => Undefined::NoOutcomes,
                (0, _) => Undefined::NoFiniteOutcomes,
                (..) => Undefined::NoRelevantItems,
            });
        }
        if measure == RankingMeasure::HitRate {
            let hits = self.queries.iter().filter(|query| query.hit).count() as u64;
            return share(hits, self.queries.len() as u64, Undefined::NoOutcomes);
        }
        let value = |query: &Query| match measure {
            RankingMeasure::Ndcg => query.ndcg,
            RankingMeasure::MeanAveragePrecision => query.average_precision,
            RankingMeasure::MeanReciprocalRank => query.reciprocal_rank,
            RankingMeasure::HitRate => f64::from(u8::from(query.hit)),
        };
        mean(
            &mut self.queries.iter().map(value).collect::<Vec<_>>(),
            (0.0, 1.0),
        )
    }
}

impl Query {
    fn of(items: &[(f64, f64)], cutoff: usize) -> Self {
        let mut ranked: Vec<(f64, f64)> = items.iter().map(|(s, r)| (s + 0.0, *r)).collect();
        // Best first; among equals the relevant ones last.
        ranked.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let relevant = items
            .iter()
            .filter(|(_, relevance)| *relevance > 0.0)
            .count();
        let mut found = 0;
        let mut precisions = Vec::new();
        let mut first = None;
        for (place, _) in ranked
            .iter()
            .take(cutoff)
            .enumerate()
            .filter(|(_, (_, r))| *r > 0.0)
        {
            found += 1;
            precisions.push(f64::from(found) / (place + 1) as f64);
            first = first.or(Some(place));
        }
        Self {
            ndcg: ndcg(&ranked, cutoff),
            average_precision: sum(precisions) / relevant.min(cutoff).max(1) as f64,
            reciprocal_rank: first.map_or(0.0, |place| 1.0 / (place + 1) as f64),
            hit: first.is_some(),
        }
    }
}

/// The normalised discounted gain of items sorted by score; some relevance is above zero.
fn ndcg(ranked: &[(f64, f64)], cutoff: usize) -> f64 {
    let discount = |place: usize| {
        if place < cutoff {
            1.0 / ((place + 2) as f64).log2()
        } else {
            0.0
        }
    };
    // Relative to the most relevant item, so that sums stay numbers.
    let most = ranked.iter().map(|(_, r)| *r).fold(0.0, f64::max);
    let mut place = 0;
    let mut gains = Vec::new();
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let gain = sum(tied.iter().map(|(_, r)| r / most)) / tied.len() as f64;
        gains.push(gain * sum((place..place + tied.len()).map(discount)));
        place += tied.len();
    }
    let mut ideal: Vec<f64> = ranked.iter().map(|(_, r)| r / most).collect();
    ideal.sort_unstable_by(|a, b| b.total_cmp(a));
    let best = sum(ideal
        .iter()
        .enumerate()
        .map(|(place, gain)| gain * discount(place)));
    if best > 0.0 {
        (sum(gains) / best).min(1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ranking: &RankingOutcomes, measure: RankingMeasure) -> f64 {
        ranking.measure(measure).expect("relevant items").value
    }

    #[test]
    fn a_known_list_has_known_measures() {
        let mut ranking = RankingOutcomes::new(3);
        ranking.push(&[(0.9, 0.0), (0.8, 1.0), (0.7, 0.0), (0.6, 1.0)]);
        assert_eq!(value(&ranking, RankingMeasure::MeanReciprocalRank), 0.5);
        assert_eq!(value(&ranking, RankingMeasure::MeanAveragePrecision), 0.25);
        assert_eq!(value(&ranking, RankingMeasure::HitRate), 1.0);
        let ideal = 1.0 + 1.0 / 3.0_f64.log2();
        let expected = 1.0 / 3.0_f64.log2() / ideal;
        assert!((value(&ranking, RankingMeasure::Ndcg) - expected).abs() < 1e-12);
    }

    #[test]
    fn equal_scores_are_no_knowledge() {
        let mut ranking = RankingOutcomes::new(1);
        ranking.push(&[(0.5, 1.0), (0.5, 0.0)]);
        assert_eq!(value(&ranking, RankingMeasure::HitRate), 0.0);
        assert_eq!(value(&ranking, RankingMeasure::Ndcg), 0.5);
    }

    #[test]
    fn queries_that_cannot_be_judged_are_counted_and_left_out() {
        let mut ranking = RankingOutcomes::new(5);
        assert_eq!(
            ranking.measure(RankingMeasure::Ndcg),
            Err(Undefined::NoOutcomes)
        );
        ranking.push(&[(f64::NAN, 1.0)]);
        ranking.push(&[(1.0, -1.0)]);
        assert_eq!(
            ranking.measure(RankingMeasure::Ndcg),
            Err(Undefined::NoFiniteOutcomes)
        );
        ranking.push(&[(1.0, 0.0)]);
        ranking.push(&[]);
        assert_eq!(
            ranking.measure(RankingMeasure::HitRate),
            Err(Undefined::NoRelevantItems)
        );
        assert_eq!((ranking.left_out(), ranking.without_relevant()), (2, 2));
        ranking.push(&[(f64::INFINITY, 1e308), (1.0, 1e308)]);
        assert_eq!(value(&ranking, RankingMeasure::Ndcg), 1.0);
        assert_eq!(
            RankingOutcomes::new(0).measure(RankingMeasure::Ndcg),
            Err(Undefined::BadParameter)
        );
    }

    #[test]
    fn parts_merge_to_exactly_the_whole() {
        let lists: Vec<Vec<(f64, f64)>> = (0..30)
            .map(|q| {
                (0..8)
                    .map(|i| (f64::from(i * q % 7), f64::from((i + q) % 3)))
                    .collect()
            })
            .collect();
        let of = |lists: &[Vec<(f64, f64)>]| {
            let mut ranking = RankingOutcomes::new(4);
            lists.iter().for_each(|list| ranking.push(list));
            ranking
        };
        let mut merged = of(&lists[11..]);
        merged.merge(&of(&lists[..11])).expect("the same cutoff");
        for measure in [
            RankingMeasure::Ndcg,
            RankingMeasure::MeanAveragePrecision,
            RankingMeasure::MeanReciprocalRank,
            RankingMeasure::HitRate,
        ] {
            assert_eq!(merged.measure(measure), of(&lists).measure(measure));
        }
        assert_eq!(
            merged.merge(&RankingOutcomes::new(5)),
            Err(Undefined::BadParameter)
        );
    }
}
