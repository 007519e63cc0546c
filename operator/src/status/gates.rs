//! Whether an evaluation's metrics meet its gates.
//!
//! In: gates and numbers. Out: a verdict a gate. A gate names a metric as results label it: `ndcg@10`, `auc/like`; where
//! it is reported both masked and raw, the masked one is meant. What is not there does not pass.

use recmesh_contract::{Metric, config::Gate};
use recmesh_crds::GateVerdict;

/// The verdict of every gate, in order.
#[must_use]
pub fn verdicts(gates: &[Gate], metrics: &[Metric]) -> Vec<GateVerdict> {
    gates.iter().map(|gate| verdict(gate, metrics)).collect()
}

fn verdict(gate: &Gate, metrics: &[Metric]) -> GateVerdict {
    let label = |metric: &Metric| match &metric.of {
        Some(of) => format!("{}/{of}", metric.name),
        None => metric.name.clone(),
    };
    let named = || metrics.iter().filter(|metric| label(metric) == gate.metric);
    let masked = named().find(|metric| metric.masking.as_deref() == Some("masked"));
    let value = masked.or_else(|| named().next()).map(|metric| metric.value).filter(|value| value.is_finite());
    let within = |value: f64| gate.min.is_none_or(|min| value >= min) && gate.max.is_none_or(|max| value <= max);
    GateVerdict { metric: gate.metric.clone(), value, passed: value.is_some_and(within) }
}

/// The gates that did not pass, each with what it met and what it asks.
#[must_use]
pub fn missed(gates: &[Gate], verdicts: &[GateVerdict]) -> Vec<String> {
    let missed = gates.iter().zip(verdicts).filter(|(_, verdict)| !verdict.passed);
    missed
        .map(|(gate, verdict)| {
            let bounds = [gate.min.map(|min| format!("at least {min}")), gate.max.map(|max| format!("at most {max}"))];
            let bounds: Vec<String> = bounds.into_iter().flatten().collect();
            let value = verdict.value.map_or_else(|| "missing".to_owned(), |value| format!("{value}"));
            format!("{} is {value}, but must be {}", gate.metric, bounds.join(" and "))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(name: &str, value: f64, masking: Option<&str>, of: Option<&str>) -> Metric {
        let text = |it: Option<&str>| it.map(str::to_owned);
        Metric { name: name.into(), value, interval: None, split: None, masking: text(masking), of: text(of) }
    }

    #[test]
    fn a_gate_passes_within_its_bounds_only() {
        let metrics = [
            metric("ndcg@10", 0.3, Some("raw"), None),
            metric("ndcg@10", 0.2, Some("masked"), None),
            metric("auc", 0.7, None, Some("like")),
            metric("loss", f64::NAN, None, None),
        ];
        let gate = |name: &str, min, max| Gate { metric: name.into(), min, max };
        let gates = [
            gate("ndcg@10", Some(0.2), None),
            gate("ndcg@10", Some(0.25), None),
            gate("auc/like", None, Some(0.5)),
            gate("loss", None, Some(9.0)),
            gate("recall@10", Some(0.0), None),
        ];
        let verdicts = verdicts(&gates, &metrics);
        let passed: Vec<bool> = verdicts.iter().map(|it| it.passed).collect();
        assert_eq!(passed, [true, false, false, false, false]);
        assert_eq!(verdicts[1].value, Some(0.2), "the masked one is meant");
        let expected = [
            "ndcg@10 is 0.2, but must be at least 0.25",
            "auc/like is 0.7, but must be at most 0.5",
            "loss is missing, but must be at most 9",
            "recall@10 is missing, but must be at least 0",
        ];
        assert_eq!(missed(&gates, &verdicts), expected);
    }
}
