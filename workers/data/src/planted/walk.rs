//! The histories of a planted world: which item each user meets when.
//!
//! In: the parameters and the truth. Out: rows by user, in the order of time. What decides the next item, first match
//! wins: the clock (`clock`), the taste of long ago (`longOnly`), the transition from the last item (`transition`), else
//! the user's taste. A shuffled world is drawn like any other; then items and outcomes are each dealt anew over all rows.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recmesh_contract::config::PlantedWorld;

use super::outcome::{self, Outcome};
use super::world::{TRANSITION_WEIGHTS, Truth};

/// The share of taste-driven interactions that go to a bucket drawn at random.
pub const EXPLORE: f64 = 0.1;
/// The share of the other taste-driven interactions that go to the main bucket; the rest go to the second.
pub const MAIN_TASTE: f64 = 0.7;

/// When the first histories start, in seconds since 1970.
const EPOCH: i64 = 1_700_000_000;
/// The span in which histories start, and the mean span of one: ten and fifty days, so that users overlap in time.
const STARTS: i64 = 10 * 86_400;
const SPAN: i64 = 50 * 86_400;

/// Rows by user, oldest first.
pub(super) struct Walked {
    pub(super) user: Vec<u32>,
    pub(super) item: Vec<u32>,
    pub(super) time: Vec<i64>,
    pub(super) outcomes: Vec<Outcome>,
}

/// Draws every history.
pub(super) fn walk(world: &PlantedWorld, truth: &Truth) -> Walked {
    let mut rng = Pcg64Mcg::seed_from_u64(world.seed ^ 0x57a1_6b0e);
    let pools: Vec<Pool> = truth.pools().into_iter().map(|items| Pool::new(items, world.zipf)).collect();
    let rows = world.users as usize * world.length as usize;
    let [mut user, mut item] = [Vec::with_capacity(rows), Vec::with_capacity(rows)];
    let (mut time, mut outcomes) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    let gap = (2 * SPAN / i64::from(world.length)).max(120);
    for (who, taste) in (0u32..).zip(&truth.user_tastes) {
        // Uniform from 3 to twice the mean less 3, so that the mean is the one asked for.
        let length = rng.random_range(3..=2 * world.length - 3);
        let mut now = EPOCH + rng.random_range(0..STARTS);
        let mut last = None;
        for place in 0..length {
            now += rng.random_range(60..gap);
            let late = place >= length / 2;
            let remembered = place < length.div_ceil(4) || place + 3 >= length;
            let chosen = if rng.random_bool(world.clock) {
                pools[truth.clock[(now / 3600 % 24) as usize] as usize].draw(&mut rng)
            } else if remembered && rng.random_bool(world.long_only) {
                pools[taste.oldest as usize].draw(&mut rng)
            } else if let Some(last) = last.filter(|_| rng.random_bool(world.transition)) {
                follow(&truth.transition, last, &mut rng)
            } else {
                let bucket = if rng.random_bool(EXPLORE) {
                    rng.random_range(0..truth.buckets)
                } else if late && rng.random_bool(world.drift) {
                    taste.drifted
                } else if rng.random_bool(MAIN_TASTE) {
                    taste.main
                } else {
                    taste.second
                };
                pools[bucket as usize].draw(&mut rng)
            };
            last = Some(chosen);
            let drift = if late { world.drift as f32 } else { 0.0 };
            user.push(who);
            item.push(chosen);
            time.push(now);
            outcomes.push(outcome::draw(truth, chosen as usize, taste, drift, &mut rng));
        }
    }
    if world.shuffled {
        item.shuffle(&mut rng);
        outcomes.shuffle(&mut rng);
    }
    Walked { user, item, time, outcomes }
}

fn follow(transition: &[[u32; 3]], last: u32, rng: &mut Pcg64Mcg) -> u32 {
    let successors = transition[last as usize];
    let [first, second, _] = TRANSITION_WEIGHTS;
    match rng.random::<f64>() {
        drawn if drawn < first => successors[0],
        drawn if drawn < first + second => successors[1],
        _ => successors[2],
    }
}

/// The items of a bucket with Zipf weights by rank.
struct Pool {
    items: Vec<u32>,
    cumulative: Vec<f64>,
}

impl Pool {
    fn new(items: Vec<u32>, zipf: f64) -> Self {
        let weights = (1..=items.len()).scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-zipf);
            Some(*sum)
        });
        Self { cumulative: weights.collect(), items }
    }

    fn draw(&self, rng: &mut Pcg64Mcg) -> u32 {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let drawn = rng.random::<f64>() * total;
        let place = self.cumulative.partition_point(|&sum| sum <= drawn).min(self.items.len() - 1);
        self.items[place]
    }
}
