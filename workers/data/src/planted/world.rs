//! The structure of a planted world: buckets in three levels, items in buckets, successors, tastes of users.
//!
//! In: parameters. Out: the [`Truth`], drawn from the seed alone. Nothing here draws an interaction.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recmesh_contract::config::PlantedWorld;

use crate::DataError;

/// How likely each of an item's successors is, when the next item follows the transition.
pub const TRANSITION_WEIGHTS: [f64; 3] = [0.6, 0.3, 0.1];

/// What is true of a planted world. Items, users and buckets go by the world's own numbers, from 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// How many buckets; never more than items.
    pub buckets: u32,
    /// Buckets of one middle bucket, and middle buckets of one top bucket (the last may have fewer).
    pub branching: u32,
    /// The buckets of each item: the second differs from the first for shared items alone.
    pub item_buckets: Vec<[u32; 2]>,
    /// The place of each item among those of its first bucket, most popular first.
    pub item_ranks: Vec<u32>,
    /// How good each item is, whoever sees it: standard normal. Raises every label.
    pub item_quality: Vec<f32>,
    /// What each user likes.
    pub user_tastes: Vec<Taste>,
    /// The successors of each item, with [`TRANSITION_WEIGHTS`]: items of the next bucket of the same middle bucket.
    pub transition: Vec<[u32; 3]>,
    /// The bucket of each hour of the day, where the clock decides.
    pub clock: [u32; 24],
}

/// What a user likes: buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taste {
    /// Mostly this one.
    pub main: u32,
    /// Sometimes this one, of the same middle bucket.
    pub second: u32,
    /// Where the drifting share of the taste goes halfway through the history: a bucket of another middle bucket.
    pub drifted: u32,
    /// What shows in the oldest quarter of the history and in its last three items alone: of another middle bucket.
    pub oldest: u32,
}

impl Truth {
    /// How many items.
    #[must_use]
    pub fn items(&self) -> usize {
        self.item_buckets.len()
    }

    /// How many users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.user_tastes.len()
    }

    /// The world's number of an item or a user, from its id in the data set (`i12`, `u7`).
    #[must_use]
    pub fn number(id: &str) -> Option<usize> {
        id.get(1..).and_then(|digits| digits.parse().ok())
    }

    /// The three levels of a bucket: top, middle, itself. Numbers of a level are unique over the world.
    #[must_use]
    pub fn path(&self, bucket: u32) -> [u32; 3] {
        [bucket / (self.branching * self.branching), bucket / self.branching, bucket]
    }

    /// Whether an item is in a bucket.
    #[must_use]
    pub fn is_in(&self, item: usize, bucket: u32) -> bool {
        self.item_buckets[item].contains(&bucket)
    }

    /// How near an item is to a bucket: 1 in it, 0.6 in its middle bucket, 0.3 in its top bucket, else 0.
    #[must_use]
    pub fn nearness(&self, item: usize, bucket: u32) -> f32 {
        let near = |of: u32| {
            let (a, b) = (self.path(of), self.path(bucket));
            match (a[2] == b[2], a[1] == b[1], a[0] == b[0]) {
                (true, ..) => 1.0,
                (_, true, _) => 0.6,
                (_, _, true) => 0.3,
                _ => 0.0,
            }
        };
        let [first, second] = self.item_buckets[item];
        f32::max(near(first), near(second))
    }

    /// The items of each bucket, most popular first.
    #[must_use]
    pub fn pools(&self) -> Vec<Vec<u32>> {
        let mut pools = vec![Vec::new(); self.buckets as usize];
        for (item, &[first, second]) in (0u32..).zip(&self.item_buckets) {
            pools[first as usize].push(item);
            if second != first {
                pools[second as usize].push(item);
            }
        }
        for pool in &mut pools {
            pool.sort_by_key(|&item| self.item_ranks[item as usize]);
        }
        pools
    }

    /// The buckets of the same middle bucket, this one included.
    pub(super) fn family(&self, bucket: u32) -> std::ops::Range<u32> {
        let first = bucket / self.branching * self.branching;
        first..(first + self.branching).min(self.buckets)
    }
}

