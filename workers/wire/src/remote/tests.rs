//! Remote stages over real connections: parity, time, cancellation, lost and leaving workers, affinity.

mod fakes;
mod lost;
#[cfg(feature = "otlp")]
mod traces;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fakes::{Answers, FakeWorker, Remote, ask, context, echo, far, tokenize};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use recmesh_contract::{Call, Candidate, Class, Context, Done, Failure, Stage, Work, config::Affinity, reason};

use crate::codec::tests as words;

#[tokio::test]
async fn a_remote_stage_hears_and_answers_what_a_local_one_does() {
    let mut worker = FakeWorker::start("p", Answers::Given).await;
    let remote = Remote::to(&[&worker]).await;
    let mut runner = TestRunner::deterministic();
    let calls = (words::work(), words::done());
    for _ in 0..200 {
        let (work, done) = calls.new_tree(&mut runner).unwrap().current();
        worker.give(Ok(done.clone()));
        let answer = remote.stage.call(Call { work: work.clone(), deadline: far(), request_id: "r-1".into() });
        words::assert_same_done(&answer.await.unwrap(), &done);
        let heard = worker.heard().await;
        words::assert_same_work(&heard.work, &work);
        assert_eq!(heard.request_id.as_ref(), "r-1");
    }
}

#[tokio::test]
async fn failures_keep_their_class_reason_and_words() {
    let worker = FakeWorker::start("p", Answers::Given).await;
    let remote = Remote::to(&[&worker]).await;
    for (class, reason) in [
        (Class::Invalid, reason::BAD_FIELD),
        (Class::NotFound, reason::NO_SUCH_PIPELINE),
        (Class::Overloaded, reason::QUEUE_FULL),
        (Class::DeadlineExceeded, reason::DEADLINE),
        (Class::Cancelled, reason::CLIENT_GONE),
        (Class::Internal, reason::PANIC),
    ] {
        worker.give(Err(Failure::new(class, reason, "field \"k\" – 100 %\nis wrong")));
        let failure = remote.stage.call(tokenize("u")).await.unwrap_err();
        assert_eq!((failure.class, failure.reason), (class, reason));
        assert_eq!(failure.diagnostic, "field \"k\" – 100 %\nis wrong");
    }
}

#[tokio::test]
async fn the_largest_calls_go_through() {
    let mut worker = FakeWorker::start("p", Answers::Given).await;
    let remote = Remote::to(&[&worker]).await;
    let history = Context { history: (0..10_000).collect(), exclude: (0..10_000).collect(), ..context(Some(1)) };
    let candidates: Vec<Candidate> =
        (0..8192).map(|item| Candidate { item: item + (1 << 20), score: 0.1, tasks: vec![0.5; 8] }).collect();
    worker.give(Ok(Done::Candidates(candidates.clone())));
    let work = Work::Rank { context: Arc::new(history), candidates: candidates.clone(), finish: None };
    let done = remote.stage.call(Call { work: work.clone(), deadline: far(), request_id: "r".into() }).await.unwrap();
    words::assert_same_done(&done, &Done::Candidates(candidates));
    words::assert_same_work(&worker.heard().await.work, &work);
}

#[tokio::test]
async fn the_time_that_is_left_travels_and_its_end_cancels() {
    let mut worker = FakeWorker::start("p", Answers::Never).await;
    let remote = Remote::to(&[&worker]).await;
    let before = Instant::now();
    let deadline = before + Duration::from_millis(80);
    let failure = remote.stage.call(Call { deadline, ..tokenize("u") }).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::DeadlineExceeded, reason::DEADLINE));
    assert!(Instant::now() >= deadline);
    let heard = worker.heard().await;
    let told = heard.deadline.duration_since(before);
    // The worker's clock starts when the call arrives, so that it can only be later than ours, by the way's time.
    assert!((Duration::from_millis(79)..Duration::from_secs(60)).contains(&told), "{told:?}");
    worker.dropped().await;
    let late = remote.stage.call(Call { deadline: before, ..tokenize("u") }).await.unwrap_err();
    assert_eq!(late.reason, reason::DEADLINE, "no time is left at all");
}

#[tokio::test]
async fn dropping_a_reply_drops_the_workers_work() {
    let mut worker = FakeWorker::start("p", Answers::Never).await;
    let remote = Remote::to(&[&worker]).await;
    // Many at once: a storm of cancellations must not end the connection.
    let mut replies: Vec<_> = (0..300).map(|_| tokio::spawn(remote.stage.call(tokenize("u")))).collect();
    for _ in 0..300 {
        worker.heard().await;
    }
    let last = replies.pop().unwrap();
    replies.iter().for_each(|reply| reply.abort());
    for _ in 0..299 {
        worker.dropped().await;
    }
    assert!(!last.is_finished(), "the one that is still awaited goes on");
    assert_eq!(remote.stage.waiting(), None, "and the connection lives");
}

