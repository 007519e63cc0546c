//! The rate over a run, as a share of its highest value.
//!
//! In: the step and the number of steps. Out: a share in `0..=1` that every optimizer multiplies its rate with.

use std::f64::consts::PI;

use recmesh_contract::config::{Decay, Schedule};

/// The share of the highest rate at `step` (from 0) of `total` steps.
///
/// Warm-up: step `i` of `w` has `(i + 1) / w`, so that no step is lost at rate 0 and step `w − 1` has the full rate.
/// Cosine: from there half a cosine down to `floor`, which the last step has.
#[must_use]
pub fn share_of_rate(schedule: &Schedule, step: u64, total: u64) -> f64 {
    let warmup = u64::from(schedule.warmup_steps);
    if step < warmup {
        return (step + 1) as f64 / warmup as f64;
    }
    match schedule.decay {
        Decay::Constant => 1.0,
        Decay::Cosine => {
            let top = warmup.saturating_sub(1);
            let span = total.saturating_sub(1).saturating_sub(top);
            if span == 0 {
                return 1.0;
            }
            let part = ((step - top) as f64 / span as f64).min(1.0);
            schedule.floor + (1.0 - schedule.floor) * 0.5 * (1.0 + (PI * part).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} and {b}");
    }

    #[test]
    fn warm_up_is_linear_and_then_stays() {
        let schedule = Schedule { warmup_steps: 4, decay: Decay::Constant, floor: 0.0 };
        let shares: Vec<f64> = (0..6).map(|step| share_of_rate(&schedule, step, 100)).collect();
        assert_eq!(shares, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn cosine_starts_at_the_top_and_ends_at_the_floor() {
        let schedule = Schedule { warmup_steps: 0, decay: Decay::Cosine, floor: 0.1 };
        close(share_of_rate(&schedule, 0, 101), 1.0);
        close(share_of_rate(&schedule, 50, 101), 0.55);
        close(share_of_rate(&schedule, 25, 101), 0.1 + 0.9 * 0.5 * (1.0 + (PI / 4.0).cos()));
        close(share_of_rate(&schedule, 100, 101), 0.1);
        close(share_of_rate(&schedule, 500, 101), 0.1);
    }

    #[test]
    fn cosine_after_warm_up_has_no_jump() {
        let schedule = Schedule { warmup_steps: 10, decay: Decay::Cosine, floor: 0.0 };
        close(share_of_rate(&schedule, 9, 110), 1.0);
        assert!(share_of_rate(&schedule, 10, 110) > 0.999);
        close(share_of_rate(&schedule, 109, 110), 0.0);
    }

    #[test]
    fn warm_up_longer_than_the_run_and_runs_of_one_step() {
        let schedule = Schedule { warmup_steps: 10, decay: Decay::Cosine, floor: 0.0 };
        close(share_of_rate(&schedule, 4, 5), 0.5);
        close(share_of_rate(&Schedule { warmup_steps: 0, ..schedule.clone() }, 0, 1), 1.0);
        close(share_of_rate(&Schedule { warmup_steps: 1, ..schedule }, 0, 1), 1.0);
    }
}
