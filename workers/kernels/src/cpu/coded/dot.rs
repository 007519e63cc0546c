//! How unsigned bytes are multiplied with signed ones and summed in 32 bits.
//!
//! In: the machine, and the level that is asked for. Out: the way. All ways give the same sums in bits: tiles where the
//! level has them and they multiply bytes, `vpdpbusd` where there is AVX-512 VNNI, products of 16-bit pairs on AVX2, plain
//! loops elsewhere. AVX-512 without VNNI takes AVX2's way. Searches do without tiles.

use crate::cpu::{bf16::amx, level};

/// How bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dot(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) enum Kind {
    Portable,
    Avx2,
    Vnni,
    /// VNNI, and tiles with `TDPBUSD`.
    Amx,
}

impl Kind {
    fn present(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Vnni => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Vnni.present() && amx::bytes(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Vnni | Self::Amx => false,
        }
    }
}

impl Dot {
    /// The best way of this machine without tiles.
    pub fn detect() -> Self {
        let best = [Kind::Vnni, Kind::Avx2].into_iter().find(|kind| kind.present());
        Self(best.unwrap_or(Kind::Portable))
    }

    /// The best way of this machine that a level may use.
    pub fn at(level: level::Level) -> Self {
        match level.kind() {
            level::Kind::Portable => Self(Kind::Portable),
            level::Kind::Avx2 => Self(Kind::Avx2),
            level::Kind::Amx if Kind::Amx.present() => Self(Kind::Amx),
            _ => Self::detect(),
        }
    }

    /// All ways of this machine without tiles, the plainest first.
    #[cfg(test)]
    pub fn all() -> Vec<Self> {
        [Kind::Portable, Kind::Avx2, Kind::Vnni].into_iter().filter(|kind| kind.present()).map(Self).collect()
    }

    pub fn kind(self) -> Kind {
        self.0
    }
}
