//! Tests of profiles: what they count, that merging has no order, and that bytes are not trusted.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn numeric(values: &[f64], grid: Option<&Grid>) -> FeatureProfile {
    let mut profile = FeatureProfile::numeric(grid);
    for value in values {
        profile.observe_numbers(&[*value], grid).expect("same grid");
    }
    profile
}

fn categorical(names: impl IntoIterator<Item = impl AsRef<str>>) -> FeatureProfile {
    let mut profile = FeatureProfile::categorical();
    for name in names {
        profile
            .observe_category(name.as_ref(), 1)
            .expect("categorical");
    }
    profile
}

fn merged(parts: &[&FeatureProfile]) -> FeatureProfile {
    let mut whole = parts[0].clone();
    for part in &parts[1..] {
        whole.merge(part).expect("same kind and grid");
    }
    whole
}

/// Everything in a profile that must not depend on order.
#[derive(Debug, PartialEq)]
struct Integers {
    counts: Counts,
    cells: Option<Vec<u64>>,
    categories: Vec<(String, u64)>,
    rest: u64,
    valid: u64,
}

fn integers(profile: &FeatureProfile) -> Integers {
    let categories = profile.categories();
    Integers {
        counts: *profile.counts(),
        cells: profile.cells().map(<[u64]>::to_vec),
        categories: categories
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        rest: profile.rest(),
        valid: profile.valid(),
    }
}

#[test]
fn empty_profile_knows_nothing_and_says_so() {
    let profile = FeatureProfile::numeric(None);
    assert_eq!(profile.counts(), &Counts::default());
    assert_eq!((profile.valid(), profile.missing_share()), (0, None));
    assert_eq!(
        (profile.minimum(), profile.maximum(), profile.mean()),
        (None, None, None)
    );
    assert_eq!(
        (
            profile.standard_deviation(),
            profile.quantile(0.5),
            profile.cells()
        ),
        (None, None, None)
    );
    assert_eq!(FeatureProfile::categorical().distinct(), Some(0.0));
    assert_eq!(profile.distinct(), None);
}

#[test]
fn every_kind_of_row_is_counted_once() {
    let grid = Grid::fit(&[1.0, 2.0, 3.0], 16);
    let mut profile = numeric(
        &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 2.0, 9.0],
        Some(&grid),
    );
    profile.note_out_of_range(1);
    profile.observe_absent(1);
    profile.observe_null(1);
    profile.observe_mismatch(1);
    let expected = Counts {
        rows: 8,
        absent: 1,
        nulls: 1,
        nans: 1,
        positive_infinities: 1,
        negative_infinities: 1,
        mismatched: 1,
        out_of_range: 1,
        unseen: 0,
    };
    assert_eq!(profile.counts(), &expected);
    assert_eq!(profile.valid(), 2);
    assert_eq!(profile.missing_share(), Some(3.0 / 8.0));
    assert_eq!(profile.cells().map(|cells| cells.iter().sum()), Some(2_u64));
}

#[test]
fn moments_and_extremes_are_those_of_the_numbers() {
    let profile = numeric(&[1.0, 2.0, 3.0, 10.0], None);
    assert_eq!(
        (profile.minimum(), profile.maximum(), profile.mean()),
        (Some(1.0), Some(10.0), Some(4.0))
    );
    let deviation = profile.standard_deviation().expect("four numbers");
    assert!((deviation - (50.0_f64 / 3.0).sqrt()).abs() < 1e-12);
    assert_eq!(numeric(&[5.0; 3], None).standard_deviation(), Some(0.0));
    assert_eq!(numeric(&[5.0], None).standard_deviation(), None);
    assert_eq!(
        numeric(&[f64::MAX, -f64::MAX], None).standard_deviation(),
        None,
        "beyond the range"
    );
}

#[test]
fn quantiles_of_small_windows_are_exact() {
    let profile = numeric(&(1..=100).rev().map(f64::from).collect::<Vec<_>>(), None);
    for (q, expected) in [
        (0.0, 1.0),
        (0.01, 1.0),
        (0.5, 50.0),
        (0.505, 51.0),
        (0.95, 95.0),
        (1.0, 100.0),
    ] {
        assert_eq!(profile.quantile(q), Some(expected), "{q}");
    }
    assert_eq!(
        (profile.quantile(-0.1), profile.quantile(f64::NAN)),
        (None, None)
    );
}

