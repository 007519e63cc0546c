//! What a caller asks, parsed once; nothing is checked again after it.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{ItemIndex, Mask};

/// A recommendation request after parsing: the meaning, not the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The user's id as the data set writes it.
    pub user: Option<String>,
    /// Item ids, oldest first; given, they stand in for the stored history.
    pub history: Option<Vec<String>>,
    /// How many items to answer, at least 1.
    pub k: usize,
    /// Item ids that must not be answered.
    pub exclude: Vec<String>,
    /// Item attributes that an answer must have: for every key, one of its values.
    pub filters: BTreeMap<String, Vec<String>>,
    /// Whether items in the history may be answered.
    pub allow_seen: bool,
}

/// A request in the model's terms: the tokenize stage's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The user's row in the data set; `None` when unknown.
    pub user: Option<u32>,
    /// Known items of the history, oldest first.
    pub history: Vec<ItemIndex>,
    /// How many items of an inline history the catalog does not know.
    pub unknown: usize,
    /// Items that must not be answered: the deny list, and the history unless seen items are allowed; ascending.
    pub exclude: Vec<ItemIndex>,
    /// Items that pass liveness and filters; `None` when every item does.
    pub allowed: Option<Arc<Mask>>,
}
