//! How each number of a tool is made, in words that are enough to make it again.

use super::{Mode, ParityResult};

impl ParityResult {
    /// Bins, base of the logarithm, smoothing and test; empty where there is no method.
    #[must_use]
    pub fn recipe(&self) -> &'static str {
        match self.mode {
            Mode::Evidently => evidently(self.method),
            Mode::Nannyml => nannyml(self.method),
            Mode::Azure => azure(self.method),
            Mode::Tfdv => tfdv(self.method),
            Mode::Sagemaker => sagemaker(self.method),
        }
    }
}

fn evidently(method: &str) -> &'static str {
    match method {
        "K-S p_value" => {
            "two-sided test on the values, exact up to 10,000 on either side, asymptotic beyond"
        }
        "chi-square p_value" => {
            "chi-square of the counts of values, the reference's scaled to the window's rows and taken as exact"
        }
        "Z-test p_value" => {
            "two-sided z-test of the share of one of two values, with the pooled share's error"
        }
        "Wasserstein distance (normed)" => {
            "on the values, over the reference's deviation, at least 0.001"
        }
        "Jensen-Shannon distance" => {
            "natural logarithms, root of the divergence; numbers over Sturges' bins of both samples together (value by value \
             where the reference has at most 20), categories one by one"
        }
        "PSI" => {
            "natural logarithms; a share of 0 becomes 0.0001, or a millionth of the smallest share of its side where that is at most \
             0.0001; bins as of the Jensen-Shannon distance"
        }
        "Hellinger distance" => {
            "root of 1 less the sum of the roots of the shares' products; numbers over Sturges' bins of the distinct values of both \
             samples, categories one by one"
        }
        _ => "",
    }
}

fn nannyml(method: &str) -> &'static str {
    match method {
        "jensen_shannon" => {
            "base 2, root of the divergence; Doane's bins of the reference and one of what is outside (integers of at most 50 values, \
             value by value), categories one by one and those new together"
        }
        "hellinger" => "over the bins of jensen_shannon",
        "kolmogorov_smirnov" => {
            "largest distance of the distribution functions, on the values below 10,000 reference rows, over 10,000 equal bins of the \
             reference's range from there on"
        }
        "wasserstein" => {
            "in the feature's unit, on the values below 10,000 reference rows, over 10,000 equal bins of the reference's range from \
             there on"
        }
        "l_infinity" => "the largest difference of the shares of a category",
        "chi2" => "chi-square of the two-sample table, with Yates' correction for two categories",
        _ => "",
    }
}

fn azure(method: &str) -> &'static str {
    match method {
        "NormalizedWassersteinDistance" => {
            "on the values, over the reference's deviation (n - 1), at least 0.001"
        }
        "JensenShannonDistance" => {
            "base 2, root of the divergence; numbers over ⌈log₂ n + 1⌉ equal bins of the range of both samples, n the smaller one's \
             values, categories one by one"
        }
        "PopulationStabilityIndex" => {
            "natural logarithms, one added to every count; bins as of JensenShannonDistance"
        }
        "TwoSampleKolmogorovSmirnovTest" => {
            "exact p-value on the values; none from 10,000 on either side on"
        }
        "PearsonsChiSquaredTest" => {
            "p-value of chi-square of the counts, the reference's scaled to the window's rows"
        }
        _ => "",
    }
}

fn tfdv(method: &str) -> &'static str {
    match method {
        "L_INFTY" => "the largest difference of the shares of a category",
        "JENSEN_SHANNON_DIVERGENCE" => {
            "base 2, no root; numbers over ten equal bins of each side's own range, cut at the edges of both, evenly inside a bin, \
             categories one by one"
        }
        _ => "",
    }
}

fn sagemaker(method: &str) -> &'static str {
    match method {
        "Simple" => "the largest distance of the distribution functions, on the values",
        "Robust" => "Simple less 1.8 times the root of (n + m) / nm, at least 0",
        "LInfinity (Simple)" => "the largest difference of the shares of a category",
        "LInfinity (Robust)" => {
            "LInfinity (Simple) less 1.8 times the root of (n + m) / nm, at least 0"
        }
        "ChiSquared" => {
            "p-value of chi-square over the reference's categories, scaled to the window's rows in them, small ones merged"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::parity::{CategoryCounts, NumberKind};

    #[test]
    fn every_number_of_every_tool_says_how_it_is_made() {
        let numbers: Vec<f64> = (0..200).map(|n| f64::from(n * 7 % 31)).collect();
        let categories: CategoryCounts = [("a".to_owned(), 40), ("b".to_owned(), 60)]
            .into_iter()
            .collect();
        for mode in Mode::all() {
            let mut results = mode.compare_numeric(&numbers, &numbers, NumberKind::Float);
            results.extend(mode.compare_categorical(&categories, &categories));
            for result in results {
                assert!(!result.recipe().is_empty(), "{mode:?} {}", result.method);
            }
        }
    }
}
