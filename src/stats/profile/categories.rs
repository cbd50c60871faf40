//! Categories of a profile: exact counts of up to [`MAX_CATEGORIES`], a counted rest, a distinct count.
//!
//! When there are more categories than that, the ones kept are those with the smallest hash, and not the
//! first seen or the most frequent. Only this rule makes merging independent of order: a category among
//! the smallest of the whole is among the smallest of every part it occurs in, so it was never dropped
//! anywhere and its count is exact. It also makes two profiles comparable, because both keep the same
//! categories and put the same ones into the rest. And the kept hashes are by themselves a sketch of the
//! number of distinct categories (the k minimum values), so no other one is stored.

use std::collections::BTreeMap;

use super::MAX_CATEGORIES;

/// Longer texts are cut, with a hash in place of the tail, so that free text cannot fill the store.
const MAX_BYTES: usize = 200;

#[derive(Debug, Clone, Default)]
pub(super) struct Categories {
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) overflow: Option<Overflow>,
}

/// What is known of the categories that are not kept, from the moment there are too many.
#[derive(Debug, Clone)]
pub(super) struct Overflow {
    /// The greatest key kept: what is beyond it goes to the rest.
    last_kept: Key<String>,
    /// Rows with a category that is not kept.
    pub(super) rest: u64,
}

/// The order categories compete in: by hash, then by name.
type Key<T> = (u32, T);

fn key(category: &str) -> Key<&str> {
    (hash(category), category)
}

/// A CRC-32C with Murmur's final mixing, without which similar names have similar hashes. Changing it
/// makes stored profiles incomparable with new ones.
fn hash(category: &str) -> u32 {
    let mut hash = crc32c::crc32c(category.as_bytes());
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

impl Overflow {
    /// The overflow beside the categories kept; `None` when none are.
    pub(super) fn beside(kept: &BTreeMap<String, u64>, rest: u64) -> Option<Self> {
        let (hash, name) = kept.keys().map(|name| key(name)).max()?;
        Some(Self {
            last_kept: (hash, name.to_owned()),
            rest,
        })
    }

    fn drops(&self, category: &str) -> bool {
        let (hash, name) = &self.last_kept;
        key(category) > (*hash, name.as_str())
    }
}

impl Categories {
    pub(super) fn observe(&mut self, category: &str, rows: u64) {
        if rows == 0 {
            return;
        }
        if category.len() > MAX_BYTES {
            self.observe_short(&shortened(category), rows);
        } else {
            self.observe_short(category, rows);
        }
    }

    fn observe_short(&mut self, category: &str, rows: u64) {
        if let Some(count) = self.counts.get_mut(category) {
            *count += rows;
            return;
        }
        if let Some(overflow) = &mut self.overflow
            && overflow.drops(category)
        {
            overflow.rest += rows;
            return;
        }
        self.counts.insert(category.to_owned(), rows);
        self.limit(self.rest());
    }

    /// Counts the rows of a category under another name; returns whether it was kept by name.
    pub(super) fn rename(&mut self, category: &str, name: &str) -> bool {
        let cut = (category.len() > MAX_BYTES).then(|| shortened(category));
        let Some(rows) = self.counts.remove(cut.as_deref().unwrap_or(category)) else {
            return false;
        };
        if let Some(overflow) = &mut self.overflow {
            // It may have been the last one kept, whose name says what was dropped.
            let rest = overflow.rest;
            self.overflow = Overflow::beside(&self.counts, rest);
        }
        self.observe_short(name, rows);
        true
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (category, count) in &other.counts {
            match self.counts.get_mut(category) {
                Some(mine) => *mine += count,
                None => drop(self.counts.insert(category.clone(), *count)),
            }
        }
        self.limit(self.rest() + other.rest());
    }

    /// Moves the greatest keys over the limit to the rest. A category that one side of a merge kept and the
    /// other had dropped is always among them: the other side's kept ones alone fill the limit before it.
    fn limit(&mut self, mut rest: u64) {
        if self.counts.len() > MAX_CATEGORIES {
            let mut keys: Vec<Key<&str>> = self.counts.keys().map(|name| key(name)).collect();
            let (_, first_dropped, _) = keys.select_nth_unstable(MAX_CATEGORIES);
            let (hash, name) = (first_dropped.0, first_dropped.1.to_owned());
            self.counts.retain(|category, count| {
                let kept = key(category) < (hash, name.as_str());
                rest += if kept { 0 } else { *count };
                kept
            });
        }
        if rest > 0 {
            self.overflow = Overflow::beside(&self.counts, rest);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
    }

    /// The rows with a category; `None` when they are in the rest, or would be.
    pub(super) fn count(&self, category: &str) -> Option<u64> {
        match self.counts.get(category) {
            Some(count) => Some(*count),
            None if self.overflow.as_ref().is_some_and(|o| o.drops(category)) => None,
            None => Some(0),
        }
    }

    pub(super) fn rest(&self) -> u64 {
        self.overflow.as_ref().map_or(0, |overflow| overflow.rest)
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.rest()
    }

    /// Of the rows whose category is kept by name, those that repeat the category of an earlier one, and all of them. The kept ones
    /// are a sample by content, so the share is that among all rows but for chance.
    pub(super) fn repeated(&self) -> (u64, u64) {
        let rows: u64 = self.counts.values().sum();
        (rows - self.counts.len() as u64, rows)
    }

    /// Exact without an overflow. With one, `k − 1` over the share of the hash's range that the `k` kept
    /// categories take (Bar-Yossef and others 2002).
    pub(super) fn distinct(&self) -> f64 {
        match &self.overflow {
            None => self.counts.len() as f64,
            Some(overflow) => {
                let taken = (f64::from(overflow.last_kept.0) + 1.0) / 2.0_f64.powi(32);
                (self.counts.len() - 1) as f64 / taken
            }
        }
    }
}

/// Lays the counts of two sides side by side; see [`super::FeatureProfile::paired_categories`].
pub(super) fn paired<'a>(
    reference: &'a Categories,
    current: &'a Categories,
) -> Vec<(Option<&'a str>, u64, u64)> {
    let mut pairs: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (name, count) in reference.iter() {
        pairs.entry(name).or_default().0 = count;
    }
    for (name, count) in current.iter() {
        pairs.entry(name).or_default().1 = count;
    }
    let dropped_by_either = |name: &str| {
        [reference, current]
            .iter()
            .filter_map(|side| side.overflow.as_ref())
            .any(|o| o.drops(name))
    };
    let mut rest = (reference.rest(), current.rest());
    let mut named = Vec::with_capacity(pairs.len() + 1);
    for (name, (p, q)) in pairs {
        if dropped_by_either(name) {
            rest = (rest.0 + p, rest.1 + q);
        } else {
            named.push((Some(name), p, q));
        }
    }
    if rest != (0, 0) {
        named.push((None, rest.0, rest.1));
    }
    named
}

fn shortened(category: &str) -> String {
    let cut = category.floor_char_boundary(MAX_BYTES - 16);
    format!(
        "{}… #{:08x}",
        &category[..cut],
        crc32c::crc32c(category.as_bytes())
    )
}