#[test]
fn quantiles_of_large_windows_are_within_the_rank_error() {
    let parts: Vec<FeatureProfile> = (0..40)
        .map(|part| {
            numeric(
                &(0..250)
                    .map(|i| f64::from(i * 40 + part))
                    .collect::<Vec<_>>(),
                None,
            )
        })
        .collect();
    let whole = merged(&parts.iter().collect::<Vec<_>>());
    for q in [0.05, 0.25, 0.5, 0.75, 0.95] {
        let quantile = whole.quantile(q).expect("numbers");
        // Twice the 99 % rank error, so that chance does not fail the test.
        assert!((quantile / 10_000.0 - q).abs() < 0.0266, "{q}: {quantile}");
    }
    assert_eq!(
        (whole.quantile(0.0), whole.quantile(1.0)),
        (Some(0.0), Some(9_999.0))
    );
}

#[test]
fn kinds_and_grids_are_not_mixed() {
    let (grid, other) = (Grid::fit(&[1.0, 2.0], 16), Grid::fit(&[1.0, 3.0], 16));
    let mut profile = numeric(&[1.0], Some(&grid));
    assert!(matches!(
        profile.observe_category("a", 1),
        Err(ProfileError::DifferentKinds)
    ));
    assert!(matches!(
        profile.observe_numbers(&[1.0], None),
        Err(ProfileError::DifferentGrids)
    ));
    assert!(matches!(
        profile.observe_numbers(&[1.0], Some(&other)),
        Err(ProfileError::DifferentGrids)
    ));
    assert!(matches!(
        profile.merge(&categorical(["a"])),
        Err(ProfileError::DifferentKinds)
    ));
    assert!(matches!(
        profile.merge(&numeric(&[1.0], Some(&other))),
        Err(ProfileError::DifferentGrids)
    ));
    assert!(matches!(
        profile.merge(&numeric(&[1.0], None)),
        Err(ProfileError::DifferentGrids)
    ));
    assert_eq!(
        (profile.counts().rows, profile.valid()),
        (1, 1),
        "an error changes nothing"
    );
    assert!(categorical(["a"]).observe_numbers(&[1.0], None).is_err());
}

#[test]
fn categories_beyond_the_limit_are_counted_together() {
    let names: Vec<String> = (0..5_000).map(|i| format!("user {i}")).collect();
    let profile = categorical(&names);
    assert_eq!(profile.categories().count(), MAX_CATEGORIES);
    assert_eq!((profile.rest(), profile.valid()), (4_000, 5_000));
    let distinct = profile.distinct().expect("categorical");
    assert!((distinct / 5_000.0 - 1.0).abs() < 0.1, "{distinct}");

    let again = merged(&[&profile, &profile]);
    assert!(
        again.categories().all(|(_, count)| count == 2),
        "what is kept is counted exactly"
    );
    assert_eq!(again.distinct(), Some(distinct));
    assert_eq!(categorical(&names[..1_000]).distinct(), Some(1_000.0));
}

#[test]
fn long_texts_are_cut_but_stay_distinct() {
    let (left, right) = ("ä".repeat(5_000) + "l", "ä".repeat(5_000) + "r");
    let profile = categorical([&left, &right, &left]);
    let counts: Vec<u64> = profile.categories().map(|(_, count)| count).collect();
    assert_eq!(counts.iter().sum::<u64>(), 3);
    assert_eq!(counts.len(), 2);
    assert!(profile.categories().all(|(name, _)| name.len() <= 200));
}

#[test]
fn stored_profiles_come_back() {
    let grid = Grid::fit(&(0..1_000).map(f64::from).collect::<Vec<_>>(), 256);
    let many: Vec<f64> = (0..3_000).map(|i| f64::from(i) / 3.0).collect();
    let names: Vec<String> = (0..2_500).map(|i| format!("{i}")).collect();
    let profiles = [
        FeatureProfile::numeric(None),
        FeatureProfile::numeric(Some(&grid)),
        numeric(&[1.5, -0.0, f64::NAN], Some(&grid)),
        numeric(&many, Some(&grid)),
        numeric(&[1e308, -1e308], None),
        FeatureProfile::categorical(),
        categorical(["", "a", "a"]),
        categorical(&names),
    ];
    for profile in profiles {
        let read = FeatureProfile::decode(&profile.encode()).expect("just written");
        assert_eq!(integers(&read), integers(&profile));
        assert_eq!(read.mean(), profile.mean());
        assert_eq!(read.standard_deviation(), profile.standard_deviation());
        assert_eq!(read.quantile(0.3), profile.quantile(0.3));
        assert_eq!(read.distinct(), profile.distinct());
        assert_eq!(read.encode(), profile.encode());
        assert_eq!(
            integers(&merged(&[&read, &profile])),
            integers(&merged(&[&profile, &read]))
        );
    }
}

