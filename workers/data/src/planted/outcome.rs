//! What comes of an impression in a planted world: behaviour and labels.
//!
//! In: the truth, an item, the user's taste at that moment. Out: `click`, `like`, `rating`, `watch` and a behaviour, whose
//! chances rise with how near the item is to the taste and with the item's quality. The labels are related but not the
//! same, so that a multi-task ranker has something to share and something to tell apart.

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use super::world::{Taste, Truth, normal};

/// The behaviours: seen, put into the cart, bought.
pub const BEHAVIOURS: [&str; 3] = ["view", "cart", "buy"];
/// The label columns: clicked (0, 1); liked (0, 1; only what was clicked); stars from 1 to 5; share watched, 0 to 1.
pub const LABELS: [&str; 4] = ["click", "like", "rating", "watch"];

/// What came of one impression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// An index into [`BEHAVIOURS`].
    pub(super) behaviour: u8,
    /// In the order of [`LABELS`].
    pub(super) labels: [f32; 4],
}

/// Draws what comes of an impression; `drift` is the share of the taste that has moved by then.
pub(super) fn draw(truth: &Truth, item: usize, taste: &Taste, drift: f32, rng: &mut Pcg64Mcg) -> Outcome {
    let near = (1.0 - drift) * truth.nearness(item, taste.main) + drift * truth.nearness(item, taste.drifted);
    let quality = truth.item_quality[item];
    let appeal = 3.0 * near - 1.5 + 0.8 * quality;
    let click = happens(appeal, rng);
    // Liking asks for quality, buying for nearness: the tasks differ.
    let like = happens(appeal + 0.8 * quality - 1.0, rng) && click;
    let cart = happens(appeal + 2.0 * near - 2.5, rng) && click;
    let buy = happens(appeal - 0.5, rng) && cart;
    let rating = (3.0 + 1.5 * (near - 0.5) + 0.7 * quality + 0.6 * normal(rng)).round().clamp(1.0, 5.0);
    let watched = chance(appeal + 0.8 * normal(rng)) * if click { 1.0 } else { 0.2 };
    let watch = (watched * 1000.0).round() / 1000.0;
    let yes = |yes: bool| f32::from(u8::from(yes));
    Outcome { behaviour: u8::from(cart) + u8::from(buy), labels: [yes(click), yes(like), rating, watch] }
}

fn happens(logit: f32, rng: &mut Pcg64Mcg) -> bool {
    rng.random::<f32>() < chance(logit)
}

fn chance(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}
