//! From task probabilities to one final score.
//!
//! In: `candidates × tasks` probabilities and a weight a task. Out: the weighted sum, and the best candidates by it. Equal
//! scores keep the order in which candidates came, which is that of the retrieval model. Never runs a model.

use std::collections::BTreeMap;

/// A weight names a task that the model does not predict.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no task {name:?} to weigh; the model's tasks are {}", known.join(", "))]
pub struct UnknownTask {
    /// The name.
    pub name: String,
    /// The model's tasks.
    pub known: Vec<String>,
}

/// Weights in the order of the tasks; tasks without one weigh 0.
///
/// # Errors
/// When a weight names no task.
pub fn weights(tasks: &[String], by_name: &BTreeMap<String, f64>) -> Result<Vec<f64>, UnknownTask> {
    if let Some(name) = by_name.keys().find(|name| !tasks.contains(name)) {
        return Err(UnknownTask { name: name.clone(), known: tasks.to_vec() });
    }
    Ok(tasks.iter().map(|task| by_name.get(task).copied().unwrap_or(0.0)).collect())
}

/// The final score of each candidate: `Σ weight · probability`, out of row-major `candidates × weights.len()`.
#[must_use]
pub fn mix(probabilities: &[f32], weights: &[f64]) -> Vec<f32> {
    let score = |row: &[f32]| row.iter().zip(weights).map(|(&p, &w)| w * f64::from(p)).sum::<f64>() as f32;
    probabilities.chunks_exact(weights.len().max(1)).map(score).collect()
}

/// The places of the `k` best scores, best first; among equals the one that came first. A score that is no number is
/// worse than any that is.
#[must_use]
pub fn best(scores: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // Adding zero makes −0 and 0 equal.
    let key = |i: usize| if scores[i].is_nan() { f32::NEG_INFINITY } else { scores[i] + 0.0 };
    order.sort_by(|&a, &b| scores[a].is_nan().cmp(&scores[b].is_nan()).then(key(b).total_cmp(&key(a))));
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_follow_the_tasks() {
        let tasks = ["like".to_owned(), "love".to_owned()];
        let named = |pairs: &[(&str, f64)]| pairs.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect();
        assert_eq!(weights(&tasks, &named(&[("love", 2.0)])), Ok(vec![0.0, 2.0]));
        let error = weights(&tasks, &named(&[("lurve", 1.0)])).unwrap_err().to_string();
        assert!(error.contains("\"lurve\"") && error.contains("like, love"), "{error}");
    }

    #[test]
    fn scores_are_weighted_sums() {
        assert_eq!(mix(&[0.5, 0.25, 0.0, 1.0], &[2.0, 4.0]), [2.0, 4.0]);
        assert_eq!(mix(&[0.5, 0.25], &[1.0, -1.0]), [0.25]);
        assert!(mix(&[], &[1.0]).is_empty());
    }

    #[test]
    fn equals_keep_their_order_and_nan_is_last() {
        assert_eq!(best(&[0.0, f32::NAN, 1.0, -0.0, 1.0, f32::NEG_INFINITY], 9), [2, 4, 0, 3, 5, 1]);
        assert_eq!(best(&[0.1, 0.3, 0.2], 2), [1, 2]);
        assert!(best(&[0.1], 0).is_empty());
    }

    proptest! {
        #[test]
        fn best_is_a_stable_sort(scores in prop::collection::vec(-3i8..3, 0..40), k in 0usize..50) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut naive: Vec<(f32, usize)> = scores.iter().copied().zip(0..).collect();
            naive.sort_by(|a, b| b.0.partial_cmp(&a.0).unwrap().then(a.1.cmp(&b.1)));
            let naive: Vec<usize> = naive.into_iter().map(|(_, i)| i).take(k).collect();
            prop_assert_eq!(best(&scores, k), naive);
        }
    }
}
