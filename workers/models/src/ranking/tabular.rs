//! The mixture of experts over rows of features.
//!
//! ```text
//! numbers ─► signed logarithm ┐
//!         └► quantile bucket ─► embedding ┼─► concat ─► mixture
//! categories ─► embedding ────┘
//! ```
//!
//! In: standardised numbers and category ids. Out: the loss, or a probability a task. A bucket's embedding lets a task
//! bend in a number; the number itself keeps its order. Never standardises, never builds a vocabulary.

use std::path::Path;

use recmesh_contract::config::{Mmoe, RankingAlgorithm, RankingParams};
use recmesh_kernels::{Packed, ParamId, Params, Tape, Var, Workspace};

use super::{
    features::{CategoricalFeature, NumericFeature, squash},
    mixture::{Columns, Mixture, Part, probabilities},
    saved::{self, Builder, Header},
    tasks::{self, Head},
};
use crate::{
    ModelError, Trainable,
    quant::{self, Quantisable},
    weights,
};

/// One row of features with its labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TabularRow {
    /// Standardised numbers, in the order of the model's numeric columns.
    pub numeric: Vec<f32>,
    /// Category ids, in the order of the model's categorical columns; 0 is unseen or missing.
    pub categorical: Vec<u32>,
    /// One label a task; `None` when it is unknown. Empty when scoring.
    pub labels: Vec<Option<bool>>,
}

/// Memory of a pass over rows, used again by the next one: as much as the most rows so far took.
#[derive(Default)]
pub(super) struct Scratch {
    /// Squashed numbers, row by row.
    numbers: Vec<f32>,
    /// Rows of the table that is being read.
    ids: Vec<u32>,
    parts: Vec<Var>,
    columns: Columns,
}

/// A mixture of experts over rows of features.
#[derive(Clone)]
pub struct TabularMmoe {
    params: Params,
    mmoe: Mmoe,
    heads: Vec<Head>,
    numeric: Vec<NumericFeature>,
    categorical: Vec<CategoricalFeature>,
    buckets: Vec<ParamId>,
    categories: Vec<ParamId>,
    mixture: Mixture,
}

impl TabularMmoe {
    /// A model with fresh weights.
    ///
    /// # Errors
    /// When there are no tasks or no features, or a size is zero.
    pub fn new(
        params: &RankingParams,
        numeric: Vec<NumericFeature>,
        categorical: Vec<CategoricalFeature>,
        seed: u64,
    ) -> Result<Self, ModelError> {
        let RankingAlgorithm::Mmoe(mmoe) = &params.algorithm;
        Self::build(Builder::fresh(seed), mmoe.clone(), tasks::heads(&params.tasks)?, numeric, categorical)
    }

    fn build(
        mut builder: Builder,
        mmoe: Mmoe,
        heads: Vec<Head>,
        numeric: Vec<NumericFeature>,
        categorical: Vec<CategoricalFeature>,
    ) -> Result<Self, ModelError> {
        tasks::check(&heads)?;
        let width = mmoe.embedding as usize;
        let columns = numeric.len() * (width + 1) + categorical.len() * width;
        if columns == 0 {
            return Err(ModelError::Mismatch("there are no features to rank by".into()));
        }
        let buckets = numeric
            .iter()
            .enumerate()
            .map(|(i, f)| builder.embedding(&format!("numeric.{i}"), f.boundaries.len() + 1, width));
        let buckets = buckets.collect::<Result<_, _>>()?;
        let categories = categorical
            .iter()
            .enumerate()
            .map(|(i, f)| builder.embedding(&format!("categorical.{i}"), f.size.max(1) as usize, width));
        let categories = categories.collect::<Result<_, _>>()?;
        let mixture = Mixture::new(&mut builder, &mmoe, heads.len(), &[("row", columns)])?;
        Ok(Self { params: builder.params, mmoe, heads, numeric, categorical, buckets, categories, mixture })
    }

