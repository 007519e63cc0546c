//! Every metric against a second implementation that counts, loops and knows no trick, and against known values.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::EvaluationError;

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} and {b}");
}

/// Textbook metrics of a whole relevance list: any number of relevant places.
fn naive_rank_metrics(relevant: &[bool], k: usize) -> [f64; 3] {
    let all = relevant.iter().filter(|&&r| r).count() as f64;
    let gain = |list: &[bool]| -> f64 {
        list.iter().take(k).enumerate().map(|(i, &r)| if r { 2f64.ln() / ((i + 2) as f64).ln() } else { 0.0 }).sum()
    };
    let mut ideal = relevant.to_vec();
    ideal.sort_by_key(|&r| !r);
    let hits = relevant.iter().take(k).filter(|&&r| r).count() as f64;
    let first = relevant.iter().take(k).position(|&r| r);
    [hits / all, gain(relevant) / gain(&ideal), first.map_or(0.0, |i| 1.0 / (i + 1) as f64)]
}

/// The share of ordered pairs, ties half, and DeLong's deviation from the two placement vectors.
fn naive_auc(scores: &[f32], labels: &[f32]) -> Option<(f64, Option<f64>)> {
    let of =
        |label: f32| -> Vec<f32> { scores.iter().zip(labels).filter(|(_, l)| **l == label).map(|(s, _)| *s).collect() };
    let (up, down) = (of(1.0), of(0.0));
    if up.is_empty() || down.is_empty() {
        return None;
    }
    let wins = |a: f32, b: f32| {
        if a > b {
            1.0
        } else if a == b {
            0.5
        } else {
            0.0
        }
    };
    let v10: Vec<f64> = up.iter().map(|&u| down.iter().map(|&d| wins(u, d)).sum::<f64>() / down.len() as f64).collect();
    let v01: Vec<f64> = down.iter().map(|&d| up.iter().map(|&u| wins(u, d)).sum::<f64>() / up.len() as f64).collect();
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let part = |v: &[f64]| {
        let squares: f64 = v.iter().map(|x| (x - mean(v)).powi(2)).sum();
        squares / (v.len() as f64 - 1.0) / v.len() as f64
    };
    let deviation = (v10.len() > 1 && v01.len() > 1).then(|| (part(&v10) + part(&v01)).sqrt());
    Some((mean(&v10), deviation))
}

/// Scores with many ties, labels, users.
fn rows() -> impl Strategy<Value = Vec<(f32, f32, u32)>> {
    prop::collection::vec((0u8..12, any::<bool>(), 0u32..6), 1..60)
        .prop_map(|rows| rows.into_iter().map(|(s, l, u)| (f32::from(s) / 11.0, f32::from(u8::from(l)), u)).collect())
}

