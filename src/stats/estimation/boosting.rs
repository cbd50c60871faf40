//! Boosting of regression trees on histograms (Friedman 2001; the histograms as in LightGBM, Ke and others 2017).
//!
//! Small on purpose: squared loss, numbers and categories in at most 255 bins, trees grown leaf by leaf. The same rows and
//! options give the same trees on every machine, because nothing depends on threads, time or memory; a crate that did as much
//! was not found (`docs/decisions/0007-own-boosting.md`). Memory is a byte for each value and a few numbers for each row.

use serde::{Deserialize, Serialize};

/// One feature of the rows, all of the same length.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// NaN is a missing value.
    Numbers(Vec<f64>),
    /// Codes from 0; `u32::MAX` is a missing value.
    Categories(Vec<u32>),
}

impl Column {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Categories(codes) => codes.len(),
        }
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How trees are grown.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BoostingOptions {
    pub trees: usize,
    pub leaves: usize,
    /// What each tree contributes, above 0 and at most 1.
    pub rate: f64,
    /// Rows that a leaf has at least.
    pub rows_per_leaf: usize,
    /// Rows by which a leaf's mean is drawn to zero.
    pub shrinkage: f64,
    /// The share of rows and of columns that each tree sees, above 0 and at most 1.
    pub row_share: f64,
    pub column_share: f64,
    pub seed: u64,
}

impl Default for BoostingOptions {
    fn default() -> Self {
        Self {
            trees: 200,
            leaves: 15,
            rate: 0.05,
            rows_per_leaf: 100,
            shrinkage: 20.0,
            row_share: 0.7,
            column_share: 0.7,
            seed: 1,
        }
    }
}

/// The bins of a column: 0 is for missing values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Binning {
    Numbers {
        edges: Vec<f64>,
    },
    /// The bin of each code, by what the target was; codes that were not seen count as missing.
    Categories {
        bins: Vec<u8>,
    },
}

const MOST_EDGES: usize = 253;
/// A category is drawn to the mean of all as if it had so many rows of that.
const CATEGORY_PRIOR: f64 = 20.0;

impl Binning {
    fn fit(column: &Column, target: &[f64]) -> Self {
        match column {
            Column::Numbers(values) => {
                let mut sorted: Vec<f64> = values
                    .iter()
                    .copied()
                    .filter(|value| value.is_finite())
                    .collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let mut edges: Vec<f64> = (1..=MOST_EDGES)
                    .filter_map(|i| sorted.get(i * sorted.len() / (MOST_EDGES + 1)).copied())
                    .collect();
                edges.dedup();
                Self::Numbers { edges }
            }
            Column::Categories(codes) => {
                let mean = target.iter().sum::<f64>() / target.len().max(1) as f64;
                let known = codes.iter().filter(|code| **code != u32::MAX);
                let size = known.max().map_or(0, |code| *code as usize + 1);
                let mut sums = vec![(0.0, 0.0); size];
                for (code, value) in codes.iter().zip(target) {
                    if let Some(sum) = sums.get_mut(*code as usize) {
                        sum.0 += value;
                        sum.1 += 1.0;
                    }
                }
                let drawn = |(sum, rows): (f64, f64)| {
                    (sum + CATEGORY_PRIOR * mean) / (rows + CATEGORY_PRIOR)
                };
                let mut order: Vec<usize> = (0..size).filter(|code| sums[*code].1 > 0.0).collect();
                order.sort_by(|a, b| drawn(sums[*a]).total_cmp(&drawn(sums[*b])).then(a.cmp(b)));
                let mut bins = vec![0; size];
                for (rank, code) in order.iter().enumerate() {
                    bins[*code] = (1 + rank * 254 / order.len().max(254)) as u8;
                }
                Self::Categories { bins }
            }
        }
    }

    fn bins(&self, column: &Column) -> Vec<u8> {
        match (self, column) {
            (Self::Numbers { edges }, Column::Numbers(values)) => {
                let of = |value: &f64| {
                    if value.is_nan() {
                        0
                    } else {
                        1 + edges.partition_point(|edge| edge < value) as u8
                    }
                };
                values.iter().map(of).collect()
            }
            (Self::Categories { bins }, Column::Categories(codes)) => {
                let of = |code: &u32| bins.get(*code as usize).copied().unwrap_or(0);
                codes.iter().map(of).collect()
            }
            // A column that has changed its kind has no value that is known.
            (_, other) => vec![0; other.len()],
        }
    }
}

