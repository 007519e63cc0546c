//! Which worker gets a call. Pure: what is known of the workers comes in, an index goes out.
//!
//! | affinity | worker |
//! |---|---|
//! | none, or a call without a user | the cheaper of two drawn at random: latency so far × calls in flight |
//! | user | the user's home by rendezvous hashing, unless it has far more in flight than the others |
//!
//! Rendezvous: every worker's name is hashed with the user, the highest wins; so all gateways agree, and when a worker
//! comes or goes only its own users move (Thaler, Ravishankar 1998). The bound on the load is that of Mirrokni et al.
//! 2018. Two choices: Mitzenmacher 2001.

/// What is known of a worker that can be called.
#[derive(Clone, Debug)]
pub(crate) struct View<'a> {
    /// Its name.
    pub name: &'a str,
    /// Calls in flight from here.
    pub in_flight: usize,
    /// How long its calls took lately, in seconds; 0 while unknown.
    pub latency: f64,
    /// Whether it failed too often just now.
    pub ejected: bool,
}

/// A worker that answers faster than this is not told apart from another.
const FASTEST: f64 = 0.0005;
/// A home may have this many times the mean in flight, and [`SLACK`] more.
const BOUND: f64 = 1.25;
const SLACK: f64 = 4.0;

/// Chooses one of `views`: not `avoid`, and none that is ejected unless all are. `draw` is any two random numbers.
pub(crate) fn pick(views: &[View<'_>], user: Option<u64>, avoid: Option<usize>, draw: [u64; 2]) -> Option<usize> {
    let open = |healthy: bool| {
        let allowed = move |(index, view): &(usize, &View<'_>)| Some(*index) != avoid && !(healthy && view.ejected);
        views.iter().enumerate().filter(allowed).map(|(index, _)| index).collect::<Vec<usize>>()
    };
    let mut open_now = open(true);
    if open_now.is_empty() {
        open_now = open(false);
    }
    let home = user.and_then(|user| open_now.iter().copied().max_by_key(|&index| affinity(user, views[index].name)));
    if let Some(home) = home {
        let in_flight: usize = open_now.iter().map(|&index| views[index].in_flight).sum();
        let mean = in_flight as f64 / open_now.len() as f64;
        if views[home].in_flight as f64 <= BOUND * mean + SLACK {
            return Some(home);
        }
    }
    two_choices(views, &open_now, draw)
}

fn two_choices(views: &[View<'_>], open: &[usize], [first, second]: [u64; 2]) -> Option<usize> {
    let of = |number: u64, count: usize| (number % count as u64) as usize;
    match open {
        [] => None,
        [only] => Some(*only),
        _ => {
            let one = of(first, open.len());
            // One of the others, each as likely.
            let other = (one + 1 + of(second, open.len() - 1)) % open.len();
            let cost = |index: usize| (views[index].in_flight + 1) as f64 * views[index].latency.max(FASTEST);
            let (one, other) = (open[one], open[other]);
            Some(if cost(other) < cost(one) { other } else { one })
        }
    }
}

/// How much a user belongs to a worker.
fn affinity(user: u64, worker: &str) -> u64 {
    mix(user ^ key(worker.as_bytes()))
}

/// A hash that is the same in every process: FNV-1a, then mixed.
pub(crate) fn key(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)))
}

/// Spreads every bit over all (the finaliser of SplitMix64).
pub(crate) fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str) -> View<'_> {
        View { name, in_flight: 0, latency: 0.01, ejected: false }
    }

    fn draws() -> impl Iterator<Item = [u64; 2]> {
        (0..1000u64).map(|i| [mix(i), mix(i + 5_000_000)])
    }

    /// How often each of the views is chosen over a thousand draws.
    fn shares(views: &[View<'_>], avoid: Option<usize>) -> Vec<usize> {
        let mut counts = vec![0; views.len()];
        for draw in draws() {
            counts[pick(views, None, avoid, draw).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn equal_workers_share_equally_and_none_is_left_out() {
        let shares = shares(&[view("a"), view("b"), view("c")], None);
        assert!(shares.iter().all(|share| (250..420).contains(share)), "{shares:?}");
    }

    #[test]
    fn the_busier_and_the_slower_get_less() {
        let busy = View { in_flight: 9, ..view("b") };
        assert_eq!(shares(&[view("a"), busy], None), [1000, 0]);
        let slow = View { latency: 0.1, ..view("b") };
        let shares = shares(&[view("a"), slow.clone(), view("c")], None);
        assert_eq!(shares[1], 0, "against either of the others it loses: {shares:?}");
        let all_busy = [View { in_flight: 50, ..view("a") }, slow];
        assert!(
            draws().all(|draw| pick(&all_busy, None, None, draw) == Some(1)),
            "it is used when the others are full"
        );
    }

    #[test]
    fn the_ejected_get_nothing_while_there_is_another() {
        let out = |name| View { ejected: true, ..view(name) };
        assert_eq!(shares(&[out("a"), view("b")], None), [0, 1000]);
        assert_eq!(shares(&[out("a"), view("b"), view("c")], Some(1)), [0, 0, 1000]);
        let all = shares(&[out("a"), out("b")], None);
        assert!(all.iter().all(|&share| share > 400), "where all are out, all are tried: {all:?}");
    }

    #[test]
    fn a_second_try_is_never_at_the_same_worker() {
        assert_eq!(pick(&[view("a")], Some(3), Some(0), [0, 0]), None);
        assert_eq!(shares(&[view("a"), view("b")], Some(0)), [0, 1000]);
        assert_eq!(pick(&[], None, None, [0, 0]), None);
    }

    #[test]
    fn a_user_stays_and_only_the_users_of_a_lost_worker_move() {
        let names = ["pool-0", "pool-1", "pool-2", "pool-3"];
        let all: Vec<View<'_>> = names.into_iter().map(view).collect();
        let less = &all[..3];
        let home = |views: &[View<'_>], user: u64| {
            let homes: Vec<_> = draws().take(5).map(|draw| pick(views, Some(user), None, draw).unwrap()).collect();
            assert!(homes.iter().all(|home| *home == homes[0]), "no draw changes it");
            homes[0]
        };
        let mut counts = [0; 4];
        for user in (0..2000).map(|i| key(format!("user-{i}").as_bytes())) {
            let before = home(&all, user);
            counts[before] += 1;
            let after = home(less, user);
            assert!(before == after || before == 3, "only users of the lost worker move");
        }
        assert!(counts.iter().all(|count| (400..600).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_overloaded_home_hands_its_users_on() {
        let mut views = [view("a"), view("b")];
        let home = pick(&views, Some(7), None, [0, 0]).unwrap();
        views[home].in_flight = 4;
        assert_eq!(pick(&views, Some(7), None, [0, 0]), Some(home), "a few more than the mean are its own");
        views[home].in_flight = 40;
        assert_eq!(pick(&views, Some(7), None, [0, 0]), Some(1 - home));
        views[1 - home].in_flight = 40;
        assert_eq!(pick(&views, Some(7), None, [0, 0]), Some(home), "where all are as busy it is home again");
    }
}
