//! Whatever the contract can say comes back the same; what it cannot is refused.

use std::{collections::BTreeMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*};
use prost::Message;
use recmesh_contract::{Candidate, Context, Done, Finish, Item, Mask, Request, Work};

use super::*;

/// Every float there is, not-a-numbers with their payload too.
fn score() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits)
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let ragged = vec((any::<u32>(), score(), vec(score(), 0..3)), 0..12);
    let uniform = (0usize..4).prop_flat_map(|tasks| vec((any::<u32>(), score(), vec(score(), tasks)), 0..12));
    let row = |(item, score, tasks)| Candidate { item, score, tasks };
    prop_oneof![ragged, uniform].prop_map(move |rows| rows.into_iter().map(row).collect())
}

fn context() -> impl Strategy<Value = Arc<Context>> {
    let mask = vec(any::<u64>(), 0..5).prop_map(|words| Arc::new(Mask::from_words(words)));
    let columns = (option::of(any::<u32>()), vec(any::<u32>(), 0..40), vec(any::<u32>(), 0..10));
    (columns, any::<u16>(), option::of(mask)).prop_map(|((user, history, exclude), unknown, allowed)| {
        Arc::new(Context { user, history, unknown: unknown.into(), exclude, allowed })
    })
}

fn finish() -> impl Strategy<Value = Finish> {
    let weights = proptest::collection::btree_map(".{0,6}", any::<f64>(), 0..4);
    (any::<usize>(), weights).prop_map(|(k, weights)| Finish { k, weights: Arc::new(weights) })
}

fn request() -> impl Strategy<Value = Request> {
    let strings = || vec(".{0,8}", 0..5);
    let filters = proptest::collection::btree_map(".{0,6}", strings(), 0..3);
    (option::of(".{0,8}"), option::of(strings()), any::<usize>(), strings(), filters, any::<bool>()).prop_map(
        |(user, history, k, exclude, filters, allow_seen)| Request { user, history, k, exclude, filters, allow_seen },
    )
}

pub(crate) fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        request().prop_map(|request| Work::Tokenize(Arc::new(request))),
        (context(), any::<usize>(), option::of(finish())).prop_map(|(context, candidates, finish)| Work::Retrieve {
            context,
            candidates,
            finish
        }),
        (context(), candidates(), option::of(finish())).prop_map(|(context, candidates, finish)| Work::Rank {
            context,
            candidates,
            finish
        }),
        (candidates(), any::<usize>()).prop_map(|(candidates, k)| Work::Describe { candidates, k }),
    ]
}

pub(crate) fn done() -> impl Strategy<Value = Done> {
    let tasks = proptest::collection::btree_map(".{0,6}", score(), 0..3);
    let item = (".{0,8}", option::of(".{0,8}"), score(), vec(any::<u32>(), 0..4), tasks)
        .prop_map(|(id, title, score, semantic_id, tasks)| Item { id, title, score, semantic_id, tasks });
    prop_oneof![
        context().prop_map(Done::Context),
        candidates().prop_map(Done::Candidates),
        vec(item, 0..8).prop_map(Done::Items),
    ]
}

/// Floats as their bits, so that not-a-numbers compare.
fn bits(candidates: &[Candidate]) -> Vec<(u32, u32, Vec<u32>)> {
    let tasks = |tasks: &[f32]| tasks.iter().map(|score| score.to_bits()).collect();
    candidates.iter().map(|c| (c.item, c.score.to_bits(), tasks(&c.tasks))).collect()
}

pub(crate) fn assert_same_work(one: &Work, other: &Work) {
    match (one, other) {
        (Work::Tokenize(one), Work::Tokenize(other)) => assert_eq!(one, other),
        (
            Work::Retrieve { context: a, candidates: b, finish: c },
            Work::Retrieve { context: x, candidates: y, finish: z },
        ) => assert_eq!((a, b, debug(c)), (x, y, debug(z))),
        (Work::Rank { context: a, candidates: b, finish: c }, Work::Rank { context: x, candidates: y, finish: z }) => {
            assert_eq!((a, bits(b), debug(c)), (x, bits(y), debug(z)));
        }
        (Work::Describe { candidates: a, k: b }, Work::Describe { candidates: x, k: y }) => {
            assert_eq!((bits(a), b), (bits(x), y));
        }
        _ => panic!("{} became {}", one.name(), other.name()),
    }
}