#[test]
fn profiles_of_small_windows_are_small() {
    let grid = Grid::fit(&(0..5_000).map(f64::from).collect::<Vec<_>>(), 256);
    let profile = numeric(
        &(0..200).map(|i| f64::from(i % 40)).collect::<Vec<_>>(),
        Some(&grid),
    );
    assert!(
        profile.encode().len() < 600,
        "{} bytes",
        profile.encode().len()
    );
}

#[test]
fn bytes_of_something_else_are_refused() {
    let good = numeric(&[1.0, 2.0], None).encode();
    let decode = FeatureProfile::decode;
    assert!(matches!(decode(&[]), Err(ProfileError::NotAProfile)));
    assert!(matches!(
        decode(b"BW\x02\x01rest"),
        Err(ProfileError::NotAProfile)
    ));
    assert!(matches!(
        decode(b"BW\x01\x01abc"),
        Err(ProfileError::NotAProfile)
    ));
    assert!(matches!(
        decode(b"BW\x01\x09rest"),
        Err(ProfileError::UnknownVersion(9))
    ));
    for cut in 0..good.len() {
        assert!(decode(&good[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x10;
        assert!(decode(&damaged).is_err(), "damaged at {at}");
    }
}

/// Puts a valid checksum on bytes, as a faulty writer or somebody hostile would.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let checksum = crc32c::crc32c(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// Good profiles of every shape, for the edits of hostile hands.
static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let grid = Grid::fit(&(0..500).map(f64::from).collect::<Vec<_>>(), 64);
    let many: Vec<f64> = (0..900).map(f64::from).collect();
    let names: Vec<String> = (0..1_200).map(|i| format!("{i}")).collect();
    let mut mixed = numeric(&many[..50], None);
    mixed.observe_mismatch(3);
    mixed.note_mismatches(Mismatches {
        texts: 2,
        numeric_texts: 1,
        ..Mismatches::default()
    });
    vec![
        mixed.encode(),
        numeric(&many[..50], Some(&grid)).encode(),
        numeric(&many, Some(&grid)).encode(),
        categorical(["a", "b", "b"]).encode(),
        categorical(&names).encode(),
    ]
});

#[test]
fn ten_thousand_random_bit_flips_are_all_found() {
    let grid = Grid::fit(&(0..500).map(f64::from).collect::<Vec<_>>(), 64);
    let many: Vec<f64> = (0..900).map(f64::from).collect();
    let plain = [
        numeric(&[], None).encode(),
        numeric(&many[..50], None).encode(),
        numeric(&many, None).encode(),
    ];
    let with_grid = numeric(&many[..5], Some(&grid)).encode();
    let seeds: Vec<&Vec<u8>> = plain
        .iter()
        .chain([&with_grid])
        .chain(SEEDS.iter())
        .collect();
    let mut rng = StdRng::seed_from_u64(24);
    for flip in 0..10_000 {
        let mut damaged = seeds[flip % seeds.len()].clone();
        // Most damage is one bit; some is more.
        let bits = if flip % 4 == 0 {
            rng.random_range(2..=32)
        } else {
            1
        };
        let mut flipped = BTreeSet::new();
        while flipped.len() < bits {
            flipped.insert((rng.random_range(0..damaged.len()), rng.random_range(0..8)));
        }
        for (byte, bit) in &flipped {
            damaged[*byte] ^= 1 << bit;
        }
        let read = FeatureProfile::decode(&damaged);
        assert!(read.is_err(), "flip {flip}: {flipped:?}");
    }
}

proptest! {
    #[test]
    fn checksummed_nonsense_never_panics(
        seed in 0usize..4,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        keep in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = SEEDS[seed].clone();
        for (at, value) in edits {
            // The header is left alone: what is behind it is what has to hold.
            let at = 4 + at.index(bytes.len() - 4);
            bytes[at] = value;
        }
        if cut {
            bytes.truncate(8 + keep.index(bytes.len() - 8));
        }
        if let Ok(profile) = FeatureProfile::decode(&signed(bytes)) {
            // What was accepted must be usable.
            let mut twice = profile.clone();
            prop_assert!(twice.merge(&profile).is_ok());
            let _ = (twice.quantile(0.5), twice.standard_deviation(), twice.distinct(), twice.encode());
        }
    }

    #[test]
    fn any_bytes_are_an_error_and_not_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut with_header = b"BW\x01\x01".to_vec();
        with_header.extend(&bytes);
        with_header.extend([0; 4]);
        let _ = FeatureProfile::decode(&signed(with_header));
        prop_assert!(FeatureProfile::decode(&bytes).is_err());
    }

    #[test]
    fn merging_numbers_has_no_order(
        values in prop::collection::vec((0u8..5, -50i32..50), 0..120),
        first in 0usize..120,
        second in 0usize..120,
    ) {
        let grid = Grid::fit(&(-40..40).map(f64::from).collect::<Vec<_>>(), 32);
        let profile = |rows: &[(u8, i32)]| {
            let mut profile = FeatureProfile::numeric(Some(&grid));
            for (kind, value) in rows {
                match kind {
                    0 => profile.observe_null(1),
                    1 => profile.observe_absent(1),
                    _ => profile.observe_numbers(&[f64::from(*value)], Some(&grid)).expect("same grid"),
                }
            }
            profile
        };
        let (first, second) = (first.min(values.len()), second.min(values.len()));
        let (low, high) = (first.min(second), first.max(second));
        let whole = profile(&values);
        let (a, b, c) = (profile(&values[..low]), profile(&values[low..high]), profile(&values[high..]));
        let left = merged(&[&merged(&[&a, &b]), &c]);
        let right = merged(&[&a, &merged(&[&b, &c])]);
        let reversed = merged(&[&c, &b, &a]);
        for way in [&left, &right, &reversed] {
            prop_assert_eq!(integers(way), integers(&whole));
            prop_assert_eq!((way.minimum(), way.maximum()), (whole.minimum(), whole.maximum()));
            prop_assert_eq!(way.encode(), whole.encode());
        }
    }

    #[test]
    fn merging_many_different_numbers_has_no_order_either(
        seed in any::<u64>(),
        sizes in prop::array::uniform3(0usize..1_200),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let values: Vec<f64> = (0..sizes.iter().sum())
            .map(|_| (rng.random_range(-1.0..1.0_f64) * 10.0_f64.powi(rng.random_range(-3..6))) + 0.1)
            .collect();
        let (a, rest) = values.split_at(sizes[0]);
        let (b, c) = rest.split_at(sizes[1]);
        let whole = numeric(&values, None).encode();
        let reversed: Vec<f64> = values.iter().rev().copied().collect();
        prop_assert_eq!(&numeric(&reversed, None).encode(), &whole);
        let (a, b, c) = (numeric(a, None), numeric(b, None), numeric(c, None));
        prop_assert_eq!(&merged(&[&merged(&[&a, &b]), &c]).encode(), &whole);
        prop_assert_eq!(&merged(&[&c, &merged(&[&a, &b])]).encode(), &whole);
    }
}