proptest! {
    #[test]
    fn rank_metrics_match_textbook(length in 1usize..30, at in 0usize..40, k in 1usize..40) {
        let rank = (at < length).then_some(at);
        let mut relevant = vec![false; length.max(at + 1)];
        relevant[at] = true;
        let naive = naive_rank_metrics(&relevant, k.min(length));
        for (metric, wanted) in RankMetric::ALL.into_iter().zip(naive) {
            close(metric.at(rank.filter(|_| at < length), k), wanted);
        }
    }

    #[test]
    fn auc_matches_pairs(rows in rows()) {
        let scores: Vec<f32> = rows.iter().map(|r| r.0).collect();
        let labels: Vec<f32> = rows.iter().map(|r| r.1).collect();
        match (auc(&scores, &labels), naive_auc(&scores, &labels)) {
            (Ok(fast), Some((value, deviation))) => {
                close(fast.value, value);
                prop_assert_eq!(fast.deviation.is_some(), deviation.is_some());
                close(fast.deviation.unwrap_or(0.0), deviation.unwrap_or(0.0));
            }
            (Err(EvaluationError::OneClass { .. }), None) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn gauc_matches_users_one_by_one(rows in rows()) {
        let (mut by_user, mut sum, mut weight) = (BTreeMap::<u32, (Vec<f32>, Vec<f32>)>::new(), 0.0, 0.0);
        for &(score, label, user) in &rows {
            let columns = by_user.entry(user).or_default();
            columns.0.push(score);
            columns.1.push(label);
        }
        for (scores, labels) in by_user.values() {
            if let Some((value, _)) = naive_auc(scores, labels) {
                sum += value * scores.len() as f64;
                weight += scores.len() as f64;
            }
        }
        let column = |of: fn(&(f32, f32, u32)) -> f32| rows.iter().map(of).collect::<Vec<f32>>();
        let users: Vec<u32> = rows.iter().map(|r| r.2).collect();
        let fast = gauc(&column(|r| r.0), &column(|r| r.1), &users).unwrap().value();
        prop_assert_eq!(fast.is_some(), weight > 0.0);
        if let Some(fast) = fast {
            close(fast, sum / weight);
        }
    }

    #[test]
    fn logloss_matches_its_definition(rows in rows()) {
        let scores: Vec<f32> = rows.iter().map(|r| r.0).collect();
        let labels: Vec<f32> = rows.iter().map(|r| r.1).collect();
        let mut sum = 0.0;
        for (&score, &label) in scores.iter().zip(&labels) {
            let chance = if label == 1.0 { f64::from(score) } else { 1.0 - f64::from(score) };
            sum -= chance.max(1e-7).ln();
        }
        prop_assert!((logloss(&scores, &labels).unwrap() - sum / rows.len() as f64).abs() < 1e-6);
    }
}

#[test]
fn known_values() {
    // Examples that scikit-learn documents for roc_auc_score and log_loss.
    close(auc(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]).unwrap().value, 0.75);
    assert!((logloss(&[0.9, 0.1, 0.2, 0.65], &[1.0, 0.0, 0.0, 1.0]).unwrap() - 0.21616).abs() < 5e-6);
    close(auc(&[0.5; 4], &[1.0, 0.0, 1.0, 0.0]).unwrap().value, 0.5);
    close(auc(&[-0.0, 0.0], &[0.0, 1.0]).unwrap().value, 0.5);
    close(auc(&[0.2, 0.9], &[1.0, 0.0]).unwrap().value, 0.0);
    close(RankMetric::Ndcg.at(Some(0), 10), 1.0);
    close(RankMetric::Ndcg.at(Some(1), 10), 0.630_929_753_571_457_4);
    close(RankMetric::Ndcg.at(Some(2), 10), 0.5);
    close(RankMetric::Ndcg.at(Some(9), 10), 0.289_064_826_317_887_9);
    close(RankMetric::Ndcg.at(Some(10), 10), 0.0);
    close(RankMetric::Mrr.at(Some(3), 10), 0.25);
    close(RankMetric::Recall.at(None, 10), 0.0);
    close(item_coverage(&[0, 9, 10, u32::MAX], 10), 0.5);
}

#[test]
fn what_is_no_number_is_refused_with_its_row() {
    let nan = f32::NAN;
    let text = |error: EvaluationError| error.to_string();
    assert_eq!(text(auc(&[0.1, nan], &[0.0, 1.0]).unwrap_err()), "the score of row 1 is not a number");
    assert_eq!(text(auc(&[0.1, 0.2], &[nan, 1.0]).unwrap_err()), "the label of row 0 is not a number");
    assert_eq!(text(auc(&[0.1, 0.2], &[0.0, 0.5]).unwrap_err()), "the label of row 1 is 0.5, not 0 or 1");
    assert_eq!(text(gauc(&[nan, 0.2], &[0.0, 1.0], &[0, 0]).unwrap_err()), "the score of row 0 is not a number");
    assert_eq!(text(logloss(&[0.5, nan], &[0.0, 1.0]).unwrap_err()), "the score of row 1 is not a number");
    assert_eq!(text(logloss(&[1.5], &[0.0]).unwrap_err()), "the score of row 0 is 1.5, not a probability in 0..=1");
    assert!(matches!(logloss(&[0.5], &[2.0]), Err(EvaluationError::NotBinary { row: 0, .. })));
    assert!(matches!(auc(&[0.5], &[0.0, 1.0]), Err(EvaluationError::Length { .. })));
    assert!(matches!(gauc(&[0.5], &[0.0], &[]), Err(EvaluationError::Length { .. })));
    assert!(matches!(auc(&[0.5, 0.6], &[1.0, 1.0]), Err(EvaluationError::OneClass { .. })));
}

#[test]
fn bootstrap_covers_the_truth_about_as_often_as_it_says() {
    // 200 samples of 120 Bernoulli(0.3) rows; the percentile interval of a mean covers slightly under 95 %.
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut covered = 0;
    for sample in 0..200 {
        let rows: Vec<f64> = (0..120).map(|_| f64::from(u8::from(uniform() < 0.3))).collect();
        let how = Resampling { resamples: 200, seed: sample, threads: 1 };
        let mean = |draws: &[u32], out: &mut [f64]| {
            out[0] = draws.iter().map(|&row| rows[row as usize]).sum::<f64>() / draws.len() as f64;
        };
        let (low, high) = intervals(how, rows.len(), 1, mean).unwrap()[0];
        assert!(high - low > 0.1 && high - low < 0.25, "width of {low}..{high}: 4 deviations of 0.042 are 0.167");
        covered += u32::from(low <= 0.3 && 0.3 <= high);
    }
    assert!((180..=199).contains(&covered), "{covered} of 200");
}

#[test]
fn bootstrap_is_the_same_on_any_number_of_threads() {
    let compute = |draws: &[u32], out: &mut [f64]| {
        out[0] = draws.iter().map(|&row| f64::from(row)).sum();
        out[1] = draws.iter().map(|&row| f64::from(row).sqrt()).sum();
    };
    let of = |threads, seed| intervals(Resampling { resamples: 37, seed, threads }, 50, 2, compute).unwrap();
    let one = of(1, 3);
    assert!((2..5).all(|threads| of(threads, 3) == one));
    assert_ne!(of(1, 4), one);
    assert_eq!(intervals(Resampling { resamples: 0, seed: 0, threads: 1 }, 5, 1, compute), None);
    assert_eq!(intervals(Resampling { resamples: 5, seed: 0, threads: 1 }, 0, 1, compute), None);
}
