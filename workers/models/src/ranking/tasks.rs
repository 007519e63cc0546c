//! The tasks of a ranking model: names, loss weights, labels of rows.
//!
//! In: what the manifest declares, and rows whose labels may be unknown. Out: the weighted loss over known labels. Never
//! looks at features.

use recmesh_contract::config::Task;
use recmesh_kernels::{Tape, Var};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// A task as the model keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Head {
    /// What answers, weights and metrics call it.
    pub name: String,
    /// Weight in the loss.
    pub weight: f64,
}

/// The heads of declared tasks.
pub(super) fn heads(tasks: &[Task]) -> Result<Vec<Head>, ModelError> {
    let heads: Vec<Head> = tasks.iter().map(|t| Head { name: t.name.clone(), weight: t.weight }).collect();
    check(&heads)?;
    Ok(heads)
}

/// That there are tasks, with different names and a loss that is not empty.
pub(super) fn check(heads: &[Head]) -> Result<(), ModelError> {
    let twice = heads.iter().enumerate().find(|(i, head)| heads[..*i].iter().any(|h| h.name == head.name));
    if let Some((_, head)) = twice {
        return Err(ModelError::parameter("tasks", format!("two are called {:?}; names must differ", head.name)));
    }
    let usable = |w: f64| w.is_finite() && w >= 0.0;
    if !heads.iter().all(|h| usable(h.weight)) || heads.iter().all(|h| h.weight == 0.0) {
        return Err(ModelError::parameter("tasks", "give at least one task a weight above 0, and none one below 0"));
    }
    Ok(())
}

/// Sum of the task weights of a row's known labels: what the loss of a step is divided by.
pub(super) fn weight(heads: &[Head], labels: &[Option<bool>]) -> f64 {
    heads.iter().zip(labels).filter(|(_, label)| label.is_some()).map(|(head, _)| head.weight).sum()
}

/// `Σ over rows and known labels of weight · BCE`, as a 1×1 value. One logit column a task.
pub(super) fn loss<'a>(
    tape: &mut Tape<'_>,
    heads: &[Head],
    logits: &[Var],
    rows: impl Iterator<Item = &'a [Option<bool>]> + Clone,
) -> Var {
    let mut sum = None;
    for (task, (head, &logits)) in heads.iter().zip(logits).enumerate() {
        let of = |labels: &[Option<bool>]| labels.get(task).copied().flatten();
        let labels: Vec<f32> = rows.clone().map(|l| f32::from(of(l) == Some(true))).collect();
        let weights: Vec<f32> = rows.clone().map(|l| of(l).map_or(0.0, |_| head.weight as f32)).collect();
        let own = tape.bce_loss(logits, &labels, Some(&weights));
        sum = Some(match sum {
            Some(before) => tape.add(before, own),
            None => own,
        });
    }
    // A model has at least one task; the constant is only for the type.
    sum.unwrap_or_else(|| tape.constant(1, 1, &[0.0]))
}
