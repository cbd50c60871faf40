//! The tests of this module against SciPy, down to p-values of 10⁻³⁰⁰.
//!
//! The values and the script that makes them are in `tests/data/scipy`. Logarithms of p-values may differ by
//! a millionth of themselves, and near 1, where the logarithm vanishes, by 10⁻⁹.

use serde_json::Value;

use super::samples::{self, Sample};
use super::tails::{PValue, chi_square_tail, normal_two_sided};
use super::{contingency, cramer_von_mises, kolmogorov};

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/scipy/golden.json");
    let text = std::fs::read_to_string(path).expect("the golden file");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

fn counts(value: &Value) -> Vec<u64> {
    let list = value.as_array().expect("a list");
    list.iter().map(|v| v.as_u64().expect("a count")).collect()
}

/// As `draw` of the script.
fn draw(seed: u64, size: u64, levels: f64, shift: f64, scale: f64) -> Sample {
    let mut state = seed;
    let values: Vec<f64> = (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1_u64 << 53) as f64;
            let value = uniform * uniform * scale;
            let rounded = if levels > 0.0 {
                (value * levels).floor() / levels
            } else {
                value
            };
            rounded + shift
        })
        .collect();
    Sample::of(&values)
}

#[derive(Default)]
struct Tally {
    compared: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn ln(&mut self, what: &str, ours: Option<PValue>, scipy: &Value) {
        let Some(scipy) = scipy.as_f64() else { return };
        self.compared += 1;
        let ours = ours.map_or(f64::NAN, PValue::ln);
        let allowed = 1e-6 * scipy.abs() + 1e-9;
        if ours.is_nan() || (ours - scipy).abs() > allowed {
            self.wrong
                .push(format!("{what}: ln p {ours} is not {scipy}"));
        }
    }

    fn value(&mut self, what: &str, ours: Option<f64>, scipy: &Value) {
        let Some(scipy) = scipy.as_f64() else { return };
        self.compared += 1;
        let ours = ours.unwrap_or(f64::NAN);
        if ours.is_nan() || (ours - scipy).abs() > 1e-9 * scipy.abs() + 1e-13 {
            self.wrong.push(format!("{what}: {ours} is not {scipy}"));
        }
    }

    #[track_caller]
    fn conclude(self, expected: usize) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        assert_eq!(
            self.compared, expected,
            "another number of values was compared"
        );
    }
}

#[test]
fn measures_of_samples_are_scipys() {
    let mut tally = Tally::default();
    for case in list(&golden(), "samples") {
        let [seed, n, m] =
            ["seed", "reference", "current"].map(|name| case[name].as_u64().expect("a count"));
        let [levels, shift, scale] = ["levels", "shift", "scale"].map(|name| number(&case[name]));
        let p = draw(seed, n, levels, 0.0, 1.0);
        let q = draw(seed + 1000, m, levels, shift, scale);
        let of = |measure: &str| format!("{measure} of sample {seed}");
        let ks = samples::kolmogorov_smirnov(&p, &q).expect("values");
        tally.value(&of("ks"), Some(ks), &case["ks"]);
        let p_value = kolmogorov::asymptotic(ks, n, m);
        tally.ln(&of("asymptotic ks"), p_value, &case["ks_asymptotic_ln_p"]);
        tally.ln(
            &of("exact ks"),
            kolmogorov::exact(ks, n, m),
            &case["ks_exact_ln_p"],
        );
        tally.value(
            &of("wasserstein"),
            samples::wasserstein(&p, &q),
            &case["wasserstein"],
        );
        tally.value(
            &of("energy"),
            samples::energy_distance(&p, &q),
            &case["energy"],
        );
        let cvm = samples::cramer_von_mises(&p, &q);
        tally.value(&of("cvm"), cvm.map(|test| test.statistic), &case["cvm"]);
        tally.ln(&of("cvm"), cvm.map(|test| test.p_value), &case["cvm_ln_p"]);
        let ad = samples::anderson_darling(&p, &q);
        tally.value(&of("ad"), ad.map(|test| test.statistic), &case["ad"]);
        tally.ln(&of("ad"), ad.map(|test| test.p_value), &case["ad_ln_p"]);
    }
    tally.conclude(188);
}

#[test]
fn tests_of_counts_are_scipys() {
    let mut tally = Tally::default();
    for (at, case) in list(&golden(), "tables").iter().enumerate() {
        let (p, q) = (counts(&case["reference"]), counts(&case["current"]));
        let (chi2, g) = (contingency::chi2(&p, &q), contingency::g_test(&p, &q));
        tally.value(
            &format!("chi2 {at}"),
            chi2.map(|t| t.statistic),
            &case["chi2"],
        );
        tally.value(
            &format!("dof {at}"),
            chi2.map(|t| t.degrees_of_freedom as f64),
            &case["dof"],
        );
        tally.ln(
            &format!("chi2 {at}"),
            chi2.map(|t| t.p_value),
            &case["chi2_ln_p"],
        );
        tally.value(&format!("g {at}"), g.map(|t| t.statistic), &case["g"]);
        tally.ln(&format!("g {at}"), g.map(|t| t.p_value), &case["g_ln_p"]);
        if let ([a, b], [c, d]) = (&p[..], &q[..]) {
            let fisher = contingency::fisher(*a, *b, *c, *d);
            tally.ln(&format!("fisher {at}"), Some(fisher), &case["fisher_ln_p"]);
        }
    }
    tally.conclude(81);
}

#[test]
fn tails_are_scipys() {
    let golden = golden();
    let mut tally = Tally::default();
    for case in list(&golden["tails"], "chi_square") {
        let (freedom, x) = (number(&case[0]), number(&case[1]));
        tally.ln(
            &format!("chi2({freedom}) {x}"),
            chi_square_tail(x, freedom),
            &case[2],
        );
    }
    for case in list(&golden["tails"], "normal_two_sided") {
        let z = number(&case[0]);
        tally.ln(&format!("normal {z}"), normal_two_sided(z), &case[1]);
    }
    for case in list(&golden["tails"], "cramer_von_mises") {
        let x = number(&case[0]);
        tally.ln(
            &format!("cvm {x}"),
            cramer_von_mises::limit_tail(x),
            &case[1],
        );
    }
    for case in list(&golden["tails"], "kolmogorov_smirnov") {
        let (n, m) = (number(&case[0]) as u64, number(&case[1]) as u64);
        let x = number(&case[2]);
        tally.ln(
            &format!("ks {n} {m} {x}"),
            kolmogorov::asymptotic(x, n, m),
            &case[3],
        );
    }
    tally.conclude(177);
}
