//! Evaluates task scores of a ranking model against labels.
//!
//! In: scores and labels, row-major `rows × tasks`, and users where there are any. Out: for each task AUC, GAUC and
//! logloss over the rows whose label is known. Sampling rows is the caller's, who then need not score the others: see
//! [`crate::spread`].

use recmesh_contract::Metric;
use recmesh_contract::config::{EvaluationParams, EvaluationSplit};

use crate::EvaluationError;
use crate::cases::mix;
use crate::metrics::{Resampling, auc, gauc, intervals, losses};

/// AUC with DeLong's interval, GAUC with a bootstrap over users, logloss with a bootstrap over rows; `of` names the
/// task. GAUC is left out without users, or when no user has both classes. `bootstrap: 0` reports no interval at all. A
/// label that is NaN is unknown: its row is left out of its task.
///
/// # Errors
/// [`EvaluationError::Task`] naming the task, with the row or reason inside.
pub fn ranking(
    scores: &[f32],
    labels: &[f32],
    users: Option<&[u32]>,
    tasks: &[String],
    params: &EvaluationParams,
) -> Result<Vec<Metric>, EvaluationError> {
    let split = match params.split {
        EvaluationSplit::Validation => "validation",
        EvaluationSplit::Test => "test",
    };
    if scores.is_empty() || tasks.is_empty() {
        return Err(EvaluationError::NoTargets { split });
    }
    if labels.len() != scores.len() {
        return Err(EvaluationError::Length { what: "labels", found: labels.len(), wanted: scores.len() });
    }
    if !scores.len().is_multiple_of(tasks.len()) {
        let wanted = scores.len().next_multiple_of(tasks.len());
        return Err(EvaluationError::Length { what: "scores", found: scores.len(), wanted });
    }
    let rows = scores.len() / tasks.len();
    if let Some(users) = users.filter(|users| users.len() != rows) {
        return Err(EvaluationError::Length { what: "users", found: users.len(), wanted: rows });
    }
    let mut metrics = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        let cell = |row: usize| row * tasks.len() + at;
        let known: Vec<usize> = (0..rows).filter(|&row| !labels[cell(row)].is_nan()).collect();
        let column = |values: &[f32]| -> Vec<f32> { known.iter().map(|&row| values[cell(row)]).collect() };
        let users: Option<Vec<u32>> = users.map(|users| known.iter().map(|&row| users[row]).collect());
        let seed = mix(params.seed, at as u64);
        let of_task = match (0..rows).find(|&row| scores[cell(row)].is_nan()) {
            Some(row) => Err(EvaluationError::NotANumber { what: "score", row }),
            None if known.is_empty() => Err(EvaluationError::NoTargets { split }),
            None => one_task(&column(scores), &column(labels), users.as_deref(), params.bootstrap as usize, seed),
        };
        let of_task = of_task.map_err(|error| EvaluationError::Task { task: task.clone(), source: Box::new(error) })?;
        metrics.extend(of_task.into_iter().map(|(name, value, interval)| Metric {
            name: name.to_owned(),
            value,
            interval,
            split: Some(split.to_owned()),
            masking: None,
            of: Some(task.clone()),
        }));
    }
    Ok(metrics)
}

