//! Counter-based randomness: every value is a hash of what it is for, so order and threads do not matter.
//!
//! In: a key and a counter. Out: bits, normals, keep-or-drop decisions. Holds no state.

/// Mixes a counter into a key: two rounds of a 64-bit finaliser (Stafford's variant 13 of MurmurHash3's).
#[must_use]
pub(crate) fn hash(key: u64, counter: u64) -> u64 {
    finish(finish(key.wrapping_add(0x9E37_79B9_7F4A_7C15)) ^ counter.wrapping_mul(0xD134_2543_DE82_EF95))
}

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A key from a name and a seed.
#[must_use]
pub(crate) fn key_of(name: &str, seed: u64) -> u64 {
    name.bytes().fold(hash(seed, name.len() as u64), |key, byte| hash(key, u64::from(byte)))
}

/// The `counter`-th standard normal of a key (Box–Muller, one of the pair).
#[must_use]
pub(crate) fn normal(key: u64, counter: u64) -> f64 {
    let first = hash(key, 2 * counter);
    let second = hash(key, 2 * counter + 1);
    // 53 bits; the first uniform is never 0.
    let u = ((first >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    let v = (second >> 11) as f64 / (1_u64 << 53) as f64;
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// 32 bits for one element of a mask; 32-bit arithmetic only, so that loops over it become vector code.
#[inline(always)]
#[must_use]
pub(crate) fn mask_bits(key: u64, element: u32) -> u32 {
    let mut x = element.wrapping_mul(0x9E37_79B1) ^ key as u32;
    x = (x ^ (x >> 16)).wrapping_mul(0x85EB_CA6B);
    x = (x ^ (x >> 13)).wrapping_mul(0xC2B2_AE35);
    x = (x ^ (x >> 16)).wrapping_add((key >> 32) as u32);
    x = (x ^ (x >> 15)).wrapping_mul(0x2C1B_3C6D);
    x = (x ^ (x >> 12)).wrapping_mul(0x297A_2D39);
    x ^ (x >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normals_have_the_moments_of_normals() {
        let n = 200_000;
        let draws: Vec<f64> = (0..n).map(|i| normal(7, i)).collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let var = draws.iter().map(|x| x * x).sum::<f64>() / n as f64;
        let fourth = draws.iter().map(|x| x.powi(4)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.015 && (fourth - 3.0).abs() < 0.1, "{mean} {var} {fourth}");
    }

    #[test]
    fn mask_bits_of_neighbours_and_of_keys_are_unrelated() {
        let below = |key: u64, n: u32| (0..n).filter(|&i| mask_bits(key, i) < 1 << 31).count() as f64;
        for key in [0, 1, 2, 1 << 40, u64::MAX] {
            assert!((below(key, 100_000) / 1e5 - 0.5).abs() < 0.006);
        }
        for (a, b) in [(0, 1), (hash(3, 0), hash(3, 1)), (5, 5 | 1 << 50)] {
            let equal = (0..100_000).filter(|&i| (mask_bits(a, i) ^ mask_bits(b, i)) >> 31 == 0).count() as f64;
            assert!((equal / 1e5 - 0.5).abs() < 0.01, "{a} {b} {equal}");
        }
    }

    #[test]
    fn names_and_seeds_make_keys() {
        assert_ne!(key_of("a.b", 1), key_of("a.b", 2));
        assert_ne!(key_of("a.b", 1), key_of("a.c", 1));
        assert_eq!(key_of("a.b", 1), key_of("a.b", 1));
    }
}
