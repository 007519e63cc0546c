//! Area under the ROC curve, over all rows and by user.
//!
//! In: scores and binary labels. Out: the chance that a positive row is scored above a negative one, ties counting
//! half, exact by sorting. Its deviation is DeLong's (Biometrics 44, 1988): one pass over the same order, where a
//! bootstrap would sort every resample.

use crate::EvaluationError;

/// An area with its standard deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Auc {
    /// The area, in `0..=1`.
    pub value: f64,
    /// DeLong's standard deviation; `None` with fewer than two rows of a class.
    pub deviation: Option<f64>,
}

impl Auc {
    /// The normal 95 % interval, cut to `0..=1`.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        let half = 1.959_963_984_540_054 * self.deviation?;
        Some(((self.value - half).max(0.0), (self.value + half).min(1.0)))
    }
}

/// Area by user.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauc {
    /// Rows and area of each user that has both classes, by ascending user.
    pub users: Vec<(f64, f64)>,
}

impl Gauc {
    /// The mean weighted by rows; `None` when no user has both classes.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        (!self.users.is_empty()).then(|| self.value_of(0..self.users.len() as u32))
    }

    /// The weighted mean over some of the users, repeats allowed.
    #[must_use]
    pub fn value_of(&self, users: impl IntoIterator<Item = u32>) -> f64 {
        let add = |(rows, areas): (f64, f64), user| {
            let (n, area) = self.users[user as usize];
            (rows + n, areas + n * area)
        };
        let (rows, areas) = users.into_iter().fold((0.0, 0.0), add);
        areas / rows
    }
}

/// Area over all rows.
///
/// # Errors
/// Lengths that differ, a row that is not a number, a label other than 0 and 1, a single class.
pub fn auc(scores: &[f32], labels: &[f32]) -> Result<Auc, EvaluationError> {
    check(scores, labels)?;
    let mut rows: Vec<(f32, bool)> = scores.iter().zip(labels).map(|(&score, &label)| (score, label > 0.5)).collect();
    area(&mut rows).ok_or(EvaluationError::OneClass { label: labels.first().copied().unwrap_or(0.0) })
}

/// Area within each user; users with one class are left out.
///
/// # Errors
/// As [`auc`], except for a single class.
pub fn gauc(scores: &[f32], labels: &[f32], users: &[u32]) -> Result<Gauc, EvaluationError> {
    check(scores, labels)?;
    if users.len() != scores.len() {
        return Err(EvaluationError::Length { what: "users", found: users.len(), wanted: scores.len() });
    }
    let mut order: Vec<u32> = (0..users.len() as u32).collect();
    order.sort_by_key(|&row| users[row as usize]);
    let mut made = Vec::new();
    for rows in order.chunk_by(|&a, &b| users[a as usize] == users[b as usize]) {
        let mut rows: Vec<_> = rows.iter().map(|&row| (scores[row as usize], labels[row as usize] > 0.5)).collect();
        if let Some(area) = area(&mut rows) {
            made.push((rows.len() as f64, area.value));
        }
    }
    Ok(Gauc { users: made })
}

/// Refuses what cannot be ordered or counted.
fn check(scores: &[f32], labels: &[f32]) -> Result<(), EvaluationError> {
    if labels.len() != scores.len() {
        return Err(EvaluationError::Length { what: "labels", found: labels.len(), wanted: scores.len() });
    }
    for (row, (&score, &label)) in scores.iter().zip(labels).enumerate() {
        if score.is_nan() {
            return Err(EvaluationError::NotANumber { what: "score", row });
        }
        if label.is_nan() {
            return Err(EvaluationError::NotANumber { what: "label", row });
        }
        if label != 0.0 && label != 1.0 {
            return Err(EvaluationError::NotBinary { row, label });
        }
    }
    Ok(())
}

/// `None` with a single class. Each row has a placement: the share of the other class that it is ordered rightly
/// against. Their mean is the area, their variances by class give its deviation.
fn area(rows: &mut [(f32, bool)]) -> Option<Auc> {
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let positives = rows.iter().filter(|row| row.1).count() as f64;
    let negatives = rows.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    let (mut below, mut negatives_below) = (0.0, 0.0);
    let (mut of_positives, mut of_negatives) = (Moments::default(), Moments::default());
    // `==` and not the total order: −0 and 0 are a tie.
    for tie in rows.chunk_by(|a, b| a.0 == b.0) {
        let up = tie.iter().filter(|row| row.1).count() as f64;
        let down = tie.len() as f64 - up;
        of_positives.add(up, (negatives_below + 0.5 * down) / negatives);
        of_negatives.add(down, (positives - below - 0.5 * up) / positives);
        below += up;
        negatives_below += down;
    }
    let deviation = match (of_positives.variance(), of_negatives.variance()) {
        (Some(up), Some(down)) => Some((up / positives + down / negatives).sqrt()),
        _ => None,
    };
    Some(Auc { value: of_positives.mean, deviation })
}

/// Mean and variance of repeated values (West's weighted update).
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, times: f64, value: f64) {
        if times > 0.0 {
            self.count += times;
            let off = value - self.mean;
            self.mean += off * times / self.count;
            self.squares += times * off * (value - self.mean);
        }
    }

    fn variance(&self) -> Option<f64> {
        (self.count > 1.0).then(|| self.squares / (self.count - 1.0))
    }
}