/// Refuses parameters out of their ranges; the schema says the same, but code can make worlds too.
pub(super) fn check(world: &PlantedWorld) -> Result<(), DataError> {
    let wrong = |field: &'static str, reason: &str| Err(DataError::Params { field, reason: reason.to_owned() });
    let shares = [
        ("source.planted.transition", world.transition),
        ("source.planted.drift", world.drift),
        ("source.planted.longOnly", world.long_only),
        ("source.planted.sharedItems", world.shared_items),
        ("source.planted.clock", world.clock),
    ];
    for (field, share) in shares {
        if !(0.0..=1.0).contains(&share) {
            return wrong(field, "it is a share; give a number from 0 to 1");
        }
    }
    if !(0.0..=3.0).contains(&world.zipf) {
        return wrong("source.planted.zipf", "give a number from 0 to 3");
    }
    if world.users == 0 || world.items == 0 || world.buckets == 0 {
        return wrong("source.planted", "users, items and buckets are at least 1");
    }
    if world.length < 3 {
        return wrong("source.planted.length", "a user has at least 3 interactions");
    }
    if u64::from(world.users) * u64::from(world.length) > u64::from(u32::MAX) / 2 {
        return wrong("source.planted", "users times length is at most 2,147,483,647");
    }
    Ok(())
}

/// Draws the structure.
pub(super) fn make(world: &PlantedWorld) -> Truth {
    let mut rng = Pcg64Mcg::seed_from_u64(world.seed);
    let buckets = world.buckets.min(world.items);
    let branching = (1..).find(|&r: &u32| r.pow(3) >= buckets).unwrap_or(1);
    let mut order: Vec<u32> = (0..world.items).collect();
    order.shuffle(&mut rng);
    let items = world.items as usize;
    let (mut item_buckets, mut item_ranks) = (vec![[0; 2]; items], vec![0; items]);
    for (place, &item) in (0u32..).zip(&order) {
        item_buckets[item as usize] = [place % buckets; 2];
        item_ranks[item as usize] = place / buckets;
    }
    for of in &mut item_buckets {
        // Drawn for every item, so that the rest of the world does not depend on the share.
        let (shared, other) = (rng.random_bool(world.shared_items), rng.random_range(0..buckets));
        if shared {
            of[1] = if other == of[0] { (other + 1) % buckets } else { other };
        }
    }
    let mut truth = Truth {
        buckets,
        branching,
        item_buckets,
        item_ranks,
        item_quality: (0..items).map(|_| normal(&mut rng)).collect(),
        user_tastes: Vec::new(),
        transition: Vec::new(),
        clock: std::array::from_fn(|_| rng.random_range(0..buckets)),
    };
    truth.transition = successors(&truth, &mut rng);
    truth.user_tastes = (0..world.users).map(|_| taste(&truth, &mut rng)).collect();
    truth
}

/// Three items of the next bucket of the family for each item; different ones where there are enough.
fn successors(truth: &Truth, rng: &mut Pcg64Mcg) -> Vec<[u32; 3]> {
    let mut pools = vec![Vec::new(); truth.buckets as usize];
    for (item, of) in (0u32..).zip(&truth.item_buckets) {
        pools[of[0] as usize].push(item);
    }
    let next = |bucket: u32| {
        let family = truth.family(bucket);
        if bucket + 1 < family.end { bucket + 1 } else { family.start }
    };
    let mut draw = |of: &[u32; 2]| {
        let pool: &[u32] = &pools[next(of[0]) as usize];
        let from = rng.random_range(0..pool.len());
        // Steps of a third of the pool keep the three apart, and uniform.
        let step = (pool.len() / 3).max(1);
        [0, 1, 2].map(|place| pool[(from + place * step) % pool.len()])
    };
    truth.item_buckets.iter().map(&mut draw).collect()
}

fn taste(truth: &Truth, rng: &mut Pcg64Mcg) -> Taste {
    let main = rng.random_range(0..truth.buckets);
    let family = truth.family(main);
    let size = family.end - family.start;
    let step = if size > 1 { rng.random_range(1..size) } else { 0 };
    let second = family.start + (main - family.start + step) % size;
    // Uniform over the buckets outside the family; within it only where there is nothing else.
    let outside = truth.buckets - size;
    let mut elsewhere = || match outside {
        0 => rng.random_range(0..truth.buckets),
        _ => {
            let drawn = rng.random_range(0..outside);
            if drawn < family.start { drawn } else { drawn + size }
        }
    };
    let (drifted, oldest) = (elsewhere(), elsewhere());
    Taste { main, second, drifted, oldest }
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(rng: &mut Pcg64Mcg) -> f32 {
    let (radius, turn): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    ((-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()) as f32
}
