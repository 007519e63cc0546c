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
use recmesh_kernels::{ParamId, Params, Tape, Var, Workspace};

use super::{
    features::{CategoricalFeature, NumericFeature, squash},
    mixture::{Mixture, Part, probabilities},
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
        const ROWS: usize = 1024;
        let mut all = Vec::with_capacity(rows.len() * self.heads.len());
        for rows in rows.chunks(ROWS) {
            let mut tape = Tape::serve(&self.params, workspace);
            let logits = self.logits(&mut tape, rows);
            all.extend(probabilities(&mut tape, &logits));
        }
        all
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

    pub(super) fn logits(&self, tape: &mut Tape<'_>, rows: &[&TabularRow]) -> Vec<Var> {
        let value = self.features(tape, rows);
        self.mixture.logits(tape, &[Part { value, rows: None }])
    }

    /// Softmax gates over experts, one a task.
    #[cfg(test)]
    pub(super) fn gates(&self, tape: &mut Tape<'_>, rows: &[&TabularRow]) -> Vec<Var> {
        let value = self.features(tape, rows);
        self.mixture.gate_weights(tape, &[Part { value, rows: None }])
    }

    fn features(&self, tape: &mut Tape<'_>, rows: &[&TabularRow]) -> Var {
        let mut parts = Vec::with_capacity(1 + self.buckets.len() + self.categories.len());
        let number = |row: &TabularRow, i: usize| row.numeric.get(i).copied().filter(|v| !v.is_nan()).unwrap_or(0.0);
        if !self.numeric.is_empty() {
            let squashed = |row| (0..self.numeric.len()).map(move |i| squash(number(row, i)));
            let values: Vec<f32> = rows.iter().flat_map(|&row| squashed(row)).collect();
            parts.push(tape.constant(rows.len(), self.numeric.len(), &values));
        }
        for (i, (feature, &table)) in self.numeric.iter().zip(&self.buckets).enumerate() {
            let ids: Vec<u32> = rows.iter().map(|row| feature.bucket(number(row, i))).collect();
            parts.push(tape.embed(table, &ids));
        }
        for (i, (feature, &table)) in self.categorical.iter().zip(&self.categories).enumerate() {
            let id = |row: &&TabularRow| row.categorical.get(i).copied().filter(|&id| id < feature.size).unwrap_or(0);
            let ids: Vec<u32> = rows.iter().map(id).collect();
            parts.push(tape.embed(table, &ids));
        }
        tape.concat(&parts)
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
        let logits = self.logits(tape, rows);
        tasks::loss(tape, &self.heads, &logits, rows.iter().map(|row| row.labels.as_slice()))
    }
}