#[tokio::test]
async fn says_what_it_waits_for_and_becomes_ready() {
    let remote = Remote::of("p", Affinity::None, vec![]);
    assert_eq!(remote.stage.waiting().as_deref(), Some("no worker of this pool is known"));
    let failure = remote.stage.call(tokenize("u")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Unavailable, reason::NO_WORKER));

    let worker = FakeWorker::start("other", Answers::Echo).await;
    remote.list(&[&worker]);
    remote.until(|waiting| waiting.contains("does not run this pool")).await;
    worker.add("p", Answers::Echo, Err("loading the model"));
    remote.until(|waiting| waiting.contains("loading the model")).await;
    assert!(!remote.stage.ready());
    worker.add("p", Answers::Echo, Ok(()));
    remote.ready().await;
    assert!(remote.stage.ready());
    assert_eq!(ask(&remote, "u").await, Ok("u".to_owned()));

    remote.list(&[]);
    remote.until(|waiting| waiting.contains("no worker")).await;
}

#[tokio::test]
async fn a_pool_that_a_worker_runs_no_more_is_told_apart() {
    let worker = FakeWorker::start("p", Answers::Echo).await;
    let remote = Remote::to(&[&worker]).await;
    worker.remove("p");
    let failure = remote.stage.call(tokenize("u")).await.unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Unavailable, reason::NO_SUCH_POOL));
    // The refusal makes it ask again at once, long before it would by itself.
    remote.until(|waiting| waiting.contains("does not run this pool")).await;
}

#[tokio::test]
async fn calls_spread_over_workers() {
    let workers = [FakeWorker::start("p", Answers::Never).await, FakeWorker::start("p", Answers::Never).await];
    let remote = Remote::to(&[&workers[0], &workers[1]]).await;
    let _replies: Vec<_> = (0..40).map(|_| tokio::spawn(remote.stage.call(tokenize("u")))).collect();
    let [mut one, mut other] = workers;
    for _ in 0..20 {
        // With two workers both are drawn each time and the less busy one gets the call: 20 each.
        one.heard().await;
        other.heard().await;
    }
}

#[tokio::test]
async fn a_users_calls_stay_at_one_worker() {
    let mut workers = vec![];
    for _ in 0..3 {
        workers.push(FakeWorker::start("p", Answers::Name).await);
    }
    let all: Vec<&FakeWorker> = workers.iter().collect();
    let remote = Remote::of("p", Affinity::User, all.iter().map(|worker| worker.endpoint()).collect());
    remote.connected(3).await;
    let users: Vec<String> = (0..60).map(|i| format!("user-{i}")).collect();
    let mut homes = vec![];
    for user in &users {
        homes.push(ask(&remote, user).await.unwrap());
        assert_eq!(ask(&remote, user).await.as_ref(), Ok(&homes[homes.len() - 1]));
    }
    assert!(all.iter().all(|worker| homes.contains(&worker.name)), "each has users: {homes:?}");

    remote.list(&all[..2]);
    remote.connected(2).await;
    for (user, home) in users.iter().zip(&homes) {
        let now = ask(&remote, user).await.unwrap();
        assert!(now == *home || *home == all[2].name, "only the users of the worker that left move");
    }
    remote.list(&all);
    remote.connected(3).await;
    for (user, home) in users.iter().zip(&homes) {
        assert_eq!(ask(&remote, user).await.as_ref(), Ok(home), "and they come back with it");
    }
}

#[tokio::test]
async fn further_stages_follow_the_users_row() {
    let workers = [FakeWorker::start("p", Answers::Name).await, FakeWorker::start("p", Answers::Name).await];
    let remote = Remote::of("p", Affinity::User, workers.iter().map(FakeWorker::endpoint).collect());
    remote.connected(2).await;
    let home = async |user: u32| {
        let context = Arc::new(context(Some(user)));
        let work = Work::Retrieve { context, candidates: 1, finish: None };
        echo(remote.stage.call(Call { work, deadline: far(), request_id: "r".into() }).await).unwrap()
    };
    let mut seen = std::collections::BTreeSet::new();
    for user in 0..20 {
        let first = home(user).await;
        assert_eq!(home(user).await, first);
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both have users");
}
