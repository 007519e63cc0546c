//! The batcher with time as a value: by hand, and against a twin that keeps a plain list.

use std::sync::Arc;

use proptest::prelude::*;
use recmesh_contract::{Request, Work};
use recmesh_telemetry::Telemetry;

use super::*;
use crate::gate::Gate;

type Answer = oneshot::Receiver<Result<Done, Failure>>;

/// A request that arrived `at` ms after `start` and has `time` ms; its number is its `k`.
fn job(gate: &Arc<Gate>, start: Instant, k: usize, at: u64, time: u64) -> (Job, Answer) {
    let (reply, answer) = oneshot::channel();
    let arrived = start + Duration::from_millis(at);
    let request =
        Request { user: None, history: None, k, exclude: vec![], filters: Default::default(), allow_seen: false };
    let call = Call {
        work: Work::Tokenize(Arc::new(request)),
        deadline: arrived + Duration::from_millis(time),
        request_id: "r".into(),
    };
    (Job { call, reply, ticket: gate.admit().unwrap(), arrived, span: Span::none() }, answer)
}

fn numbers(jobs: &[Job]) -> Vec<usize> {
    let number = |job: &Job| match &job.call.work {
        Work::Tokenize(request) => request.k,
        _ => usize::MAX,
    };
    jobs.iter().map(number).collect()
}

fn setup(max: usize, age: u64) -> (Arc<Gate>, Instant, Batcher) {
    let gate = Gate::new(1000, Telemetry::new().pool().of("p"));
    (gate, Instant::now(), Batcher::new(max, Duration::from_millis(age)))
}

#[test]
fn closes_on_size_and_on_the_age_of_the_oldest() {
    let (gate, start, mut batcher) = setup(3, 5);
    assert_eq!(batcher.due(), None);
    let mut answers = vec![];
    for (k, at) in [(0, 10), (1, 12)] {
        let (job, answer) = job(&gate, start, k, at, 1000);
        batcher.push(job);
        answers.push(answer);
    }
    assert!(!batcher.is_full());
    assert_eq!(batcher.due(), Some(start + Duration::from_millis(15)));
    let (job, _answer) = job(&gate, start, 2, 13, 1000);
    batcher.push(job);
    assert!(batcher.is_full());
}

#[test]
fn takes_in_order_and_passes_over_the_gone_and_the_late() {
    let (gate, start, mut batcher) = setup(2, 0);
    let mut answers = vec![];
    for (k, time) in [(0, 1000), (1, 5), (2, 1000), (3, 1000), (4, 1000)] {
        let (job, answer) = job(&gate, start, k, 0, time);
        batcher.push(job);
        answers.push(answer);
    }
    drop(answers.remove(2));
    let batch = batcher.take(start + Duration::from_millis(5));
    assert_eq!(numbers(&batch.live), [0, 3]);
    assert_eq!(numbers(&batch.expired), [1]);
    assert_eq!(numbers(&batch.cancelled), [2]);
    assert_eq!(numbers(&batcher.take(start).live), [4]);
    assert_eq!(batcher.due(), None);
}

/// What happens to a batcher.
#[derive(Clone, Debug)]
enum Event {
    /// A request arrives with this many ms to live.
    Arrive(u64),
    /// The caller of one of the requests so far goes away.
    Cancel(prop::sample::Index),
    /// This many ms go by.
    Pass(u64),
    /// A batch is taken.
    Take,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..40_u64).prop_map(Event::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Event::Cancel),
        1 => (0..15_u64).prop_map(Event::Pass),
        1 => Just(Event::Take),
    ];
    prop::collection::vec(event, 0..80)
}

/// A request as the twin sees it; times in ms.
#[derive(Clone)]
struct Plain {
    number: usize,
    arrived: u64,
    deadline: u64,
    gone: bool,
}

/// The numbers of the live, the expired and the cancelled.
type Taken = [Vec<usize>; 3];

/// Keeps a plain list and says what a batch is by looking at all of it.
#[derive(Default)]
struct Twin(Vec<Plain>);

impl Twin {
    fn take(&mut self, max: usize, now: u64) -> Taken {
        let live = |job: &Plain| !job.gone && job.deadline > now;
        // The batch ends with its last live request; who stands behind it stays, dead or alive.
        let last = self.0.iter().enumerate().filter(|(_, job)| live(job)).map(|(at, _)| at).nth(max - 1);
        let taken: Vec<Plain> = self.0.drain(..last.map_or(self.0.len(), |at| at + 1)).collect();
        let of = |wanted: &dyn Fn(&Plain) -> bool| {
            taken.iter().filter(|job| wanted(job)).map(|job| job.number).collect::<Vec<_>>()
        };
        [of(&live), of(&|job| !job.gone && job.deadline <= now), of(&|job| job.gone)]
    }
}

fn taken(batch: &Batch) -> Taken {
    [&batch.live, &batch.expired, &batch.cancelled].map(|jobs| numbers(jobs))
}

proptest! {
    #[test]
    fn does_as_a_plain_list_does(max in 1..6_usize, age in 0..10_u64, events in events()) {
        let (gate, start, mut batcher) = setup(max, age);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let (mut twin, mut now, mut answers, mut out) = (Twin::default(), 0, vec![], 0);
        // Whatever is left at the end is taken out.
        let rest = vec![Event::Take; events.len() + 1];
        for event in events.into_iter().chain(rest) {
            match event {
                Event::Arrive(time) => {
                    let number = answers.len();
                    let (job, answer) = job(&gate, start, number, now, time);
                    batcher.push(job);
                    answers.push(Some(answer));
                    twin.0.push(Plain { number, arrived: now, deadline: now + time, gone: false });
                }
                Event::Cancel(_) if answers.is_empty() => {}
                Event::Cancel(which) => {
                    let which = which.index(answers.len());
                    answers[which] = None;
                    twin.0.iter_mut().filter(|job| job.number == which).for_each(|job| job.gone = true);
                }
                Event::Pass(ms) => now += ms,
                Event::Take => {
                    let batch = batcher.take(at(now));
                    prop_assert!(batch.live.len() <= max);
                    let got = taken(&batch);
                    out += got.iter().map(Vec::len).sum::<usize>();
                    prop_assert_eq!(got, twin.take(max, now));
                }
            }
            prop_assert_eq!(batcher.is_full(), twin.0.len() >= max);
            prop_assert_eq!(batcher.due(), twin.0.first().map(|job| at(job.arrived + age)));
            prop_assert_eq!(gate.load().0, twin.0.len(), "a place is given back with its request");
        }
        prop_assert_eq!(out, answers.len(), "everybody comes out once");
    }
}
