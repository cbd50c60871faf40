//! Numbers that look random and are the same in every run, for the tests of this folder.

/// Numbers from 0 up to but not 1 of a xorshift generator.
pub(crate) fn uniform(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        unit(state)
    }
}

/// As many numbers from 0 up to but not 1 of the congruential generator that the scripts of the golden files have, too.
pub(crate) fn uniforms(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        unit(state)
    };
    (0..count).map(next).collect()
}

fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