    /// The tasks' names, in the order of labels and probabilities.
    pub fn tasks(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|head| head.name.as_str())
    }

    /// Probabilities, `rows × tasks` row-major. Rows may lack labels; a category beyond its column counts as unseen, a
    /// missing number as the mean.
    #[must_use]
    pub fn probabilities(&self, workspace: &mut Workspace, rows: &[&TabularRow]) -> Vec<f32> {
        self.score(&Packed::default(), workspace, rows, &mut Scratch::default())
    }

    /// The same over weights as far as they are packed.
    pub(super) fn score(
        &self,
        packed: &Packed,
        workspace: &mut Workspace,
        rows: &[&TabularRow],
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        const ROWS: usize = 1024;
        let mut all = Vec::with_capacity(rows.len() * self.heads.len());
        for rows in rows.chunks(ROWS) {
            let mut tape = Tape::serve_packed(&self.params, packed, workspace);
            self.logits(&mut tape, rows, scratch);
            let found = probabilities(&mut tape, &scratch.columns.logits);
            all.extend_from_slice(tape.value(found));
        }
        all
    }

    /// The weights as serving reads them, in place of their first form: the model can only serve from now on.
    pub(super) fn pack(&mut self) -> Packed {
        let packed = Packed::new(&self.params, &self.mixture.maps().collect::<Vec<_>>(), &[]);
        packed.maps().for_each(|id| self.params.drop_values(id));
        packed
    }

    /// Writes the model's folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let header = Header::TabularMmoe {
            mmoe: self.mmoe.clone(),
            tasks: self.heads.clone(),
            numeric: self.numeric.clone(),
            categorical: self.categorical.clone(),
        };
        saved::save(dir, &header, &self.params, &[])
    }

    /// Reads a model's folder.
    ///
    /// # Errors
    /// When a file is missing, corrupt, or of a model over interactions.
    pub fn load(dir: &Path) -> Result<Self, ModelError> {
        let Header::TabularMmoe { mmoe, tasks, numeric, categorical } = weights::load_header(dir)? else {
            return Err(ModelError::Mismatch(format!(
                "{}: this model ranks the items of interactions; it was asked for rows of features",
                dir.display()
            )));
        };
        let builder = Builder::saved(weights::load_arrays(dir)?);
        quant::open(dir, Self::build(builder, mmoe, tasks, numeric, categorical)?)
    }

    /// Computes the logits into `scratch.columns`.
    pub(super) fn logits(&self, tape: &mut Tape<'_>, rows: &[&TabularRow], scratch: &mut Scratch) {
        let value = self.features(tape, rows, scratch);
        self.mixture.logits(tape, &[Part { value, rows: None }], &mut scratch.columns);
    }

    /// Softmax gates over experts, one a task.
    #[cfg(test)]
    pub(super) fn gates(&self, tape: &mut Tape<'_>, rows: &[&TabularRow]) -> Vec<Var> {
        let (value, mut gates) = (self.features(tape, rows, &mut Scratch::default()), Vec::new());
        self.mixture.gate_weights(tape, &[Part { value, rows: None }], &mut gates);
        gates
    }

    fn features(&self, tape: &mut Tape<'_>, rows: &[&TabularRow], scratch: &mut Scratch) -> Var {
        let Scratch { numbers, ids, parts, .. } = scratch;
        parts.clear();
        let number = |row: &TabularRow, i: usize| row.numeric.get(i).copied().filter(|v| !v.is_nan()).unwrap_or(0.0);
        if !self.numeric.is_empty() {
            let squashed = |row| (0..self.numeric.len()).map(move |i| squash(number(row, i)));
            numbers.clear();
            numbers.extend(rows.iter().flat_map(|&row| squashed(row)));
            parts.push(tape.constant(rows.len(), self.numeric.len(), numbers));
        }
        for (i, (feature, &table)) in self.numeric.iter().zip(&self.buckets).enumerate() {
            ids.clear();
            ids.extend(rows.iter().map(|row| feature.bucket(number(row, i))));
            parts.push(tape.embed(table, ids));
        }
        for (i, (feature, &table)) in self.categorical.iter().zip(&self.categories).enumerate() {
            let id = |row: &&TabularRow| row.categorical.get(i).copied().filter(|&id| id < feature.size).unwrap_or(0);
            ids.clear();
            ids.extend(rows.iter().map(id));
            parts.push(tape.embed(table, ids));
        }
        tape.concat(parts)
    }
}

impl Quantisable for TabularMmoe {
    fn linear_layers(&self) -> Vec<ParamId> {
        self.mixture.linear_layers().collect()
    }
}

impl Trainable for TabularMmoe {
    type Example = TabularRow;

    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn weight(&self, row: &TabularRow) -> f64 {
        tasks::weight(&self.heads, &row.labels)
    }

    fn loss(&self, tape: &mut Tape<'_>, rows: &[&TabularRow], _noise: u64) -> Var {
        let mut scratch = Scratch::default();
        self.logits(tape, rows, &mut scratch);
        tasks::loss(tape, &self.heads, &scratch.columns.logits, rows.iter().map(|row| row.labels.as_slice()))
    }
}
