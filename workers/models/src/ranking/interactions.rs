//! The mixture of experts over a user, a history and candidates.
//!
//! ```text
//! once a user:  attributes, items read, mean of history     ──────────────────────────┐
//! a candidate:  item, attributes, popularity = c;  attention(c → history) = h;  h ∘ q(c) ┴─► mixture
//! ```
//!
//! In: histories, user rows, candidate items. Out: the loss, or a probability a task. There is no embedding of the user:
//! one never seen is a history like any other. The user's part of the first layer is computed once for all candidates.

use std::path::Path;

use recmesh_contract::{
    ItemIndex,
    config::{Mmoe, RankingAlgorithm, RankingParams},
};
use recmesh_kernels::{Attention, Init, Packed, ParamId, Params, RelativeBias, Role, Span, Tape, Var, Workspace};

use super::{
    features::{AttributeTable, Bags, COUNT_BUCKETS, CategoricalFeature, InteractionFeatures, count_bucket},
    mixture::{Columns, Mixture, Part, probabilities},
    saved::{self, Builder, Header},
    tasks::{self, Head},
};
use crate::{
    ModelError, Trainable,
    quant::{self, Quantisable},
    weights,
};

/// One interaction with its labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InteractionRow {
    /// The user's items before this one, oldest first; older ones than the newest `historyLength` change nothing.
    pub history: Vec<ItemIndex>,
    /// Row of the user in the model's user table; `None` for an unknown one.
    pub user: Option<u32>,
    /// The item.
    pub item: ItemIndex,
    /// One label a task; `None` when it is unknown. Empty when scoring.
    pub labels: Vec<Option<bool>>,
}

/// Who candidates are scored for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// Oldest first.
    pub history: &'a [ItemIndex],
    /// Row in the user table.
    pub user: Option<u32>,
}

/// Memory of a pass over candidates, used again by the next one: as much as the largest pass so far took.
#[derive(Default)]
pub(super) struct Scratch {
    histories: Histories,
    lookups: Lookups,
    /// The history of each candidate's asker, and the place after its newest item.
    spans: Vec<Span>,
    now: Vec<u32>,
    columns: Columns,
}

/// Rows to be read of the table that is looked up, and what was read for one side.
#[derive(Default)]
struct Lookups {
    ids: Vec<u32>,
    bags: Bags,
    parts: Vec<Var>,
}

/// A mixture of experts over interactions.
#[derive(Clone)]
pub struct InteractionMmoe {
    params: Params,
    mmoe: Mmoe,
    heads: Vec<Head>,
    features: InteractionFeatures,
    tables: Tables,
    mixture: Mixture,
}

#[derive(Clone)]
struct Tables {
    items: ParamId,
    popularity: ParamId,
    length: ParamId,
    item_attributes: Vec<ParamId>,
    user_attributes: Vec<ParamId>,
    query: ParamId,
    key: ParamId,
    value: ParamId,
    recency: ParamId,
}

impl InteractionMmoe {
    /// A model with fresh weights.
    ///
    /// # Errors
    /// When there are no tasks or no items, a table does not fit, or a size is zero.
    pub fn new(params: &RankingParams, features: InteractionFeatures, seed: u64) -> Result<Self, ModelError> {
        let RankingAlgorithm::Mmoe(mmoe) = &params.algorithm;
        Self::build(Builder::fresh(seed), mmoe.clone(), tasks::heads(&params.tasks)?, features)
    }