type Named = (&'static str, f64, Option<(f64, f64)>);

fn one_task(
    scores: &[f32],
    labels: &[f32],
    users: Option<&[u32]>,
    resamples: usize,
    seed: u64,
) -> Result<Vec<Named>, EvaluationError> {
    let how = Resampling { resamples, seed, threads: 1 };
    let first = |intervals: Option<Vec<(f64, f64)>>| intervals.and_then(|intervals| intervals.first().copied());

    let area = auc(scores, labels)?;
    let mut made = vec![("auc", area.value, area.interval().filter(|_| resamples > 0))];
    if let Some(users) = users {
        let grouped = gauc(scores, labels, users)?;
        if let Some(value) = grouped.value() {
            let interval = intervals(how, grouped.users.len(), 1, |draws, values| {
                values[0] = grouped.value_of(draws.iter().copied());
            });
            made.push(("gauc", value, first(interval)));
        }
    }
    let losses = losses(scores, labels)?;
    let mean = |sum: f64| sum / losses.len() as f64;
    let interval = intervals(how, losses.len(), 1, |draws, values| {
        values[0] = mean(draws.iter().map(|&row| losses[row as usize]).sum());
    });
    made.push(("logloss", mean(losses.iter().sum()), first(interval)));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(bootstrap: u32) -> EvaluationParams {
        EvaluationParams {
            split: EvaluationSplit::Validation,
            k: vec![10],
            masking: None,
            sample: 0,
            bootstrap,
            shuffled_control: false,
            seed: 1,
            gates: vec![],
        }
    }

    fn tasks() -> Vec<String> {
        vec!["like".to_owned(), "share".to_owned()]
    }

    #[test]
    fn tasks_are_columns_and_every_metric_is_named() {
        // like: the known 0.75; share: its mirror.
        let scores = [0.1, 0.9, 0.4, 0.6, 0.35, 0.65, 0.8, 0.2];
        let labels = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0];
        let metrics = ranking(&scores, &labels, Some(&[5, 5, 5, 5]), &tasks(), &params(50)).unwrap();
        let names: Vec<String> = metrics.iter().map(crate::label).collect();
        assert_eq!(names, ["auc/like", "gauc/like", "logloss/like", "auc/share", "gauc/share", "logloss/share"]);
        let value = |at: usize| metrics[at].value;
        assert_eq!((value(0), value(1), value(3)), (0.75, 0.75, 0.25));
        assert!(metrics.iter().all(|metric| metric.split.as_deref() == Some("validation")));
        for metric in &metrics {
            let (low, high) = metric.interval.unwrap();
            assert!(low <= metric.value && metric.value <= high, "{metric:?}");
        }
        let bare = ranking(&scores, &labels, None, &tasks(), &params(0)).unwrap();
        assert_eq!(bare.len(), 4);
        assert!(bare.iter().all(|metric| metric.interval.is_none()));
        let alone = ranking(&scores, &labels, Some(&[1, 2, 3, 4]), &tasks(), &params(0)).unwrap();
        assert_eq!(alone.len(), 4, "no user has both classes: no GAUC");
    }

    #[test]
    fn rows_with_an_unknown_label_are_left_out_of_their_task_alone() {
        // The second row knows nothing of `share`; counted as a no, it would halve the area.
        let (scores, labels) = ([0.1, 0.3, 0.4, 0.9, 0.8, 0.5], [0.0, 0.0, 0.0, f32::NAN, 1.0, 1.0]);
        let metrics = ranking(&scores, &labels, Some(&[5, 6, 5]), &tasks(), &params(20)).unwrap();
        let known = ranking(&[0.3, 0.5], &[0.0, 1.0], Some(&[5, 5]), &tasks()[1..], &params(0)).unwrap();
        let values = |metrics: &[Metric]| metrics.iter().map(|metric| metric.value).collect::<Vec<_>>();
        assert_eq!(metrics.len(), 6);
        assert_eq!((metrics[0].value, values(&metrics[3..])), (1.0, values(&known)));
        let error = ranking(&[0.1, 0.2], &[f32::NAN; 2], None, &tasks()[..1], &params(0)).unwrap_err().to_string();
        assert_eq!(
            error,
            "task like: the validation split has no target; choose another split or check the data set's split rule"
        );
    }

    #[test]
    fn errors_name_the_task() {
        let error = ranking(&[0.1, 0.2, 0.3, f32::NAN], &[0.0, 0.0, 1.0, 1.0], None, &tasks(), &params(0));
        assert_eq!(error.unwrap_err().to_string(), "task share: the score of row 1 is not a number");
        let error = ranking(&[0.1, 0.2], &[1.0, 0.0], None, &tasks(), &params(0)).unwrap_err().to_string();
        assert!(error.starts_with("task like: all labels are 1"), "{error}");
        assert!(ranking(&[0.1], &[1.0], None, &tasks(), &params(0)).is_err());
        assert!(ranking(&[], &[], None, &tasks(), &params(0)).is_err());
        assert!(ranking(&[0.1, 0.2], &[1.0], None, &tasks(), &params(0)).is_err());
    }
}
