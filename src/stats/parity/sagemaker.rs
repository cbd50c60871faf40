//! SageMaker Model Monitor: the distribution constraints of its baseline.
//!
//! Numbers by the comparison named Simple, the largest distance of the two empirical distribution functions,
//! categories by LInfinity, both with the comparison threshold 0.1; a value above it is a violation. The tool
//! works from sketches (KLL), we from the values. Its other two choices, Robust and ChiSquared, are not published
//! exactly enough to be reproduced and are left out.

use super::{
    CategoryCounts, Mode, ParityResult, Threshold, emptiness, paired, shares, with_choice,
};
use crate::stats::distance;
use crate::stats::samples::{self, Sample};

const SIMPLE: &str = "Simple";
const L_INFINITY: &str = "LInfinity";
const DEFAULT: Option<Threshold> = Some(Threshold::Above(0.1));

pub(super) fn numeric(reference: &[f64], current: &[f64]) -> Vec<ParityResult> {
    let (reference, current) = (Sample::of(reference), Sample::of(current));
    if reference.is_empty() {
        return ParityResult::undefined(Mode::Sagemaker, super::NO_REFERENCE);
    }
    if current.is_empty() {
        return ParityResult::undefined(Mode::Sagemaker, super::NO_CURRENT);
    }
    let value = samples::kolmogorov_smirnov(&reference, &current);
    let result = ParityResult::judged(Mode::Sagemaker, SIMPLE, value, DEFAULT);
    with_choice(vec![result], SIMPLE)
}

pub(super) fn categorical(
    reference: &CategoryCounts,
    current: &CategoryCounts,
) -> Vec<ParityResult> {
    let (p, q) = paired(reference, current);
    if let Some(reason) = emptiness(&p, &q) {
        return ParityResult::undefined(Mode::Sagemaker, reason);
    }
    let value = distance::l_infinity(&shares(&p), &shares(&q));
    let result = ParityResult::judged(Mode::Sagemaker, L_INFINITY, value, DEFAULT);
    with_choice(vec![result], L_INFINITY)
}