    fn build(
        mut builder: Builder,
        mmoe: Mmoe,
        heads: Vec<Head>,
        features: InteractionFeatures,
    ) -> Result<Self, ModelError> {
        tasks::check(&heads)?;
        features.check()?;
        let width = mmoe.embedding as usize;
        if width == 0 {
            return Err(ModelError::parameter("mmoe.embedding", "0 leaves nothing to compute with; give at least 1"));
        }
        let item = (2 + features.item_attributes.len()) * width;
        let user = (2 + features.user_attributes.len()) * width;
        let mut attributes = |side: &str, all: &[AttributeTable]| -> Result<Vec<ParamId>, ModelError> {
            let table = |(i, a): (usize, &AttributeTable)| (format!("{side}.{i}"), a.size.max(1) as usize);
            all.iter().enumerate().map(table).map(|(name, size)| builder.embedding(&name, size, width)).collect()
        };
        let item_attributes = attributes("itemAttributes", &features.item_attributes)?;
        let user_attributes = attributes("userAttributes", &features.user_attributes)?;
        let tables = Tables {
            items: builder.embedding("items", features.items(), width)?,
            popularity: builder.embedding("popularity", COUNT_BUCKETS, width)?,
            length: builder.embedding("historyLength", COUNT_BUCKETS, width)?,
            item_attributes,
            user_attributes,
            query: builder.matrix("attention.query", width, item, item, 1.0)?,
            key: builder.matrix("attention.key", width, item, item, 1.0)?,
            value: builder.matrix("attention.value", width, item, item, 1.0)?,
            recency: builder.add(
                "attention.recency",
                Role::Vector,
                (1, mmoe.history_length as usize + 1),
                Init::Zeros,
            )?,
        };
        let parts = [("user", user), ("item", item + 2 * width)];
        let mixture = Mixture::new(&mut builder, &mmoe, heads.len(), &parts)?;
        Ok(Self { params: builder.params, mmoe, heads, features, tables, mixture })
    }

