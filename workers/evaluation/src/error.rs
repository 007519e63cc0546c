//! What makes an evaluation impossible, with the row or the name that says where.

use recmesh_contract::Failure;

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
pub enum EvaluationError {
    /// Nothing to measure against.
    #[error("the {split} split has no target; choose another split or check the data set's split rule")]
    NoTargets {
        /// Which split.
        split: &'static str,
    },
    /// Columns of different length.
    #[error("{what} has {found} values where {wanted} are needed")]
    Length {
        /// Which column.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What the others ask for.
        wanted: usize,
    },
    /// A score or label is not a number.
    #[error("the {what} of row {row} is not a number")]
    NotANumber {
        /// `score` or `label`.
        what: &'static str,
        /// Row, from 0.
        row: usize,
    },
    /// A label is neither 0 nor 1.
    #[error("the label of row {row} is {label}, not 0 or 1")]
    NotBinary {
        /// Row, from 0.
        row: usize,
        /// What it is.
        label: f32,
    },
    /// A probability is out of its range.
    #[error("the score of row {row} is {score}, not a probability in 0..=1")]
    NoProbability {
        /// Row, from 0.
        row: usize,
        /// What it is.
        score: f32,
    },
    /// All labels are equal, so that there is no order to measure.
    #[error("all labels are {label}: AUC needs both classes; evaluate more rows or another split")]
    OneClass {
        /// The only label.
        label: f32,
    },
    /// Something is wrong with one task.
    #[error("task {task}: {source}")]
    Task {
        /// Which task.
        task: String,
        /// What is wrong.
        source: Box<EvaluationError>,
    },
    /// The model gave no answer.
    #[error("the model failed on rows {first} to {last}: {source}")]
    Model {
        /// First row of the batch, from 0.
        first: usize,
        /// Last row of the batch.
        last: usize,
        /// What it said.
        source: Failure,
    },
    /// The model broke its contract.
    #[error("the model's answer for row {row} {what}")]
    Answer {
        /// Row, from 0.
        row: usize,
        /// What is wrong: `has item 7 twice`.
        what: String,
    },
    /// A gate names no metric.
    #[error("gate {gate:?} names no metric of this evaluation; there are: {}", known.join(", "))]
    UnknownMetric {
        /// What the gate says.
        gate: String,
        /// What could be said.
        known: Vec<String>,
    },
}
