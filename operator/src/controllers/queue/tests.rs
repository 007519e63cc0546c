//! Bursts, looks at once, failures.

use recmesh_crds::Kind;

use super::*;

fn subject(name: &str) -> Subject {
    Subject { kind: Kind::Dataset, namespace: "shop".to_owned(), name: name.to_owned() }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_burst_is_one_look_and_no_stream_puts_it_off() {
    let (mut queue, start) = (Queue::new(4), Instant::now());
    for at in 0..20 {
        queue.wish(subject("a"), start + ms(at));
        assert_eq!(queue.take(start + ms(at)), None);
    }
    assert_eq!(queue.next(), Some(start + DEBOUNCE));
    assert_eq!(queue.take(start + DEBOUNCE), Some(subject("a")));
    assert_eq!(queue.take(start + ms(1000)), None);
}

#[test]
fn a_resource_is_never_looked_at_twice_at_once_and_no_wish_is_lost() {
    let (mut queue, start) = (Queue::new(4), Instant::now());
    queue.wish(subject("a"), start);
    assert!(queue.take(start + ms(20)).is_some());
    queue.wish(subject("a"), start + ms(30));
    assert_eq!(queue.take(start + ms(100)), None);
    assert_eq!(queue.next(), None);
    queue.done(subject("a"), Action::Await, start + ms(100));
    assert_eq!(queue.take(start + ms(100)), Some(subject("a")));
}

#[test]
fn looks_at_once_are_bounded() {
    let (mut queue, start) = (Queue::new(2), Instant::now());
    for name in ["a", "b", "c"] {
        queue.wish(subject(name), start);
    }
    let later = start + ms(20);
    assert!(queue.take(later).is_some() && queue.take(later).is_some());
    assert_eq!((queue.take(later), queue.next(), queue.len()), (None, None, 3));
    queue.done(subject("a"), Action::Await, later);
    assert_eq!(queue.take(later), Some(subject("c")));
}

#[test]
fn failures_wait_longer_and_longer_up_to_a_bound_and_a_success_forgets_them() {
    let (mut queue, mut now) = (Queue::new(1), Instant::now());
    queue.wish(subject("a"), now);
    now += DEBOUNCE;
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert!(queue.take(now).is_some());
        queue.done(subject("a"), Action::Backoff, now);
        let next = queue.next().unwrap();
        waits.push(next - now);
        now = next;
    }
    assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST * 3 / 2, "{waits:?}");
    assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST * 3 / 2, "{waits:?}");
    assert!(waits[6] > waits[0] * 8, "{waits:?}");
    queue.take(now);
    queue.done(subject("a"), Action::Await, now);
    queue.wish(subject("a"), now);
    queue.take(now + DEBOUNCE);
    queue.done(subject("a"), Action::Backoff, now);
    assert!(queue.next().unwrap() - now <= FIRST * 3 / 2);
}

#[test]
fn a_wish_comes_before_a_planned_look() {
    let (mut queue, start) = (Queue::new(1), Instant::now());
    queue.wish(subject("a"), start);
    queue.take(start + DEBOUNCE);
    queue.done(subject("a"), Action::After(Duration::from_secs(300)), start + DEBOUNCE);
    queue.wish(subject("a"), start + ms(500));
    assert_eq!(queue.next(), Some(start + ms(500) + DEBOUNCE));
    queue.take(start + ms(600));
    assert_eq!(queue.len(), 1, "the planned look was brought forward, not added");
}
