//! The best items of a model for held-out targets, to be compared with those of the same model computed otherwise.
//!
//! In: a model, a part of a data set. Out: a list of items a target, how often the target was among them, and how much
//! two such answers share. Histories are masked but for the target, as in an evaluation; ties go by index, so that equal
//! scores give equal lists. Counts are whole numbers: figures do not depend on threads.

use recmesh_contract::config::Masking;
use recmesh_contract::{ItemIndex, Recommend, Ties};
use recmesh_data::{Interactions, Part};

use crate::EvaluationError;
use crate::answers::{BATCH, Question};
use crate::cases::{Case, cases};
use crate::threads::map;

/// What a model answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The best items for every target, best first.
    pub items: Vec<Vec<ItemIndex>>,
    /// Share of the targets that are among them.
    pub recall: f64,
}

/// The best `k` items for at most `sample` targets of a part, evenly spread (0: all). With one thread the model is asked
/// in order.
///
/// # Errors
/// See [`EvaluationError`].
pub fn best(
    model: &dyn Recommend,
    data: &Interactions,
    part: Part,
    k: usize,
    sample: usize,
    threads: usize,
) -> Result<Best, EvaluationError> {
    let cases = cases(&data.sequences, part, sample, 0);
    if cases.is_empty() {
        return Err(EvaluationError::NoTargets { split: part.as_str() });
    }
    let batches: Vec<&[Case<'_>]> = cases.chunks(BATCH).collect();
    let models: Vec<_> = (0..threads.clamp(1, batches.len())).map(|_| model.fork()).collect();
    let question = Question { k, masking: Masking::Masked, ties: &|_| Ties::ByIndex, items: data.items.len() };
    let (answers, _) =
        map(models, batches.len(), &|_| (), |model, batch| question.put(&mut **model, batches[batch], batch * BATCH));
    let mut items: Vec<Vec<ItemIndex>> = Vec::with_capacity(cases.len());
    for answers in answers {
        items.extend(answers?.into_iter().map(|answer| answer.into_iter().map(|candidate| candidate.item).collect()));
    }
    let hits = cases.iter().zip(&items).filter(|(case, items)| items.contains(&case.target)).count();
    Ok(Best { recall: hits as f64 / cases.len() as f64, items })
}

impl Best {
    /// Share of the best items that another answer to the same targets has, too, averaged over targets. Where both
    /// answer nothing, they agree.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> f64 {
        let share = |(one, two): (&Vec<ItemIndex>, &Vec<ItemIndex>)| {
            let length = one.len().max(two.len());
            let shared = one.iter().filter(|item| two.contains(item)).count();
            if length == 0 { 1.0 } else { shared as f64 / length as f64 }
        };
        let sum: f64 = self.items.iter().zip(&other.items).map(share).sum();
        sum / self.items.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_longer_list_and_in_any_order() {
        let best = |items: &[&[u32]]| Best { items: items.iter().map(|it| it.to_vec()).collect(), recall: 0.0 };
        let exact = best(&[&[1, 2, 3, 4], &[], &[5]]);
        assert_eq!(exact.overlap(&exact), 1.0);
        assert_eq!(exact.overlap(&best(&[&[4, 3, 2, 1], &[], &[5]])), 1.0);
        assert_eq!(exact.overlap(&best(&[&[1, 2, 8, 9], &[], &[]])), 0.5);
        assert_eq!(exact.overlap(&best(&[&[1], &[7], &[5]])), (0.25 + 0.0 + 1.0) / 3.0);
    }
}
