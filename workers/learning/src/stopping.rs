//! Which epoch was best, and whether to go on.
//!
//! In: a validation metric after an epoch, higher is better. Out: whether it is the best so far, and whether patience
//! has run out. Keeps no weights.

use serde::{Deserialize, Serialize};

/// The best validation so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Stopping {
    /// Best metric and its epoch, from 1.
    pub best: Option<(f64, u32)>,
    /// The last epoch that was validated.
    pub last: u32,
}

impl Stopping {
    /// Takes the metric of an epoch; true when it is better than all before. An equal one is not.
    pub fn observe(&mut self, epoch: u32, metric: f64) -> bool {
        self.last = epoch;
        let better = self.best.is_none_or(|(best, _)| metric > best);
        if better {
            self.best = Some((metric, epoch));
        }
        better
    }

    /// Whether the last validated epoch is at least `patience` past the best; a patience of 0 never runs out.
    pub fn exhausted(&self, patience: u32) -> bool {
        patience > 0 && self.best.is_some_and(|(_, epoch)| self.last >= epoch.saturating_add(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_epochs_since_the_best() {
        let mut stopping = Stopping::default();
        assert!(!stopping.exhausted(1), "nothing was validated yet");
        assert!(stopping.observe(1, 0.1));
        assert!(stopping.observe(2, 0.3));
        assert!(!stopping.observe(3, 0.3), "equal is not better");
        assert!(!stopping.exhausted(2));
        assert!(!stopping.observe(4, 0.2));
        assert!(stopping.exhausted(2));
        assert!(!stopping.exhausted(0), "0 never stops");
        assert_eq!(stopping.best, Some((0.3, 2)));
    }

    #[test]
    fn metrics_below_zero_can_be_best() {
        let mut stopping = Stopping::default();
        assert!(stopping.observe(1, -3.0));
        assert!(stopping.observe(2, -1.0));
    }
}