/// Profiles that version 1 of the format wrote: numbers 1, 2, 2 and 10 on no grid, and 0 to 999 with a sketch.
const OF_VERSION_1: [&[u8]; 2] = [
    include_bytes!("../../../tests/data/profiles/version_1_values.bin"),
    include_bytes!("../../../tests/data/profiles/version_1_sketch.bin"),
];

#[test]
fn profiles_of_version_1_are_still_read() {
    let [values, sketch] = OF_VERSION_1.map(|bytes| FeatureProfile::decode(bytes).expect("read"));
    assert_eq!(values.valid(), 4);
    assert_eq!(
        (values.mean(), values.quantile(0.5)),
        (Some(3.75), Some(2.0))
    );
    assert_eq!(
        (values.minimum(), values.maximum()),
        (Some(1.0), Some(10.0))
    );
    let again = numeric(&[1.0, 2.0, 2.0, 10.0], None);
    assert_eq!(values.standard_deviation(), again.standard_deviation());

    assert_eq!((sketch.valid(), sketch.mean()), (1_000, Some(499.5)));
    assert_eq!(sketch.quantile(0.5), None, "a sketch is left");
    let deviation = sketch.standard_deviation().expect("a thousand");
    let expected = (1_000.0 * 1_001.0 / 12.0_f64).sqrt();
    assert!((deviation / expected - 1.0).abs() < 1e-14, "{deviation}");
    let mut with_more = sketch.clone();
    with_more.merge(&again).expect("no grids");
    assert_eq!(with_more.valid(), 1_004);
    assert!(FeatureProfile::decode(&with_more.encode()).is_ok());
}

