//! What each choice buys: the shipped settings beside others, on the same streams.

use bellwether::stats::detector::Settings;

use crate::Run;
use crate::course::{Course, Runs};
use crate::figures::Report;
use crate::kinds::kinds;
use crate::quiet::{Case, measure};
use crate::streams::{Calm, thirty_features};

/// The table of the choices.
pub fn report(run: &Run, report: &mut Report) -> anyhow::Result<()> {
    let (days, runs) = if run.long {
        (20_000, 1_000)
    } else {
        (2_000, 100)
    };
    let shipped = &run.settings;
    let equal_shapes = shipped.shape_weights.iter().sum::<f64>() / 4.0;
    let choices = [
        ("as shipped", shipped.clone()),
        (
            "equal parts for windows and shapes",
            Settings {
                window_weights: [0.2; 5],
                shape_weights: [equal_shapes; 4],
                ..shipped.clone()
            },
        ),
        (
            "three quarters on one day",
            Settings {
                window_weights: [0.75, 0.1, 0.07, 0.05, 0.03],
                ..shipped.clone()
            },
        ),
        (
            "ends not watched",
            Settings {
                end_weight: 0.0,
                ..shipped.clone()
            },
        ),
        (
            "no gate of size",
            Settings {
                least_effect: 0.0,
                ..shipped.clone()
            },
        ),
        (
            "three times the significance",
            Settings {
                false_days_per_thousand: 3.0,
                ..shipped.clone()
            },
        ),
    ];
    for (name, settings) in choices {
        let quiet = |calm: Calm| {
            let case = Case::of(calm, 1_000, thirty_features());
            measure(&case, &settings, days, run.seed).per_thousand()
        };
        let kinds = kinds();
        let at = Runs {
            calm: Calm::IID,
            rows: 1_000,
            runs,
            settings: &settings,
            seed: run.seed,
        };
        let seen = at.delays(&kinds, Course::Sudden);
        let of = |kind: &str| {
            let place = kinds
                .iter()
                .position(|own| own.name == kind)
                .expect("a kind that is measured");
            &seen[place]
        };
        report.tell(
            format!("{name}: false episodes, days alike / differing; +0.2 σ on day 1; median days of +0.1 σ, 2 % to 3 %, leaving the range"),
            format!(
                "{:.2} / {:.2}; {:.2}; {}, {}, {}",
                quiet(Calm::IID),
                quiet(Calm::DIFFERING),
                of("normal +0.2 σ").within(1),
                of("normal +0.1 σ").median(),
                of("a rare one of two, 2 % to 3 %").median(),
                of("uniform +0.1 σ").median(),
            ),
        );
    }
    Ok(())
}
