//! Order and parts against a naive twin that looks at each user's rows one by one.
//!
//! In: made-up rows with ties, users without history rows, both rules and both tie rules.
//! Out: same order, parts and sequences as the twin. Reads no file.

use proptest::prelude::*;
use recmesh_contract::config::NoParams;

use super::*;
use crate::{Behaviours, Sequences};

const LEAVE_ONE_OUT: Split = Split::LeaveOneOut(NoParams {});

/// A row of a made-up file: user, item, time, click.
type Row = (u32, u32, i64, bool);

/// Items whose order as text is not that of their numbers.
fn items() -> Strings {
    ["9", "10", "b", "a", "100"].into_iter().collect()
}

fn loose(rows: &[Row], timed: bool) -> LooseRows {
    LooseRows {
        users: 4,
        user: rows.iter().map(|row| row.0).collect(),
        item: rows.iter().map(|row| row.1).collect(),
        time: timed.then(|| rows.iter().map(|row| row.2).collect()),
        behaviour: Some(Behaviours {
            names: vec!["no".into(), "yes".into()],
            ids: rows.iter().map(|row| u8::from(row.3)).collect(),
        }),
        labels: vec![("click".into(), rows.iter().map(|row| f32::from(u8::from(row.3))).collect())],
    }
}

fn clicked() -> Threshold {
    Threshold { column: "click".into(), at_least: Some(1.0), is: None }
}

/// Rows by user with the place in the file and the part of each, by the rules as they are written down.
fn naive(rows: &[Row], timed: bool, tie: TieBreak, only_clicks: bool, split: &Split) -> Vec<Vec<(usize, Part)>> {
    let items = items();
    let key = |&at: &usize| {
        let (_, item, time, _) = rows[at];
        let text = if tie == TieBreak::ItemId && timed { items.get(item as usize).to_owned() } else { String::new() };
        (if timed { time } else { 0 }, text, at)
    };
    let mut all: Vec<usize> = (0..rows.len()).collect();
    all.sort_by_key(key);
    let mut users = Vec::new();
    for user in 0..4 {
        let mine: Vec<usize> = all.iter().copied().filter(|&at| rows[at].0 == user).collect();
        let targets: Vec<usize> = (0..mine.len()).filter(|&place| rows[mine[place]].3 || !only_clicks).collect();
        let part = |place: usize| match split {
            Split::LeaveOneOut(_) => match targets.as_slice() {
                [_, .., _, test] if place >= *test => Part::Test,
                [_, .., validation, _] if place >= *validation => Part::Validation,
                _ => Part::Train,
            },
            Split::Time(shares) => {
                let place = all.iter().position(|&at| at == mine[place]).unwrap();
                let count = |share: f64| (share * rows.len() as f64).round() as usize;
                if place >= rows.len() - count(shares.test) {
                    Part::Test
                } else if place >= rows.len() - count(shares.test) - count(shares.validation) {
                    Part::Validation
                } else {
                    Part::Train
                }
            }
        };
        users.push((0..mine.len()).map(|place| (mine[place], part(place))).collect());
    }
    users
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn order_and_parts_are_those_of_the_naive_twin(
        rows in prop::collection::vec((0u32..4, 0u32..5, 0i64..4, any::<bool>()), 1..40),
        timed in any::<bool>(),
        by_item in any::<bool>(),
        only_clicks in any::<bool>(),
        shares in prop::option::of((0.0..0.4f64, 0.0..0.4f64)),
    ) {
        let tie = if by_item { TieBreak::ItemId } else { TieBreak::FileOrder };
        let split = shares.map_or(LEAVE_ONE_OUT, |(validation, test)| Split::Time(TimeSplit { validation, test }));
        let history = only_clicks.then(clicked);
        let arranged = arrange(loose(&rows, timed), &items(), tie, history.as_ref(), &split);
        if only_clicks && !rows.iter().any(|row| row.3) {
            prop_assert!(arranged.is_err());
            return Ok(());
        }
        let kept = |share: f64| (share * rows.len() as f64).round() as usize;
        if shares.is_some_and(|(validation, test)| kept(validation) + kept(test) >= rows.len()) {
            prop_assert!(arranged.is_err(), "nothing is left to train on");
            return Ok(());
        }
        let arranged = arranged.unwrap();
        let expect = naive(&rows, timed, tie, only_clicks, &split);
        let sequences = Sequences::of_rows(&arranged);
        for (user, expect) in expect.iter().enumerate() {
            let found: Vec<_> = arranged.of(user).map(|row| (arranged.item[row], arranged.part[row])).collect();
            let wanted: Vec<_> = expect.iter().map(|&(at, part)| (rows[at].1, part)).collect();
            prop_assert_eq!(found, wanted, "user {}", user);
            let enters = |at: usize| rows[at].3 || !only_clicks;
            let history: Vec<_> = expect.iter().filter(|&&(at, _)| enters(at)).collect();
            let of = |part: Part| history.iter().filter(|row| row.1 == part).map(|row| rows[row.0].1).collect::<Vec<_>>();
            prop_assert_eq!(sequences.train(user), of(Part::Train));
            for part in Part::ALL {
                let targets = sequences.targets(part).into_iter().filter(|target| target.user as usize == user);
                prop_assert_eq!(targets.map(|target| sequences.item(&target)).collect::<Vec<_>>(), of(part));
            }
        }
        prop_assert_eq!(sequences.items.len(), arranged.in_history.iter().filter(|&&yes| yes).count());
    }
}