proptest! {
    // A case makes thousands of texts.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn merging_categories_has_no_order_even_beyond_the_limit(
        seed in any::<u32>(),
        sizes in prop::array::uniform3(0usize..1_500),
    ) {
        let name = |i: usize| format!("c{}", (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) % 2_000);
        let total: usize = sizes.iter().sum();
        let whole = categorical((0..total).map(name));
        let a = categorical((0..sizes[0]).map(name));
        let b = categorical((sizes[0]..sizes[0] + sizes[1]).map(name));
        let c = categorical((sizes[0] + sizes[1]..total).map(name));
        for way in [
            merged(&[&merged(&[&a, &b]), &c]),
            merged(&[&a, &merged(&[&b, &c])]),
            merged(&[&c, &a, &b]),
        ] {
            prop_assert_eq!(integers(&way), integers(&whole));
        }
    }
}

#[test]
fn a_profile_without_quantiles_counts_the_same_and_survives_storage() {
    let values: Vec<f64> = (0..1_000).map(|i| f64::from(i % 77) / 3.0).collect();
    let grid = Grid::fit(&values, 64);
    let with = numeric(&values, Some(&grid));
    let mut without = FeatureProfile::numeric_without_quantiles(&grid);
    without
        .observe_numbers(&values, Some(&grid))
        .expect("the same grid");
    let stored = FeatureProfile::decode(&without.encode()).expect("just written");
    for profile in [&without, &stored] {
        assert_eq!(profile.cells(), with.cells());
        assert_eq!(profile.valid(), 1_000);
        assert_eq!(profile.quantile(0.5), None);
    }
    // Quantiles of a part would not be those of the whole.
    for (one, other) in [(&with, &without), (&without, &with)] {
        let both = merged(&[one, other]);
        assert_eq!((both.valid(), both.quantile(0.5)), (2_000, None));
    }
}

#[test]
fn what_values_of_a_wrong_type_were_is_kept() {
    let mut profile = numeric(&[1.0, 2.0], None);
    profile.observe_mismatch(3);
    let noted = Mismatches {
        texts: 2,
        numeric_texts: 1,
        booleans: 1,
        ..Mismatches::default()
    };
    profile.note_mismatches(noted);
    let read = FeatureProfile::decode(&profile.encode()).expect("its own bytes");
    assert_eq!(
        (read.mismatches(), read.counts()),
        (&noted, profile.counts())
    );
    let twice = merged(&[&read, &profile]);
    assert_eq!(
        (twice.mismatches().texts, twice.mismatches().total()),
        (4, 6)
    );
}

#[test]
fn more_mismatches_noted_than_counted_are_refused() {
    let mut profile = numeric(&[1.0], None);
    profile.observe_mismatch(1);
    profile.note_mismatches(Mismatches {
        texts: 2,
        ..Mismatches::default()
    });
    assert!(FeatureProfile::decode(&profile.encode()).is_err());
    let mut profile = numeric(&[1.0], None);
    profile.observe_mismatch(1);
    profile.note_mismatches(Mismatches {
        texts: 1,
        numeric_texts: 2,
        ..Mismatches::default()
    });
    assert!(FeatureProfile::decode(&profile.encode()).is_err());
}

