//! Numbers that look drawn and are the same in each run, so that a story can be told again to the digit.

/// A number below a thousand, another for each row and column of a day (or hour), which is given by its number since 1970.
pub fn mixed(moment: i64, row: i64, column: i64) -> i32 {
    let seed = u64::try_from((moment * 1_000 + row) * 10 + column).expect("after 1970");
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    i32::try_from((x ^ (x >> 31)) % 1_000).expect("below a thousand")
}
