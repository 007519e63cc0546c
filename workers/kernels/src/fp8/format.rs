//! The two eight-bit formats, one number at a time, in integer arithmetic that loops turn into vector code.
//!
//! In: an f32 or a code. Out: a code or an f32. Layout and special values: OCP 8-bit Floating Point Specification 1.0;
//! conversion: PTX `cvt.rn.satfinite`.
//!
//! | | E4M3 | E5M2 |
//! |---|---|---|
//! | largest | 448, code 0x7E | 57344, code 0x7B |
//! | smallest normal, smallest | 2⁻⁶, 2⁻⁹ | 2⁻¹⁴, 2⁻¹⁶ |
//! | infinity | none | 0x7C |
//! | NaN | 0x7F | 0x7D to 0x7F |
//!
//! Encoding rounds to the nearest, ties to the even code; magnitudes beyond the largest, infinity among them, become
//! the largest of their sign, so no infinity is ever made; NaN of either sign becomes 0x7F. Zero keeps its sign.
//! Decoding is exact for every code.

/// Which eight-bit format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Four exponent bits, three mantissa bits, no infinity: weights and activations.
    E4m3,
    /// Five exponent bits, two mantissa bits: a wider range for a coarser step.
    E5m2,
}

impl Format {
    /// The largest finite value.
    #[must_use]
    pub fn max(self) -> f32 {
        match self {
            Self::E4m3 => E4m3::MAX,
            Self::E5m2 => E5m2::MAX,
        }
    }

    /// The code of a number: nearest, ties to even, saturating; 0x7F for NaN.
    #[must_use]
    pub fn encode(self, x: f32) -> u8 {
        match self {
            Self::E4m3 => encode_one::<E4m3>(x) as u8,
            Self::E5m2 => encode_one::<E5m2>(x) as u8,
        }
    }

    /// The number of a code, exactly.
    #[must_use]
    pub fn decode(self, code: u8) -> f32 {
        match self {
            Self::E4m3 => decode_one::<E4m3>(code),
            Self::E5m2 => decode_one::<E5m2>(code),
        }
    }
}

/// A format known when a loop is compiled.
pub(super) trait Layout {
    /// Mantissa bits.
    const MANTISSA: u32;
    /// What is added to an exponent before it is stored.
    const BIAS: u32;
    /// The largest finite value.
    const MAX: f32;
    /// The first code that is no finite number, without sign.
    const FIRST_SPECIAL: u32;
    /// Whether the first special code is infinity; NaN otherwise.
    const HAS_INFINITY: bool;
}

pub(super) enum E4m3 {}
pub(super) enum E5m2 {}

impl Layout for E4m3 {
    const MANTISSA: u32 = 3;
    const BIAS: u32 = 7;
    const MAX: f32 = 448.0;
    const FIRST_SPECIAL: u32 = 0x7F;
    const HAS_INFINITY: bool = false;
}

impl Layout for E5m2 {
    const MANTISSA: u32 = 2;
    const BIAS: u32 = 15;
    const MAX: f32 = 57_344.0;
    const FIRST_SPECIAL: u32 = 0x7C;
    const HAS_INFINITY: bool = true;
}

/// The code NaN becomes in both formats.
const NAN: u32 = 0x7F;
/// Mantissa bits and exponent bias of f32.
const F32_MANTISSA: u32 = 23;
const F32_BIAS: u32 = 127;
const F32_INFINITY: u32 = 0x7F80_0000;

/// An f32 whose last place is the step of the format's subnormals: what is added to it gets rounded to that step, and
/// its count of steps lies in the low bits.
const fn anchor<F: Layout>() -> u32 {
    (F32_BIAS + F32_MANTISSA + 1 - F::BIAS - F::MANTISSA) << F32_MANTISSA
}

#[inline(always)]
pub(super) fn encode_one<F: Layout>(x: f32) -> u32 {
    let shift = F32_MANTISSA - F::MANTISSA;
    let magnitude = x.to_bits() & 0x7FFF_FFFF;
    let sign = (x.to_bits() >> 24) & 0x80;
    let clamped = magnitude.min(F::MAX.to_bits());
    let even = (clamped >> shift) & 1;
    let rounded = (clamped + even + (1 << (shift - 1)) - 1) >> shift;
    let normal = rounded.wrapping_sub((F32_BIAS - F::BIAS) << F::MANTISSA);
    let anchor = const { anchor::<F>() };
    let steps = (f32::from_bits(clamped) + f32::from_bits(anchor)).to_bits().wrapping_sub(anchor);
    let smallest_normal = (F32_BIAS + 1 - F::BIAS) << F32_MANTISSA;
    let code = if clamped < smallest_normal { steps } else { normal };
    if magnitude > F32_INFINITY { NAN } else { code | sign }
}

#[inline(always)]
pub(super) fn decode_one<F: Layout>(code: u8) -> f32 {
    let code = u32::from(code);
    let (sign, magnitude) = ((code & 0x80) << 24, code & 0x7F);
    let shift = F32_MANTISSA - F::MANTISSA;
    let normal = (magnitude << shift) + ((F32_BIAS - F::BIAS) << F32_MANTISSA);
    let anchor = const { anchor::<F>() };
    let steps = (f32::from_bits(anchor | magnitude) - f32::from_bits(anchor)).to_bits();
    let finite = if magnitude < 1 << F::MANTISSA { steps } else { normal };
    let quiet = F32_INFINITY | 1 << (F32_MANTISSA - 1);
    let special = if F::HAS_INFINITY && magnitude == F::FIRST_SPECIAL { F32_INFINITY } else { quiet };
    f32::from_bits(sign | if magnitude < F::FIRST_SPECIAL { finite } else { special })
}