#[test]
fn some_of_the_numbers_and_single_categories_can_be_asked_for() {
    let few = numeric(&[3.0, 1.0, 2.0], None);
    assert_eq!(few.sampled_numbers(100), [1.0, 2.0, 3.0]);
    assert_eq!(few.sampled_numbers(1), [2.0]);
    let often: Vec<f64> = (0..1_000).map(|i| f64::from(i % 10)).collect();
    let sampled = numeric(&often, None).sampled_numbers(20);
    assert_eq!(
        sampled,
        (0..20).map(|i| f64::from(i / 2)).collect::<Vec<_>>()
    );
    let many: Vec<f64> = (0..10_000).map(f64::from).collect();
    let sampled = numeric(&many, None).sampled_numbers(100);
    let distinct: BTreeSet<u64> = sampled.iter().map(|n| n.to_bits()).collect();
    assert_eq!((sampled.len(), distinct.len()), (64, 64));
    assert!(sampled.iter().all(|n| n.fract() == 0.0));
    assert!(few.without_quantiles().sampled_numbers(2).is_empty());

    let mut named = categorical(["", "a", "a"]);
    assert_eq!(
        (named.category(""), named.category("b")),
        (Some(1), Some(0))
    );
    named
        .merge(&categorical((0..5_000).map(|i| i.to_string())))
        .expect("both are of categories");
    let once = (0..5_000).map(|i| (i.to_string(), 1));
    let all = once.chain([(String::new(), 1), ("a".to_owned(), 2)]);
    let unknown = all.filter(|(name, _)| named.category(name).is_none());
    let rows: u64 = unknown.map(|(_, rows)| rows).sum();
    assert_eq!(rows, named.rest());
    assert_eq!(numeric(&[1.0], None).category(""), None);
}

fn watched(keys: impl IntoIterator<Item = u64>) -> FeatureProfile {
    let mut profile = FeatureProfile::numeric(None).with_repeats();
    for key in keys {
        profile
            .observe_numbers(&[key as f64], None)
            .expect("numbers");
        profile.note_values([crate::stats::thinning::mixed(key)]);
    }
    profile
}

#[test]
fn repeats_of_numbers_merge_and_are_kept_as_bytes() {
    let (mut one, two) = (watched(0..900), watched((600..1_500).chain(0..300)));
    assert_eq!(
        (one.repeated(), one.distinct()),
        (Some((0, 900)), Some(900.0))
    );
    one.merge(&two).expect("numbers");
    assert_eq!(
        (one.repeated(), one.distinct()),
        (Some((600, 2_100)), Some(1_500.0))
    );
    let bytes = one.encode();
    let read = FeatureProfile::decode(&bytes).expect("a profile");
    assert_eq!(read.repeated(), one.repeated());
    assert_eq!(read.encode(), bytes);
    // A byte that is another one is noticed.
    for at in [4, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(FeatureProfile::decode(&damaged).is_err(), "byte {at}");
    }
    // In whatever order and parts.
    let mut parts = watched(300..1_500);
    parts.merge(&watched(0..900)).expect("numbers");
    assert_eq!(parts.repeated(), Some((600, 2_100)));
}

#[test]
fn repeats_of_many_values_are_those_of_a_sample() {
    // One value in fifty repeats another.
    let rows = 100_000_u64;
    let numbers = watched((0..rows).map(|n| if n % 50 == 0 && n > 0 { n - 1 } else { n }));
    let mut texts = FeatureProfile::categorical();
    for n in 0..rows {
        let name = format!("id {}", if n % 50 == 0 && n > 0 { n - 1 } else { n });
        texts.observe_category(&name, 1).expect("categories");
    }
    for profile in [numbers, texts] {
        let (repeated, kept) = profile.repeated().expect("kept track of");
        assert!(kept < rows / 10, "{kept}");
        let share = repeated as f64 / kept as f64;
        assert!((share - 0.02).abs() < 0.012, "{share}");
        let distinct = profile.distinct().expect("kept track of");
        assert!((distinct / 98_000.0 - 1.0).abs() < 0.1, "{distinct}");
    }
}

#[test]
fn numbers_that_were_not_kept_track_of_make_repeats_unknown() {
    let plain = numeric(&[1.0, 2.0], None);
    assert_eq!((plain.repeated(), plain.distinct()), (None, None));
    let mut merged = watched(0..3);
    merged.merge(&plain).expect("numbers");
    assert_eq!(merged.repeated(), None);
    // One without numbers takes nothing away.
    let mut merged = watched(0..3);
    merged.merge(&numeric(&[], None)).expect("numbers");
    assert_eq!(merged.repeated(), Some((0, 3)));
    let mut merged = numeric(&[], None);
    merged.merge(&watched(0..3)).expect("numbers");
    assert_eq!(merged.repeated(), Some((0, 3)));
    // And its bytes are what they always were.
    assert_eq!(plain.encode()[3], 2);
}
