//! Random numbers of the distributions that streams are made of, from one seed.

use std::f64::consts::TAU;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub struct Random {
    source: StdRng,
    spare: Option<f64>,
}

impl Random {
    /// The same numbers for the same seed and number of the stream.
    pub fn of(seed: u64, stream: u64) -> Self {
        let mixed =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ stream.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        Self {
            source: StdRng::seed_from_u64(mixed),
            spare: None,
        }
    }

    /// From 0 to below 1.
    pub fn uniform(&mut self) -> f64 {
        self.source.random::<f64>()
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.source.random_range(0..limit)
    }

    /// By Box and Muller.
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        let (sine, cosine) = (TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    pub fn poisson(&mut self, mean: f64) -> f64 {
        let limit = (-mean).exp();
        let (mut product, mut count) = (self.uniform(), 0.0);
        while product > limit {
            product *= self.uniform();
            count += 1.0;
        }
        count
    }

    /// By inversion for few expected, by Hörmann's transformed rejection (BTRS, 1993) for many.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n == 0 || p <= 0.0 {
            return 0;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let trials = n as f64;
        if trials * p < 10.0 {
            return self.binomial_by_inversion(n, p);
        }
        let spread = (trials * p * (1.0 - p)).sqrt();
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * p;
        let c = trials * p + 0.5;
        let v_r = 0.92 - 4.2 / b;
        let alpha = (2.83 + 5.1 / b) * spread;
        let ln_odds = (p / (1.0 - p)).ln();
        let mode = ((trials + 1.0) * p).floor();
        let at_mode = ln_factorial(mode) + ln_factorial(trials - mode);
        loop {
            let u = self.uniform() - 0.5;
            let v = self.uniform();
            let us = 0.5 - u.abs();
            let k = ((2.0 * a / us + b) * u + c).floor();
            if !(0.0..=trials).contains(&k) {
                continue;
            }
            if us >= 0.07 && v <= v_r {
                return k as u64;
            }
            let v = (v * alpha / (a / (us * us) + b)).ln();
            if v <= at_mode - ln_factorial(k) - ln_factorial(trials - k) + (k - mode) * ln_odds {
                return k as u64;
            }
        }
    }

    fn binomial_by_inversion(&mut self, n: u64, p: f64) -> u64 {
        let odds = p / (1.0 - p);
        let mut share = (n as f64 * (-p).ln_1p()).exp();
        let mut left = self.uniform();
        for k in 0..n {
            if left < share {
                return k;
            }
            left -= share;
            share *= (n - k) as f64 / (k + 1) as f64 * odds;
        }
        n
    }

    /// How many of `n` rows fall into each of some bins.
    pub fn multinomial(&mut self, n: u64, shares: &[f64]) -> Vec<u64> {
        let mut rows = n;
        let mut left: f64 = shares.iter().sum();
        shares
            .iter()
            .map(|share| {
                let part = if left > 0.0 {
                    (share / left).clamp(0.0, 1.0)
                } else {
                    0.0
                };
                let count = self.binomial(rows, part);
                rows -= count;
                left -= share;
                count
            })
            .collect()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn ln_factorial(n: f64) -> f64 {
    statrs::function::gamma::ln_gamma(n + 1.0)
}
