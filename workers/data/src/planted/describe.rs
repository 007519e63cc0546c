//! Titles, texts and attributes of a planted world's items and users.
//!
//! In: the truth. Out: the same cells whether they become a data set at once or a file that is read later. Words follow
//! from numbers by a hash; a user's segment tells the top bucket of the taste four times out of five.

use std::borrow::Cow;

use super::{Truth, words};
use crate::Entities;
use crate::collect::{EntityColumns, Interner};
use crate::read::{Cell, Sink};

/// The attribute columns of items and of users.
pub(super) const ITEM_ATTRIBUTES: [&str; 2] = ["category", "brand"];
pub(super) const USER_ATTRIBUTES: [&str; 2] = ["segment", "region"];

/// What is said of an item.
pub(super) struct ItemWords {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) category: [String; 3],
    pub(super) brand: &'static str,
}

/// What is said of an item.
pub(super) fn item(truth: &Truth, item: usize) -> ItemWords {
    let path = truth.path(truth.item_buckets[item][0]);
    let rank = truth.item_ranks[item];
    let brand = words::brand(path[0], mixed(item));
    ItemWords {
        title: words::title(path, rank),
        text: words::text(path, rank, brand),
        category: words::category(path),
        brand,
    }
}

/// What is said of a user: segment and region.
pub(super) fn user(truth: &Truth, user: usize) -> [&'static str; 2] {
    let hash = mixed(user);
    let tops = truth.path(truth.buckets - 1)[0] + 1;
    let top = if hash.is_multiple_of(5) { hash / 5 % tops } else { truth.path(truth.user_tastes[user].main)[0] };
    [words::segment(top), words::region(hash / 64)]
}

/// The items of a data set.
pub(super) fn items(truth: &Truth, ids: Interner) -> Entities {
    let attributes = ITEM_ATTRIBUTES.map(str::to_owned);
    let mut sink = EntityColumns::new(&ids, "id", true, 1, &attributes);
    for number in 0..truth.items() {
        let ItemWords { title, text, category, brand } = item(truth, number);
        let id = format!("i{number}");
        keep(
            &mut sink,
            &[
                Cell::of_text(&id),
                Cell::of_text(&title),
                Cell::of_text(&text),
                Cell::List(category.to_vec()),
                Cell::Token(brand),
            ],
        );
    }
    let described = sink.finish();
    let (titles, text, attributes) = (described.titles, described.text, described.attributes);
    Entities { ids: ids.into_strings(), titles, text, attributes }
}

/// The users of a data set.
pub(super) fn users(truth: &Truth, ids: Interner) -> Entities {
    let attributes = USER_ATTRIBUTES.map(str::to_owned);
    let mut sink = EntityColumns::new(&ids, "id", false, 0, &attributes);
    for number in 0..truth.users() {
        let [segment, region] = user(truth, number);
        keep(&mut sink, &[Cell::Text(Cow::Owned(format!("u{number}"))), Cell::Token(segment), Cell::Token(region)]);
    }
    let attributes = sink.finish().attributes;
    Entities { ids: ids.into_strings(), attributes, ..Entities::default() }
}

/// Every cell here is well formed, so no row is refused.
fn keep(sink: &mut EntityColumns<'_>, cells: &[Cell<'_>]) {
    let kept = sink.row(cells);
    debug_assert_eq!(kept, Ok(()));
}

/// A well mixed number (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
fn mixed(number: usize) -> u32 {
    let mut hash = (number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((hash ^ (hash >> 31)) >> 32) as u32
}