fn debug(finish: &Option<Finish>) -> Option<(usize, Vec<(String, u64)>)> {
    let weights = |weights: &BTreeMap<String, f64>| weights.iter().map(|(k, v)| (k.clone(), v.to_bits())).collect();
    finish.as_ref().map(|finish| (finish.k, weights(&finish.weights)))
}

pub(crate) fn assert_same_done(one: &Done, other: &Done) {
    match (one, other) {
        (Done::Context(one), Done::Context(other)) => assert_eq!(one, other),
        (Done::Candidates(one), Done::Candidates(other)) => assert_eq!(bits(one), bits(other)),
        (Done::Items(one), Done::Items(other)) => {
            let scores =
                |item: &Item| item.tasks.iter().map(|(task, s)| (task.clone(), s.to_bits())).collect::<Vec<_>>();
            let plain = |items: &[Item]| {
                let plain =
                    |i: &Item| (i.id.clone(), i.title.clone(), i.score.to_bits(), i.semantic_id.clone(), scores(i));
                items.iter().map(plain).collect::<Vec<_>>()
            };
            assert_eq!(plain(one), plain(other));
        }
        _ => panic!("another kind of answer"),
    }
}

proptest! {
    #[test]
    fn work_comes_back_the_same(work in work()) {
        let message = proto::CallRequest { pool: "p".into(), request_id: "r".into(), work: Some(write_work(&work)) };
        let back = proto::CallRequest::decode(message.encode_to_vec().as_slice()).unwrap();
        assert_same_work(&read_work(back.work).unwrap(), &work);
    }

    #[test]
    fn answers_come_back_the_same(done in done()) {
        let message = proto::CallReply { done: Some(write_done(done.clone())) };
        let back = proto::CallReply::decode(message.encode_to_vec().as_slice()).unwrap();
        assert_same_done(&read_done(back.done).unwrap(), &done);
    }
}

#[test]
fn messages_that_mean_nothing_are_refused_by_what_is_wrong() {
    use proto::call_request::Work as Message;
    let wrong = |work: Option<Message>| read_work(work).map(|_| ()).unwrap_err().to_string();
    assert!(wrong(None).contains("no work"));
    let retrieve = |context| Some(Message::Retrieve(proto::Retrieve { context, candidates: 1, finish: None }));
    assert!(wrong(retrieve(None)).contains("no context"));
    let mask = proto::Context { allowed: Some(vec![0; 7]), ..proto::Context::default() };
    assert!(wrong(retrieve(Some(mask))).contains("whole words"));
    let describe = |items: Vec<u32>, tasks: Vec<f32>, task_counts: Vec<u32>| {
        let scores = vec![0.0; 2];
        let candidates = Some(proto::Candidates { items, scores, tasks, task_counts });
        Some(Message::Describe(proto::Describe { candidates, k: 1 }))
    };
    assert!(wrong(describe(vec![1], vec![], vec![0])).contains("differ in length"));
    assert!(wrong(describe(vec![1, 2], vec![], vec![])).contains("differ in length"));
    assert!(wrong(describe(vec![1, 2], vec![0.5], vec![1])).contains("too few"));
    assert!(wrong(describe(vec![1, 2], vec![0.5; 3], vec![1])).contains("too many"));
    assert!(read_work(describe(vec![1, 2], vec![0.5; 3], vec![1, 2])).is_ok());
}

/// The cost of a full-size call on the wire, so that a change of the format shows.
#[test]
fn the_largest_calls_stay_small() {
    let context = Context {
        user: Some(1),
        history: (0..10_000).collect(),
        unknown: 0,
        exclude: (0..10_000).collect(),
        allowed: Some(Arc::new(Mask::none(100_000))),
    };
    let candidates = (0..8192).map(|item| Candidate { item, score: 0.5, tasks: vec![] }).collect();
    let work = Work::Rank { context: Arc::new(context), candidates, finish: None };
    let message = proto::CallRequest { pool: String::new(), request_id: String::new(), work: Some(write_work(&work)) };
    assert!((100_000..103_000).contains(&message.encoded_len()), "{}", message.encoded_len());
}
