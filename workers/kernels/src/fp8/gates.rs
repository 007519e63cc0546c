//! Whether a quantised model may serve: what was measured of it against what is asked.
//!
//! In: outputs of every layer and answers of the whole, both in high precision and quantised, on held-out histories.
//! Out: figures, and a verdict with reasons. Pure: nothing is run, loaded or switched here. A figure that is NaN fails
//! its gate.

use std::fmt;

use crate::topk::{TieOrder, TopK};

/// What a quantised model must keep.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gates {
    /// Relative error of a layer's output, at most.
    pub max_rel_error: f64,
    /// Share of the best k that both have, at least.
    pub min_top_k_overlap: f64,
    /// What recall may lose, absolute, at most.
    pub max_recall_drop: f64,
}

impl Default for Gates {
    /// E4M3 alone costs 3.7 %; what is above 4.5 % has another cause. The rest after arXiv 2603.11486.
    fn default() -> Self {
        Self { max_rel_error: 0.045, min_top_k_overlap: 0.9, max_recall_drop: 0.01 }
    }
}

/// A layer's output, quantised against not.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerError {
    /// The layer's dotted name.
    pub layer: String,
    /// [`relative_error`] of its output.
    pub rel_error: f64,
}

/// What calibration found.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Every quantised layer.
    pub layers: Vec<LayerError>,
    /// Mean [`top_k_overlap`] of the answers.
    pub top_k_overlap: f64,
    /// Recall in high precision.
    pub recall: f64,
    /// Recall quantised.
    pub quantised_recall: f64,
}

/// A gate that did not hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Breach {
    /// Nothing was measured.
    NoLayers,
    /// A layer's error is above the gate: the worst of them.
    RelError {
        /// The worst layer.
        layer: String,
        /// Its error.
        found: f64,
        /// The gate.
        limit: f64,
        /// How many layers are above.
        layers: usize,
    },
    /// The best k differ.
    TopKOverlap {
        /// The overlap.
        found: f64,
        /// The gate.
        limit: f64,
    },
    /// Recall fell.
    RecallDrop {
        /// The drop.
        found: f64,
        /// The gate.
        limit: f64,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLayers => write!(f, "no layer was calibrated"),
            Self::RelError { layer, found, limit, layers } => {
                write!(f, "relative error {found:.4} of layer {layer} above {limit} ({layers} layers are)")
            }
            Self::TopKOverlap { found, limit } => write!(f, "top-k overlap {found:.4} below {limit}"),
            Self::RecallDrop { found, limit } => write!(f, "recall drop {found:.4} above {limit}"),
        }
    }
}

/// What to serve.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Quantised.
    Accept,
    /// In high precision, for these reasons.
    FallBack(Vec<Breach>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => write!(f, "quantised"),
            Self::FallBack(breaches) => {
                write!(f, "high precision: ")?;
                for (at, breach) in breaches.iter().enumerate() {
                    write!(f, "{}{breach}", if at == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
        }
    }
}

/// Holds a report against gates: every breach is named, the worst layer once.
#[must_use]
pub fn judge(report: &Report, gates: &Gates) -> Verdict {
    let mut breaches = Vec::new();
    let holds = |layer: &LayerError| layer.rel_error <= gates.max_rel_error;
    let above: Vec<&LayerError> = report.layers.iter().filter(|layer| !holds(layer)).collect();
    let badness = |layer: &LayerError| if layer.rel_error.is_nan() { f64::INFINITY } else { layer.rel_error };
    if report.layers.is_empty() {
        breaches.push(Breach::NoLayers);
    }
    if let Some(worst) = above.iter().max_by(|a, b| badness(a).total_cmp(&badness(b))) {
        let (layer, found) = (worst.layer.clone(), worst.rel_error);
        breaches.push(Breach::RelError { layer, found, limit: gates.max_rel_error, layers: above.len() });
    }
    let holds = report.top_k_overlap >= gates.min_top_k_overlap;
    if !holds {
        breaches.push(Breach::TopKOverlap { found: report.top_k_overlap, limit: gates.min_top_k_overlap });
    }
    let drop = report.recall - report.quantised_recall;
    let holds = drop <= gates.max_recall_drop;
    if !holds {
        breaches.push(Breach::RecallDrop { found: drop, limit: gates.max_recall_drop });
    }
    if breaches.is_empty() { Verdict::Accept } else { Verdict::FallBack(breaches) }
}

/// Relative error of rows: the root of the mean over rows of `‖found − exact‖² / ‖exact‖²`.
///
/// By row, since one row of outliers would hide the loss of all others in a norm of the whole. A row that is zero and
/// found so counts 0, found otherwise counts 1. 0 of no rows.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
#[must_use]
pub fn relative_error(exact: &[f32], found: &[f32], cols: usize) -> f64 {
    assert_eq!(exact.len(), found.len(), "outputs of one layer");
    assert!(cols > 0 && exact.len().is_multiple_of(cols), "rows of {cols} columns");
    if exact.is_empty() {
        return 0.0;
    }
    let mut sum = 0.0;
    for (exact, found) in exact.chunks_exact(cols).zip(found.chunks_exact(cols)) {
        let (mut off, mut norm) = (0.0, 0.0);
        for (&exact, &found) in exact.iter().zip(found) {
            let (exact, found) = (f64::from(exact), f64::from(found));
            off += (found - exact) * (found - exact);
            norm += exact * exact;
        }
        sum += if norm > 0.0 || off.is_nan() || norm.is_nan() { off / norm } else { f64::from(u8::from(off > 0.0)) };
    }
    (sum / (exact.len() / cols) as f64).sqrt()
}

/// Share of the best `k` of every row that is among the best `k` of the other's row, averaged; equal scores by index.
/// Rows with NaN among the found scores count 0; 1 of no rows or of `k = 0`.
///
/// # Panics
/// If the lengths differ or are no whole number of rows.
#[must_use]
pub fn top_k_overlap(exact: &[f32], found: &[f32], cols: usize, k: usize) -> f64 {
    assert_eq!(exact.len(), found.len(), "scores of one model");
    assert!(cols > 0 && exact.len().is_multiple_of(cols), "rows of {cols} columns");
    let k = k.min(cols);
    if exact.is_empty() || k == 0 {
        return 1.0;
    }
    let best = |scores: &[f32]| -> (Vec<u32>, bool) {
        let mut top = TopK::new(k, TieOrder::ByIndex);
        for (index, &score) in (0..).zip(scores) {
            top.push(score, index);
        }
        let nan = top.saw_nan();
        let mut indices: Vec<u32> = top.into_sorted().into_iter().map(|(_, index)| index).collect();
        indices.sort_unstable();
        (indices, nan)
    };
    let mut shared = 0;
    for (exact, found) in exact.chunks_exact(cols).zip(found.chunks_exact(cols)) {
        let ((exact, _), (found, nan)) = (best(exact), best(found));
        if !nan {
            shared += exact.iter().filter(|index| found.binary_search(index).is_ok()).count();
        }
    }
    shared as f64 / (exact.len() / cols * k) as f64
}