/// A node: a leaf's value, or where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Node {
    Leaf(f64),
    /// Rows whose bin is at most `bin` go to `low`, and those without a value where `missing_low` says.
    Split {
        column: u32,
        bin: u8,
        missing_low: bool,
        low: u32,
        high: u32,
    },
}

/// A fitted sum of trees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boosting {
    version: u32,
    binnings: Vec<Binning>,
    mean: f64,
    trees: Vec<Vec<Node>>,
}

const VERSION: u32 = 1;

impl Boosting {
    /// Fits the target by the columns. `None` without rows, or if columns and target differ in length, or for a target that is
    /// not finite.
    #[must_use]
    pub fn fit(columns: &[Column], target: &[f64], options: &BoostingOptions) -> Option<Self> {
        let rows = target.len();
        let sound = columns.iter().all(|column| column.len() == rows);
        if rows == 0 || !sound || !target.iter().all(|value| value.is_finite()) {
            return None;
        }
        let binnings: Vec<Binning> = columns
            .iter()
            .map(|column| Binning::fit(column, target))
            .collect();
        let pairs = binnings.iter().zip(columns);
        let bins: Vec<Vec<u8>> = pairs
            .map(|(binning, column)| binning.bins(column))
            .collect();
        let mean = target.iter().sum::<f64>() / rows as f64;
        let mut residuals: Vec<f64> = target.iter().map(|value| value - mean).collect();
        let mut random = SplitMix(options.seed);
        let mut trees = Vec::with_capacity(options.trees);
        for _ in 0..options.trees {
            let sample = random.sample(rows, options.row_share);
            let columns = random.sample(bins.len(), options.column_share);
            let tree = Grower::grow(&bins, &residuals, sample, &columns, options);
            for (row, residual) in residuals.iter_mut().enumerate() {
                *residual -= value_of(&tree, |column| bins[column][row]);
            }
            trees.push(tree);
        }
        Some(Self {
            version: VERSION,
            binnings,
            mean,
            trees,
        })
    }

    /// What the target is expected to be for each row, by so many of the trees. Rows are those of the columns, which have to be
    /// of the same kind and in the same order.
    #[must_use]
    pub fn predict(&self, columns: &[Column], trees: usize) -> Vec<f64> {
        let pairs = self.binnings.iter().zip(columns);
        let bins: Vec<Vec<u8>> = pairs
            .map(|(binning, column)| binning.bins(column))
            .collect();
        let rows = columns.first().map_or(0, Column::len);
        let trees = &self.trees[..trees.min(self.trees.len())];
        let of = |row: usize| {
            let parts = trees
                .iter()
                .map(|tree| value_of(tree, |column| bins[column][row]));
            self.mean + parts.sum::<f64>()
        };
        (0..rows).map(of).collect()
    }

    /// The number of trees.
    #[must_use]
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Keeps only the first trees.
    pub fn truncate(&mut self, trees: usize) {
        self.trees.truncate(trees);
    }

    /// Whether this version of the program wrote what was read back.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.version == VERSION
    }
}

fn value_of(tree: &[Node], bin_of: impl Fn(usize) -> u8) -> f64 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Leaf(value) => return value,
            Node::Split {
                column,
                bin,
                missing_low,
                low,
                high,
            } => {
                let own = bin_of(column as usize);
                let goes_low = if own == 0 { missing_low } else { own <= bin };
                at = if goes_low { low } else { high } as usize;
            }
        }
    }
}

/// Sum of residuals and number of rows.
type Bucket = (f64, f64);

/// A leaf that may be split further.
struct Open {
    node: usize,
    rows: Vec<u32>,
    histograms: Vec<[Bucket; 256]>,
    best: Option<Split>,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    column: usize,
    bin: u8,
    missing_low: bool,
}

struct Grower<'g> {
    bins: &'g [Vec<u8>],
    residuals: &'g [f64],
    columns: &'g [u32],
    options: &'g BoostingOptions,
}

