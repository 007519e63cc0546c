//! Compares metrics with the bounds that an EvaluationJob declares.
//!
//! In: gates and metrics. Out: a verdict a gate. A gate names a metric as results label it: `ndcg@10`, `auc/like`,
//! `ndcg@10/control`; where it is reported both masked and raw, the masked one is meant.

use recmesh_contract::Metric;
use recmesh_contract::config::Gate;

use crate::EvaluationError;

/// What came of a gate.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The gate.
    pub gate: Gate,
    /// The value compared.
    pub value: f64,
    /// Whether it is within the bounds, ends included.
    pub passed: bool,
}

/// The verdict of every gate, in order.
///
/// # Errors
/// [`EvaluationError::UnknownMetric`] for a gate without a metric.
pub fn check(gates: &[Gate], metrics: &[Metric]) -> Result<Vec<Verdict>, EvaluationError> {
    gates.iter().map(|gate| verdict(gate, metrics)).collect()
}

/// The name by which gates and tables mean a metric: its name, then `/` and what it is of.
#[must_use]
pub fn label(metric: &Metric) -> String {
    match &metric.of {
        Some(of) => format!("{}/{of}", metric.name),
        None => metric.name.clone(),
    }
}

fn verdict(gate: &Gate, metrics: &[Metric]) -> Result<Verdict, EvaluationError> {
    let named = || metrics.iter().filter(|metric| label(metric) == gate.metric);
    let masked = named().find(|metric| metric.masking.as_deref() == Some("masked"));
    let Some(metric) = masked.or_else(|| named().next()) else {
        let mut known: Vec<String> = Vec::new();
        for label in metrics.iter().map(label) {
            if !known.contains(&label) {
                known.push(label);
            }
        }
        return Err(EvaluationError::UnknownMetric { gate: gate.metric.clone(), known });
    };
    // Written so that NaN fails.
    let passed = gate.min.is_none_or(|min| metric.value >= min) && gate.max.is_none_or(|max| metric.value <= max);
    Ok(Verdict { gate: gate.clone(), value: metric.value, passed: passed && !metric.value.is_nan() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, value: f64, masking: Option<&str>, of: Option<&str>) -> Metric {
        let (masking, of) = (masking.map(str::to_owned), of.map(str::to_owned));
        Metric { name: name.to_owned(), value, interval: None, split: None, masking, of }
    }

    fn gate(metric: &str, min: Option<f64>, max: Option<f64>) -> Gate {
        Gate { metric: metric.to_owned(), min, max }
    }

    fn metrics() -> Vec<Metric> {
        vec![
            metric("ndcg@10", 0.02, Some("raw"), None),
            metric("ndcg@10", 0.03, Some("masked"), None),
            metric("ndcg@10", 0.005, Some("masked"), Some("control")),
            metric("auc", 0.7, None, Some("like")),
            metric("auc", f64::NAN, None, Some("share")),
        ]
    }

    #[test]
    fn bounds_are_inclusive_and_masked_is_meant() {
        let gates = [
            gate("ndcg@10", Some(0.03), None),
            gate("ndcg@10", Some(0.031), None),
            gate("ndcg@10/control", None, Some(0.01)),
            gate("auc/like", Some(0.5), Some(0.69)),
            gate("auc/share", Some(0.0), None),
            gate("auc/share", None, None),
        ];
        let passed: Vec<bool> = check(&gates, &metrics()).unwrap().iter().map(|verdict| verdict.passed).collect();
        assert_eq!(passed, [true, false, true, false, false, false]);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = check(&[gate("auc", Some(0.5), None)], &metrics()).unwrap_err().to_string();
        assert_eq!(
            error,
            "gate \"auc\" names no metric of this evaluation; there are: ndcg@10, ndcg@10/control, auc/like, auc/share"
        );
    }
}
