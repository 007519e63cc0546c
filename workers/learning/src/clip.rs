//! Bounds the length of a step's gradient.
//!
//! In: the squared length, summed in a fixed order. Out: the factor that the optimizer multiplies gradients with. The
//! gradient itself is not written again.

/// Sum of squares in f64, in an order that depends on the length alone: eight running sums, then those in order.
pub(crate) fn sum_of_squares(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let mut chunks = values.chunks_exact(8);
    for chunk in &mut chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(chunks.remainder()) {
        *lane += f64::from(value) * f64::from(value);
    }
    lanes.iter().sum()
}

/// The factor that brings a gradient of length `norm` down to `longest`; 1 when it is short enough or `longest` is 0.
pub(crate) fn factor(norm: f64, longest: f64) -> f64 {
    if longest > 0.0 && norm > longest { longest / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_match_a_plain_sum() {
        let values: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin()).collect();
        let plain: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
        assert!((sum_of_squares(&values) - plain).abs() < 1e-9);
        assert_eq!(sum_of_squares(&[]), 0.0);
        assert_eq!(sum_of_squares(&[3.0, 4.0]), 25.0);
        assert!(sum_of_squares(&[1.0, f32::NAN]).is_nan());
    }

    #[test]
    fn only_longer_gradients_are_scaled_and_zero_switches_off() {
        assert_eq!(factor(5.0, 1.0), 0.2);
        assert_eq!(factor(0.5, 1.0), 1.0);
        assert_eq!(factor(1.0, 1.0), 1.0);
        assert_eq!(factor(1e9, 0.0), 1.0);
    }
}
