//! Several classes: each calibrated against the rest, and the probabilities made to sum to 1 again.

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::cells::{Cell, Cells};
use super::label_shift::LabelShift;
use super::{Estimated, Estimation, Trust, trust};
use crate::stats::quality::Undefined;

/// What the probabilities of each class have meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCalibration {
    classes: Vec<Calibration>,
}

impl ClassCalibration {
    /// Learns from rows of probabilities, one for each class in the same order, and the place of the true class. Rows with a
    /// NaN or of another length are left out.
    ///
    /// # Errors
    /// With fewer than two classes, and if some class has no labels of its own or of others.
    pub fn fit(rows: &[(Vec<f64>, usize)], classes: usize) -> Result<Self, Undefined> {
        if classes < 2 {
            return Err(Undefined::BadParameter);
        }
        let whole = |row: &&(Vec<f64>, usize)| is_whole(&row.0, classes);
        let fit = |class: usize| {
            let scored = rows.iter().filter(whole);
            let scored: Vec<(f64, bool)> = scored
                .map(|(row, label)| (row[class], *label == class))
                .collect();
            Calibration::fit(&scored, None).map_err(|_| Undefined::ClassWithoutLabels)
        };
        Ok(Self {
            classes: (0..classes).map(fit).collect::<Result<_, _>>()?,
        })
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// The calibrated probabilities of a row. Where every class is calibrated to 0 they are the row's own.
    #[must_use]
    pub fn probabilities(&self, row: &[f64]) -> Vec<f64> {
        let pairs = self.classes.iter().zip(row);
        let raw: Vec<f64> = pairs
            .map(|(class, score)| class.probability(*score))
            .collect();
        let sum: f64 = raw.iter().sum();
        if sum > 0.0 {
            raw.into_iter().map(|c| c / sum).collect()
        } else {
            let sum: f64 = row.iter().sum();
            row.iter().map(|p| p / sum).collect()
        }
    }
}

fn is_whole(row: &[f64], classes: usize) -> bool {
    row.len() == classes && row.iter().all(|p| p.is_finite()) && row.iter().sum::<f64>() > 0.0
}

/// Rows of a window in one bin of one class that are, or are not, predicted to be of it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct ClassCell {
    rows: u64,
    /// `Σ c` and `Σ c (1 − c)`.
    expected: f64,
    variance: f64,
}

/// What a window's rows give. Windows merge by adding; sums of numbers differ in their last digits with the order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassWindow {
    /// By class, by bin: predicted otherwise, and predicted to be of the class.
    cells: Vec<Vec<[ClassCell; 2]>>,
    /// Expected rows by true and by predicted class.
    confusion: Vec<f64>,
    rows: u64,
    off_support: u64,
}

impl ClassWindow {
    /// A window without rows.
    #[must_use]
    pub fn of(calibration: &ClassCalibration) -> Self {
        let classes = calibration.classes.iter();
        Self {
            cells: classes
                .map(|class| vec![[ClassCell::default(); 2]; class.bins().len()])
                .collect(),
            confusion: vec![0.0; calibration.classes().pow(2)],
            rows: 0,
            off_support: 0,
        }
    }

    /// Takes a prediction in: the probabilities and the place of the predicted class; with a shift of the classes as if nothing
    /// else had changed. One with a NaN, of another length or for an unknown class says nothing.
    pub fn push(
        &mut self,
        calibration: &ClassCalibration,
        row: &[f64],
        predicted: usize,
        shift: Option<&LabelShift>,
    ) {
        let classes = calibration.classes();
        if !is_whole(row, classes) || predicted >= classes {
            return;
        }
        let calibrated = calibration.probabilities(row);
        let probabilities = match shift {
            Some(shift) => shift.corrected(&calibrated),
            None => calibrated,
        };
        for (class, c) in probabilities.iter().enumerate() {
            let bin = calibration.classes[class].bins().of(row[class]);
            let cell = &mut self.cells[class][bin][usize::from(class == predicted)];
            cell.rows += 1;
            cell.expected += c;
            cell.variance += c * (1.0 - c);
            self.confusion[class * classes + predicted] += c;
            if class == predicted {
                self.off_support += u64::from(!calibration.classes[class].is_supported(bin));
            }
        }
        self.rows += 1;
    }

    /// Adds another window.
    ///
    /// # Errors
    /// If it was counted in other bins.
    pub fn merge(&mut self, other: &Self) -> Result<(), Undefined> {
        let shape = |window: &Self| window.cells.iter().map(Vec::len).collect::<Vec<_>>();
        if shape(self) != shape(other) {
            return Err(Undefined::BadParameter);
        }
        let pairs = self
            .cells
            .iter_mut()
            .flatten()
            .zip(other.cells.iter().flatten());
        for (own, more) in pairs.flat_map(|(own, more)| own.iter_mut().zip(more)) {
            own.rows += more.rows;
            own.expected += more.expected;
            own.variance += more.variance;
        }
        for (own, more) in self.confusion.iter_mut().zip(&other.confusion) {
            *own += more;
        }
        self.rows += other.rows;
        self.off_support += other.off_support;
        Ok(())
    }

    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }
}