#[test]
fn every_target_of_leave_one_out_has_a_history_and_short_users_have_none() {
    let rows: Vec<Row> = [(0, 3), (1, 2), (2, 1), (3, 5)]
        .iter()
        .flat_map(|&(user, count)| (0..count).map(move |at| (user, at as u32 % 5, i64::from(at), true)))
        .collect();
    let rows = arrange(loose(&rows, true), &items(), TieBreak::FileOrder, None, &LEAVE_ONE_OUT).unwrap();
    let sequences = Sequences::of_rows(&rows);
    for (part, seen) in [(Part::Validation, [1, 3]), (Part::Test, [2, 4])] {
        let targets = sequences.targets(part);
        assert_eq!(targets.iter().map(|target| target.user).collect::<Vec<_>>(), [0, 3]);
        let lengths: Vec<_> = targets.iter().map(|target| sequences.history(target).len()).collect();
        assert_eq!(lengths, seen);
    }
    assert_eq!(sequences.train(1).len(), 2, "users with fewer than three rows only train");
    assert_eq!(sequences.train(2).len(), 1);
}

#[test]
fn shares_that_leave_nothing_to_train_on_are_refused() {
    let shares = TimeSplit { validation: 0.5, test: 0.5 };
    let error = by_shares(10, |row| row, shares).unwrap_err().to_string();
    assert!(error.starts_with("split.time: validation 5 and test 5 of 10 rows"), "{error}");
}

#[test]
fn thresholds_name_what_there_is() {
    let rows = [(0, 0, 0, true), (0, 1, 1, false)];
    let arranged = |threshold: Threshold| {
        arrange(loose(&rows, true), &items(), TieBreak::FileOrder, Some(&threshold), &LEAVE_ONE_OUT)
    };
    let is = |is: &str| Threshold { column: "behaviour".into(), at_least: None, is: Some(is.into()) };
    assert_eq!(arranged(is("yes")).unwrap().in_history, [true, false]);
    for (threshold, part) in [
        (is("buy"), "there are no, yes"),
        (Threshold { column: "rating".into(), ..clicked() }, "there are: click"),
        (Threshold { is: Some("1".into()), at_least: None, ..clicked() }, "use atLeast"),
        (Threshold { at_least: None, ..clicked() }, "exactly one of"),
        (Threshold { at_least: Some(2.0), ..clicked() }, "no row reaches it"),
    ] {
        let error = arranged(threshold).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
