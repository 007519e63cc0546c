//! Mean negative log-likelihood of binary labels.
//!
//! In: probabilities and labels. Out: a loss a row, in nats. Probabilities are kept 1e-7 away from 0 and 1, so that one
//! sure mistake costs 16 and not infinity.

use crate::EvaluationError;

const NEAREST: f64 = 1e-7;

/// The loss of each row.
///
/// # Errors
/// Lengths that differ, a row that is not a number, a score out of `0..=1`, a label other than 0 and 1.
pub fn losses(scores: &[f32], labels: &[f32]) -> Result<Vec<f64>, EvaluationError> {
    if labels.len() != scores.len() {
        return Err(EvaluationError::Length { what: "labels", found: labels.len(), wanted: scores.len() });
    }
    let loss = |(row, (&score, &label)): (usize, (&f32, &f32))| {
        if score.is_nan() {
            return Err(EvaluationError::NotANumber { what: "score", row });
        }
        if !(0.0..=1.0).contains(&score) {
            return Err(EvaluationError::NoProbability { row, score });
        }
        let p = f64::from(score).clamp(NEAREST, 1.0 - NEAREST);
        match label {
            1.0 => Ok(-p.ln()),
            0.0 => Ok(-(-p).ln_1p()),
            label if label.is_nan() => Err(EvaluationError::NotANumber { what: "label", row }),
            label => Err(EvaluationError::NotBinary { row, label }),
        }
    };
    scores.iter().zip(labels).enumerate().map(loss).collect()
}

/// The mean loss; 0 over no rows.
///
/// # Errors
/// As [`losses`].
pub fn logloss(scores: &[f32], labels: &[f32]) -> Result<f64, EvaluationError> {
    let losses = losses(scores, labels)?;
    Ok(losses.iter().sum::<f64>() / losses.len().max(1) as f64)
}