/// What the labels of a window are expected to say.
pub struct ClassEstimates {
    cells: Vec<Cells>,
    confusion: Vec<f64>,
    rows: u64,
    trust: Trust,
}

impl ClassEstimates {
    /// From a window's sums. `age` is that of the calibration and `oldest` what is allowed, in seconds.
    ///
    /// # Errors
    /// If the window was counted in other bins.
    pub fn new(
        calibration: &ClassCalibration,
        window: &ClassWindow,
        (age, oldest): (f64, f64),
    ) -> Result<Self, Undefined> {
        let same = calibration.classes.iter().zip(&window.cells);
        if window.cells.len() != calibration.classes()
            || !same
                .clone()
                .all(|(class, cells)| class.bins().len() == cells.len())
        {
            return Err(Undefined::BadParameter);
        }
        let cells = same.map(|(class, bins)| {
            let of_bins = bins.iter().enumerate().flat_map(|(bin, sides)| {
                [false, true].map(|predicted| {
                    let cell = sides[usize::from(predicted)];
                    let rows = cell.rows as f64;
                    Cell {
                        bin,
                        predicted,
                        rows,
                        positives: cell.expected,
                        variance: if rows > 0.0 {
                            cell.variance / rows
                        } else {
                            0.0
                        },
                        reference: class.rows[bin] as f64,
                    }
                })
            });
            Cells::new(of_bins.collect())
        });
        let worst = calibration
            .classes
            .iter()
            .filter_map(Calibration::miscalibration);
        let worst = worst.fold(None, |most: Option<f64>, error| {
            Some(most.map_or(error, |most| most.max(error)))
        });
        let off = window.off_support as f64 / window.rows.max(1) as f64;
        Ok(Self {
            cells: cells.collect(),
            confusion: window.confusion.clone(),
            rows: window.rows,
            trust: trust(off, age, oldest, worst),
        })
    }

    /// What speaks against these estimates.
    #[must_use]
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Expected rows of a true class that are predicted to be of another, or the same.
    #[must_use]
    pub fn count(&self, label: usize, predicted: usize) -> f64 {
        self.confusion[label * self.cells.len() + predicted]
    }

    /// The share of predictions that will turn out right.
    ///
    /// # Errors
    /// Without rows.
    pub fn accuracy(&self) -> Estimation {
        if self.rows == 0 {
            return Err(Undefined::NoOutcomes);
        }
        let rows = self.rows as f64;
        let right: f64 = (0..self.cells.len())
            .map(|class| self.count(class, class))
            .sum();
        // Each row is predicted to be of one class, so the classes' parts are of different rows.
        let parts = self.cells.iter();
        let variance = parts
            .map(|cells| cells.variance(|_, cell| if cell.predicted { 1.0 / rows } else { 0.0 }));
        Ok(Estimated::of(right / rows, variance.sum(), (0.0, 1.0)))
    }

    /// The mean of the classes' precisions; a class that is never predicted counts as 0, as everywhere else.
    ///
    /// # Errors
    /// Without rows.
    pub fn precision(&self) -> Estimation {
        self.mean(Cells::precision)
    }

    /// The mean of the classes' recalls.
    ///
    /// # Errors
    /// Without rows.
    pub fn recall(&self) -> Estimation {
        self.mean(Cells::recall)
    }

    /// The mean of the classes' specificities.
    ///
    /// # Errors
    /// Without rows.
    pub fn specificity(&self) -> Estimation {
        self.mean(Cells::specificity)
    }

    /// The mean of the classes' F1.
    ///
    /// # Errors
    /// Without rows.
    pub fn f1(&self) -> Estimation {
        self.mean(Cells::f1)
    }

    /// The mean of the areas of each class against the rest.
    ///
    /// # Errors
    /// Without rows, and if some class is not to be expected: there is no area of none.
    pub fn roc_auc(&self) -> Estimation {
        for cells in &self.cells {
            cells.roc_auc()?;
        }
        self.mean(Cells::roc_auc)
    }

    /// The interval is as wide as if the classes' errors went fully together, so rather too wide.
    fn mean(&self, of: impl Fn(&Cells) -> Estimation) -> Estimation {
        if self.rows == 0 {
            return Err(Undefined::NoOutcomes);
        }
        let classes = self.cells.len() as f64;
        let parts: Vec<Estimated> = self
            .cells
            .iter()
            .filter_map(|cells| of(cells).ok())
            .collect();
        let mean = |part: fn(&Estimated) -> f64| parts.iter().map(part).sum::<f64>() / classes;
        Ok(Estimated {
            value: mean(|of| of.value),
            interval: (mean(|of| of.interval.0), mean(|of| of.interval.1)),
        })
    }
}
