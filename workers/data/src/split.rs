//! Ordering interactions by user and time, and parting them into train, validation and test.
//!
//! In: rows in the order of the file. Out: [`Rows`] by user, oldest first, each with its part. Within a user parts never
//! go back in time, whatever the rule.

use recmesh_contract::config::{Split, Threshold, TieBreak, TimeSplit};

use crate::collect::LooseRows;
use crate::{DataError, Part, Rows, Strings};

/// Orders and parts rows.
///
/// `leaveOneOut` looks at the rows that enter histories alone: a user's last is the test target, the one before it the
/// validation target, and every other row gets the part of the time it lies in (at or after the test target: test; at or
/// after the validation target: validation). `time` cuts all rows of all users, ordered by time, then by the tie rule,
/// then by file order, at shares of their count.
pub(crate) fn arrange(
    loose: LooseRows,
    items: &Strings,
    tie: TieBreak,
    history: Option<&Threshold>,
    split: &Split,
) -> Result<Rows, DataError> {
    let (mut rows, order) = by_user(loose, items, tie);
    rows.in_history = match history {
        None => vec![true; rows.len()],
        Some(threshold) => rows.reach(threshold)?,
    };
    if !rows.in_history.contains(&true) {
        let reason = "no row reaches it, so every history would be empty; lower it or leave it out".into();
        return Err(DataError::Params { field: "history", reason });
    }
    rows.part = match split {
        Split::LeaveOneOut(_) => leave_one_out(&rows),
        Split::Time(shares) => {
            let rank = (tie == TieBreak::ItemId && rows.time.is_some()).then(|| ranks(items));
            let key = |row: usize| {
                let time = rows.time.as_ref().map_or(0, |time| time[row]);
                (time, rank.as_ref().map_or(0, |rank| rank[rows.item[row] as usize]), order[row])
            };
            by_shares(rows.len(), key, *shares)?
        }
    };
    Ok(rows)
}

/// Rows grouped by user and ordered by time, and the place in the file of each.
fn by_user(loose: LooseRows, items: &Strings, tie: TieBreak) -> (Rows, Vec<u32>) {
    let LooseRows { users, user, item, time, behaviour, labels } = loose;
    let mut offsets = vec![0u64; users + 1];
    for &user in &user {
        offsets[user as usize + 1] += 1;
    }
    for at in 1..offsets.len() {
        offsets[at] += offsets[at - 1];
    }
    let mut next = offsets.clone();
    let mut order = vec![0u32; user.len()];
    for (row, &user) in (0u32..).zip(&user) {
        order[next[user as usize] as usize] = row;
        next[user as usize] += 1;
    }
    if let Some(time) = &time {
        let rank = (tie == TieBreak::ItemId).then(|| ranks(items));
        for user in 0..users {
            // The sort is stable: what is still equal stays in file order.
            order[offsets[user] as usize..offsets[user + 1] as usize].sort_by_key(|&row| {
                let row = row as usize;
                (time[row], rank.as_ref().map_or(0, |rank| rank[item[row] as usize]))
            });
        }
    }
    let rows = Rows {
        offsets,
        item: picked(&item, &order),
        time: time.map(|time| picked(&time, &order)),
        behaviour: behaviour.map(|mut behaviour| {
            behaviour.ids = picked(&behaviour.ids, &order);
            behaviour
        }),
        labels: labels.into_iter().map(|(name, values)| (name, picked(&values, &order))).collect(),
        part: Vec::new(),
        in_history: Vec::new(),
    };
    (rows, order)
}

fn picked<T: Copy>(values: &[T], order: &[u32]) -> Vec<T> {
    order.iter().map(|&row| values[row as usize]).collect()
}

/// The place of each id among all ids as text.
fn ranks(ids: &Strings) -> Vec<u32> {
    let mut order: Vec<u32> = (0..ids.len() as u32).collect();
    order.sort_unstable_by_key(|&id| ids.get(id as usize));
    let mut rank = vec![0; order.len()];
    for (place, &id) in (0u32..).zip(&order) {
        rank[id as usize] = place;
    }
    rank
}

fn leave_one_out(rows: &Rows) -> Vec<Part> {
    let mut part = vec![Part::Train; rows.len()];
    for user in 0..rows.users() {
        let all = rows.of(user);
        let mut newest = all.clone().rev().filter(|&row| rows.in_history[row]);
        if let (Some(test), Some(validation), Some(_)) = (newest.next(), newest.next(), newest.next()) {
            part[validation..test].fill(Part::Validation);
            part[test..all.end].fill(Part::Test);
        }
    }
    part
}

/// The last share of `rows` by `key` is test, the share before it validation. Shares are rounded to whole rows.
///
/// # Errors
/// When nothing is left to train on.
pub(crate) fn by_shares<K: Ord>(
    rows: usize,
    key: impl Fn(usize) -> K,
    shares: TimeSplit,
) -> Result<Vec<Part>, DataError> {
    let count = |share: f64| (share * rows as f64).round() as usize;
    let (validation, test) = (count(shares.validation), count(shares.test));
    let train = rows.checked_sub(validation + test).filter(|&train| train > 0).ok_or_else(|| DataError::Params {
        field: "split.time",
        reason: format!("validation {validation} and test {test} of {rows} rows leave none to train on"),
    })?;
    let mut order: Vec<u32> = (0..rows as u32).collect();
    order.sort_by_key(|&row| key(row as usize));
    let mut part = vec![Part::Train; rows];
    for &row in &order[train..train + validation] {
        part[row as usize] = Part::Validation;
    }
    for &row in &order[train + validation..] {
        part[row as usize] = Part::Test;
    }
    Ok(part)
}

#[cfg(test)]
mod tests;