impl Grower<'_> {
    fn grow(
        bins: &[Vec<u8>],
        residuals: &[f64],
        sample: Vec<u32>,
        columns: &[u32],
        options: &BoostingOptions,
    ) -> Vec<Node> {
        let grower = Grower {
            bins,
            residuals,
            columns,
            options,
        };
        let mut tree = vec![Node::Leaf(0.0)];
        let histograms = grower.histograms(&sample);
        let mut open = vec![grower.leaf(&mut tree, 0, sample, histograms)];
        while open.len() < options.leaves {
            let best = (open.iter().enumerate())
                .filter_map(|(at, leaf)| Some((at, leaf.best?.gain)))
                .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            let Some((at, _)) = best else { break };
            let leaf = open.swap_remove(at);
            open.extend(grower.split(&mut tree, leaf));
        }
        tree
    }

    fn leaf(
        &self,
        tree: &mut [Node],
        node: usize,
        rows: Vec<u32>,
        histograms: Vec<[Bucket; 256]>,
    ) -> Open {
        let sum: f64 = rows.iter().map(|row| self.residuals[*row as usize]).sum();
        let mean = sum / (rows.len() as f64 + self.options.shrinkage);
        tree[node] = Node::Leaf(self.options.rate * mean);
        let best = self.best_split(&histograms, (sum, rows.len() as f64));
        Open {
            node,
            rows,
            histograms,
            best,
        }
    }

    fn histograms(&self, rows: &[u32]) -> Vec<[Bucket; 256]> {
        let of = |column: &u32| {
            let bins = &self.bins[*column as usize];
            let mut histogram = [(0.0, 0.0); 256];
            for row in rows {
                let bucket = &mut histogram[usize::from(bins[*row as usize])];
                bucket.0 += self.residuals[*row as usize];
                bucket.1 += 1.0;
            }
            histogram
        };
        self.columns.iter().map(of).collect()
    }

    fn best_split(&self, histograms: &[[Bucket; 256]], total: Bucket) -> Option<Split> {
        let score = |(sum, rows): Bucket| sum * sum / (rows + self.options.shrinkage);
        let fewest = self.options.rows_per_leaf as f64;
        let mut best: Option<Split> = None;
        for (histogram, column) in histograms.iter().zip(self.columns) {
            let missing = histogram[0];
            let mut below: Bucket = (0.0, 0.0);
            for bin in 1..=255_u8 {
                let bucket = histogram[usize::from(bin)];
                if bucket.1 == 0.0 {
                    continue;
                }
                below = (below.0 + bucket.0, below.1 + bucket.1);
                for missing_low in [false, true] {
                    let low = if missing_low {
                        (below.0 + missing.0, below.1 + missing.1)
                    } else {
                        below
                    };
                    let high = (total.0 - low.0, total.1 - low.1);
                    if low.1 < fewest || high.1 < fewest {
                        continue;
                    }
                    let gain = score(low) + score(high) - score(total);
                    if gain > best.map_or(1e-9, |best| best.gain) {
                        best = Some(Split {
                            gain,
                            column: *column as usize,
                            bin,
                            missing_low,
                        });
                    }
                }
            }
        }
        best
    }

    /// The smaller side is counted; the other is what is left of both.
    fn split(&self, tree: &mut Vec<Node>, leaf: Open) -> Vec<Open> {
        let Some(split) = leaf.best else {
            return vec![leaf];
        };
        let bins = &self.bins[split.column];
        let (low, high): (Vec<u32>, Vec<u32>) = leaf.rows.into_iter().partition(|row| {
            let own = bins[*row as usize];
            if own == 0 {
                split.missing_low
            } else {
                own <= split.bin
            }
        });
        let small = self.histograms(if low.len() <= high.len() { &low } else { &high });
        let mut large = leaf.histograms;
        for (bucket, taken) in large.iter_mut().flatten().zip(small.iter().flatten()) {
            *bucket = (bucket.0 - taken.0, bucket.1 - taken.1);
        }
        let (of_low, of_high) = if low.len() <= high.len() {
            (small, large)
        } else {
            (large, small)
        };
        let first = tree.len();
        tree[leaf.node] = Node::Split {
            column: split.column as u32,
            bin: split.bin,
            missing_low: split.missing_low,
            low: first as u32,
            high: first as u32 + 1,
        };
        tree.extend([Node::Leaf(0.0); 2]);
        vec![
            self.leaf(tree, first, low, of_low),
            self.leaf(tree, first + 1, high, of_high),
        ]
    }
}

/// Steele, Lea and Flood (2014): enough to draw samples, and the same everywhere.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Places below `size`, each with that probability and in order; all of them if none is drawn.
    fn sample(&mut self, size: usize, share: f64) -> Vec<u32> {
        let limit = share * (1_u64 << 53) as f64;
        let drawn: Vec<u32> = (0..size as u32)
            .filter(|_| ((self.next() >> 11) as f64) < limit)
            .collect();
        if drawn.is_empty() {
            (0..size as u32).collect()
        } else {
            drawn
        }
    }
}
