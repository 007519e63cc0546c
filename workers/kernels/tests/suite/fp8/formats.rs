//! Every code and every rounding of both formats, against a reference made from the definition in f64.

use proptest::prelude::*;
use recmesh_kernels::Level;
use recmesh_kernels::fp8::{Format, decode, encode};

const FORMATS: [Format; 2] = [Format::E4m3, Format::E5m2];

/// The value of a code from the definition: sign · 2^exponent · significand.
fn definition(format: Format, code: u8) -> f64 {
    let (mantissa, bias) = if format == Format::E4m3 { (3, 7) } else { (2, 15) };
    let sign = if code >= 0x80 { -1.0 } else { 1.0 };
    let (stored, fraction) = (i32::from(code & 0x7F) >> mantissa, f64::from(code & ((1 << mantissa) - 1)));
    match (format, code & 0x7F) {
        (Format::E4m3, 0x7F) | (Format::E5m2, 0x7D..) => f64::NAN,
        (Format::E5m2, 0x7C) => sign * f64::INFINITY,
        _ if stored == 0 => sign * fraction * 2_f64.powi(1 - bias - mantissa),
        _ => sign * (1.0 + fraction * 2_f64.powi(-mantissa)) * 2_f64.powi(stored - bias),
    }
}

/// The finite magnitudes of a format, by code.
fn magnitudes(format: Format) -> Vec<f64> {
    (0..0x80).map(|code| definition(format, code)).take_while(|value| value.is_finite()).collect()
}

/// The nearest code by search: the even one of two equally near, the largest beyond it, 0x7F for NaN.
fn nearest(magnitudes: &[f64], x: f32) -> u8 {
    if x.is_nan() {
        return 0x7F;
    }
    let sign = if x.is_sign_negative() { 0x80 } else { 0 };
    let magnitude = f64::from(x).abs();
    let above = magnitudes.partition_point(|&value| value < magnitude);
    if above == magnitudes.len() {
        return sign | (above - 1) as u8;
    }
    if above == 0 {
        return sign;
    }
    let (under, over) = (magnitude - magnitudes[above - 1], magnitudes[above] - magnitude);
    let down = under < over || (under == over && (above - 1).is_multiple_of(2));
    sign | if down { above - 1 } else { above } as u8
}

fn check(format: Format, xs: &[f32]) {
    let magnitudes = magnitudes(format);
    let expected: Vec<u8> = xs.iter().map(|&x| nearest(&magnitudes, x)).collect();
    for level in Level::all() {
        let mut codes = vec![0; xs.len()];
        encode(level, format, &mut codes, xs, 1.0);
        for ((&x, &code), &expected) in xs.iter().zip(&codes).zip(&expected) {
            assert_eq!(code, expected, "{level:?} {format:?}: {x:e}, bits {:#x}", x.to_bits());
        }
    }
    for (&x, &expected) in xs.iter().zip(&expected) {
        assert_eq!(format.encode(x), expected, "{format:?}: {x:e}");
    }
}

#[test]
fn every_code_decodes_to_its_definition() {
    let codes: Vec<u8> = (0..=255).collect();
    for format in FORMATS {
        for level in Level::all() {
            let mut values = vec![0.0; 256];
            decode(level, format, &mut values, &codes, 1.0);
            for (&code, &value) in codes.iter().zip(&values) {
                let defined = definition(format, code);
                let same = f64::from(value) == defined && (value.is_sign_negative() == (code >= 0x80));
                assert!(same || (value.is_nan() && defined.is_nan()), "{level:?} {format:?} {code:#x}: {value}");
                assert_eq!(value.to_bits(), format.decode(code).to_bits());
                if value.is_finite() {
                    assert_eq!(format.encode(value), code, "{format:?}: back to {code:#x}");
                }
            }
        }
    }
}

#[test]
fn landmarks_of_the_specification() {
    let e4m3 = [(448.0, 0x7E), (2_f32.powi(-6), 0x08), (2_f32.powi(-9), 0x01), (1.0, 0x38), (-1.0, 0xB8), (0.0, 0)];
    let e5m2 = [(57_344.0, 0x7B), (2_f32.powi(-14), 0x04), (2_f32.powi(-16), 0x01), (1.0, 0x3C), (-0.0, 0x80)];
    for (value, code) in e4m3 {
        assert_eq!((Format::E4m3.encode(value), Format::E4m3.decode(code)), (code, value));
    }
    for (value, code) in e5m2 {
        assert_eq!((Format::E5m2.encode(value), Format::E5m2.decode(code)), (code, value));
    }
    assert_eq!(Format::E5m2.decode(0x7C), f32::INFINITY);
    // Saturation: beyond the largest, at infinity, and where rounding to nearest would leave the format.
    for x in [448.1, 464.0, 465.0, 480.0, 1e6, f32::MAX, f32::INFINITY] {
        assert_eq!((Format::E4m3.encode(x), Format::E4m3.encode(-x)), (0x7E, 0xFE), "{x}");
    }
    for x in [61_440.0, 65_536.0, f32::INFINITY] {
        assert_eq!((Format::E5m2.encode(x), Format::E5m2.encode(-x)), (0x7B, 0xFB), "{x}");
    }
    // Ties: 1.0625 lies between 1 (even) and 1.125, 1.1875 between 1.125 and 1.25 (even).
    assert_eq!((Format::E4m3.encode(1.0625), Format::E4m3.encode(1.1875)), (0x38, 0x3A));
    assert_eq!((Format::E4m3.encode(2_f32.powi(-10)), Format::E4m3.encode(3.0 * 2_f32.powi(-10))), (0, 2));
    assert_eq!((Format::E4m3.encode(f32::NAN), Format::E4m3.encode(-f32::NAN)), (0x7F, 0x7F));
}

#[test]
fn every_bf16_is_rounded_to_the_nearest() {
    let all: Vec<f32> = (0..=u16::MAX).map(|bits| f32::from_bits(u32::from(bits) << 16)).collect();
    FORMATS.into_iter().for_each(|format| check(format, &all));
}

#[test]
fn numbers_around_every_midpoint_and_value_are_rounded_to_the_nearest() {
    for format in FORMATS {
        let mut xs = Vec::new();
        for pair in magnitudes(format).windows(2) {
            for centre in [pair[0], (pair[0] + pair[1]) / 2.0, pair[1]] {
                let bits = (centre as f32).to_bits();
                for bits in bits.saturating_sub(40)..bits + 40 {
                    xs.extend([f32::from_bits(bits), -f32::from_bits(bits)]);
                }
            }
        }
        check(format, &xs);
    }
}

proptest! {
    #[test]
    fn any_bits_are_rounded_to_the_nearest(bits in proptest::collection::vec(any::<u32>(), 1..80)) {
        let xs: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
        FORMATS.into_iter().for_each(|format| check(format, &xs));
    }
}