    /// The tasks' names, in the order of labels and probabilities.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|head| head.name.as_str())
    }

    /// Items that can be scored: indices below this.
    #[must_use]
    pub fn items(&self) -> usize {
        self.features.items()
    }

    /// Probabilities, `rows × tasks` row-major. Labels are not looked at; every `item` must be below
    /// [`items`](Self::items).
    #[must_use]
    pub fn probabilities(&self, workspace: &mut Workspace, rows: &[&InteractionRow]) -> Vec<f32> {
        const ROWS: usize = 512;
        let mut all = Vec::with_capacity(rows.len() * self.heads.len());
        for rows in rows.chunks(ROWS) {
            let mut tape = Tape::serve(&self.params, workspace);
            let logits = self.row_logits(&mut tape, rows);
            let found = probabilities(&mut tape, &logits);
            all.extend_from_slice(tape.value(found));
        }
        all
    }

    /// Probabilities of candidates, `candidates × tasks`; candidate `i` belongs to the asker `owners[i]`.
    pub(super) fn score<'a>(
        &self,
        tape: &mut Tape<'_>,
        askers: impl Iterator<Item = Asker<'a>> + Clone,
        (candidates, owners): (&[ItemIndex], &[u32]),
        scratch: &mut Scratch,
    ) -> Var {
        self.logits(tape, askers, (candidates, owners), scratch);
        probabilities(tape, &scratch.columns.logits)
    }

    /// The weights of a tape that serves.
    pub(super) fn params(&self) -> &Params {
        &self.params
    }

    /// The weights as serving reads them, in place of their first form: the model can only serve from now on.
    pub(super) fn pack(&mut self) -> Packed {
        let Tables { query, key, value, .. } = self.tables;
        let maps: Vec<ParamId> = [query, key, value].into_iter().chain(self.mixture.maps()).collect();
        let packed = Packed::new(&self.params, &maps, &[]);
        packed.maps().for_each(|id| self.params.drop_values(id));
        packed
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let sizes = |all: &[AttributeTable]| {
            all.iter().map(|a| CategoricalFeature { name: a.name.clone(), size: a.size }).collect()
        };
        let header = Header::InteractionMmoe {
            mmoe: self.mmoe.clone(),
            tasks: self.heads.clone(),
            items: self.features.items(),
            users: self.features.users,
            item_attributes: sizes(&self.features.item_attributes),
            user_attributes: sizes(&self.features.user_attributes),
        };
        let mut arrays = vec![(POPULARITY.to_owned(), self.features.popularity.as_slice())];
        for (side, all) in [(ITEM, &self.features.item_attributes), (USER, &self.features.user_attributes)] {
            for (i, table) in all.iter().enumerate() {
                arrays.push((format!("features.{side}.{i}.offsets"), &table.offsets));
                arrays.push((format!("features.{side}.{i}.ids"), &table.ids));
            }
        }
        saved::save(dir, &header, &self.params, &arrays)
    }

    /// Reads a model's folder.
    ///
    /// # Errors
    /// When a file is missing, corrupt, or of a model over rows of features.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let header = weights::load_header(dir)?;
        let Header::InteractionMmoe { mmoe, tasks, items, users, item_attributes, user_attributes } = header else {
            return Err(ModelError::Mismatch(format!(
                "{}: this model ranks rows of features; it was asked for items of interactions",
                dir.display()
            )));
        };
        let mut arrays = weights::load_arrays(dir)?;
        let popularity = arrays.u32(POPULARITY)?;
        if popularity.len() != items {
            return Err(arrays.corrupt(format!("array {POPULARITY} has {} values, wanted {items}", popularity.len())));
        }
        let mut tables = |side: &str, sizes: Vec<CategoricalFeature>| -> Result<Vec<AttributeTable>, ModelError> {
            let table = |(i, CategoricalFeature { name, size }): (usize, CategoricalFeature)| {
                let offsets = arrays.u32(&format!("features.{side}.{i}.offsets"))?;
                let ids = arrays.u32(&format!("features.{side}.{i}.ids"))?;
                Ok(AttributeTable { name, size, offsets, ids })
            };
            sizes.into_iter().enumerate().map(table).collect()
        };
        let item_attributes = tables(ITEM, item_attributes)?;
        let user_attributes = tables(USER, user_attributes)?;
        let features = InteractionFeatures { popularity, item_attributes, users, user_attributes };
        features.check().map_err(|e| arrays.corrupt(e))?;
        quant::open(dir, Self::build(Builder::saved(arrays), mmoe, tasks, features)?)
    }

    /// One logit column a task, for rows that each have their own history.
    pub(super) fn row_logits(&self, tape: &mut Tape<'_>, rows: &[&InteractionRow]) -> Vec<Var> {
        let askers = rows.iter().map(|r| Asker { history: &r.history, user: r.user });
        let items: Vec<ItemIndex> = rows.iter().map(|r| r.item).collect();
        let owners: Vec<u32> = (0..rows.len() as u32).collect();
        let mut scratch = Scratch::default();
        self.logits(tape, askers, (&items, &owners), &mut scratch);
        scratch.columns.logits
    }

    /// Computes the logits into `scratch.columns`.
    fn logits<'a>(
        &self,
        tape: &mut Tape<'_>,
        askers: impl Iterator<Item = Asker<'a>> + Clone,
        (candidates, owners): (&[ItemIndex], &[u32]),
        scratch: &mut Scratch,
    ) {
        scratch.histories.read(askers.clone(), self.mmoe.history_length as usize, self.features.items());
        let user = self.user_part(tape, askers, scratch);
        let item = self.item_part(tape, candidates, owners, scratch);
        let parts = [Part { value: user, rows: Some(owners) }, Part { value: item, rows: None }];
        self.mixture.logits(tape, &parts, &mut scratch.columns);
    }

    /// `[askers, (2 + attributes) · width]`: all that does not depend on the candidate.
    fn user_part<'a>(
        &self,
        tape: &mut Tape<'_>,
        askers: impl Iterator<Item = Asker<'a>> + Clone,
        scratch: &mut Scratch,
    ) -> Var {
        let Scratch { histories, lookups: Lookups { ids, bags, parts }, .. } = scratch;
        // Items read, not items there are: training rows and requests may carry more than is read.
        ids.clear();
        ids.extend(histories.spans().map(|span| count_bucket((span.end - span.start) as usize)));
        parts.clear();
        parts.push(tape.embed(self.tables.length, ids));
        parts.push(tape.embed_bag(self.tables.items, &histories.items, &histories.offsets, true));
        for (table, &id) in self.features.user_attributes.iter().zip(&self.tables.user_attributes) {
            table.bags(askers.clone().map(|asker| asker.user), bags);
            parts.push(tape.embed_bag(id, &bags.ids, &bags.offsets, true));
        }
        tape.concat(parts)
    }

    /// `[candidates, (4 + attributes) · width]`: the item, what it finds in the history, and how the two agree.
    fn item_part(&self, tape: &mut Tape<'_>, candidates: &[ItemIndex], owners: &[u32], scratch: &mut Scratch) -> Var {
        let Scratch { histories, lookups, spans, now, .. } = scratch;
        let item = self.items_as(tape, candidates, lookups);
        let query = tape.linear(item, self.tables.query, None);
        let found = if histories.items.is_empty() {
            tape.zeros(candidates.len(), self.mmoe.embedding as usize)
        } else {
            let past = self.items_as(tape, &histories.items, lookups);
            let key = tape.linear(past, self.tables.key, None);
            let value = tape.linear(past, self.tables.value, None);
            spans.clear();
            spans.extend(owners.iter().map(|&owner| histories.span(owner as usize)));
            now.clear();
            now.extend(spans.iter().map(|span| span.end - span.start));
            let bias = Some(RelativeBias { table: self.tables.recency, query: now, key: &histories.positions });
            tape.attention(query, key, value, Attention { heads: 1, groups: 1, spans, bias })
        };
        let agreement = tape.mul(found, query);
        tape.concat(&[item, found, agreement])
    }

    /// `[items, (2 + attributes) · width]`: items as embeddings of themselves, their popularity, their attributes.
    fn items_as(&self, tape: &mut Tape<'_>, items: &[ItemIndex], lookups: &mut Lookups) -> Var {
        let Lookups { ids, bags, parts } = lookups;
        let popularity = |&i: &ItemIndex| count_bucket(self.features.popularity[i as usize] as usize);
        ids.clear();
        ids.extend(items.iter().map(popularity));
        parts.clear();
        parts.push(tape.embed(self.tables.items, items));
        parts.push(tape.embed(self.tables.popularity, ids));
        for (table, &id) in self.features.item_attributes.iter().zip(&self.tables.item_attributes) {
            table.bags(items.iter().map(|&i| Some(i)), bags);
            parts.push(tape.embed_bag(id, &bags.ids, &bags.offsets, true));
        }
        tape.concat(parts)
    }
}

const POPULARITY: &str = "features.popularity";
const ITEM: &str = "items";
const USER: &str = "users";

/// The newest items of some histories, one after another.
#[derive(Default)]
struct Histories {
    items: Vec<ItemIndex>,
    offsets: Vec<u32>,
    positions: Vec<u32>,
}

impl Histories {
    /// The newest `length` items of each that the table knows, in place of those that were read before.
    fn read<'a>(&mut self, askers: impl Iterator<Item = Asker<'a>>, length: usize, known: usize) {
        let Self { items, offsets, positions } = self;
        items.clear();
        positions.clear();
        offsets.clear();
        offsets.push(0);
        for asker in askers {
            let start = items.len();
            items.extend(asker.history.iter().rev().copied().filter(|&i| (i as usize) < known).take(length));
            items[start..].reverse();
            positions.extend(0..(items.len() - start) as u32);
            offsets.push(items.len() as u32);
        }
    }

    fn span(&self, asker: usize) -> Span {
        Span { start: self.offsets[asker], end: self.offsets[asker + 1] }
    }

    /// The span of every asker.
    fn spans(&self) -> impl Iterator<Item = Span> {
        self.offsets.windows(2).map(|ends| Span { start: ends[0], end: ends[1] })
    }
}

impl Quantisable for InteractionMmoe {
    fn linear_layers(&self) -> Vec<ParamId> {
        let Tables { query, key, value, .. } = self.tables;
        [query, key, value].into_iter().chain(self.mixture.linear_layers()).collect()
    }
}

impl Trainable for InteractionMmoe {
    type Example = InteractionRow;

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn weight(&self, row: &InteractionRow) -> f64 {
        tasks::weight(&self.heads, &row.labels)
    }

    fn loss(&self, tape: &mut Tape<'_>, rows: &[&InteractionRow], _noise: u64) -> Var {
        let logits = self.row_logits(tape, rows);
        tasks::loss(tape, &self.heads, &logits, rows.iter().map(|row| row.labels.as_slice()))
    }
}
