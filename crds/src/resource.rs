//! One resource of any kind, and where its fields stand in a file.
//!
//! In: what the manifest reader has checked. Out: typed resources that still know their file, line and column, so that
//! later steps can point at the very field they object to.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Dataset, EvaluationJob, Pipeline, RankingModel, RetrievalModel, Tokenizer, TrainingJob};

/// The kinds of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Rows and their split.
    Dataset,
    /// Items to semantic IDs.
    Tokenizer,
    /// Finds candidates.
    RetrievalModel,
    /// Scores candidates.
    RankingModel,
    /// Makes a model's version.
    TrainingJob,
    /// Measures a model.
    EvaluationJob,
    /// Answers requests.
    Pipeline,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Dataset,
        Self::Tokenizer,
        Self::RetrievalModel,
        Self::RankingModel,
        Self::TrainingJob,
        Self::EvaluationJob,
        Self::Pipeline,
    ];

    /// As manifests write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataset => "Dataset",
            Self::Tokenizer => "Tokenizer",
            Self::RetrievalModel => "RetrievalModel",
            Self::RankingModel => "RankingModel",
            Self::TrainingJob => "TrainingJob",
            Self::EvaluationJob => "EvaluationJob",
            Self::Pipeline => "Pipeline",
        }
    }

    /// The kind that manifests write so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource.
// A process holds dozens, and boxes would cost every reader a dereference.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Resource {
    /// Rows and their split.
    Dataset(Dataset),
    /// Items to semantic IDs.
    Tokenizer(Tokenizer),
    /// Finds candidates.
    RetrievalModel(RetrievalModel),
    /// Scores candidates.
    RankingModel(RankingModel),
    /// Makes a model's version.
    TrainingJob(TrainingJob),
    /// Measures a model.
    EvaluationJob(EvaluationJob),
    /// Answers requests.
    Pipeline(Pipeline),
}

impl Resource {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Dataset(_) => Kind::Dataset,
            Self::Tokenizer(_) => Kind::Tokenizer,
            Self::RetrievalModel(_) => Kind::RetrievalModel,
            Self::RankingModel(_) => Kind::RankingModel,
            Self::TrainingJob(_) => Kind::TrainingJob,
            Self::EvaluationJob(_) => Kind::EvaluationJob,
            Self::Pipeline(_) => Kind::Pipeline,
        }
    }
}

/// A place in a file, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A resource that knows where it stands.
#[derive(Clone, Debug)]
pub struct Located {
    /// The resource.
    pub resource: Resource,
    /// Its name.
    pub name: String,
    /// Its namespace, where the manifest gives one.
    pub namespace: Option<String>,
    /// The file.
    pub file: Arc<str>,
    /// The line that its document begins on.
    pub line: usize,
    pub(crate) positions: Arc<BTreeMap<String, Position>>,
}

impl Located {
    /// The resource's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.resource.kind()
    }

    /// Where the field of a JSON pointer (`/spec/algorithm`) stands, or its nearest enclosing field that is written.
    #[must_use]
    pub fn locate(&self, pointer: &str) -> Position {
        nearest(&self.positions, pointer).unwrap_or(Position { line: self.line, column: 1 })
    }

    /// Whether the field of a JSON pointer is written in the file rather than a default.
    #[must_use]
    pub fn written(&self, pointer: &str) -> bool {
        self.positions.contains_key(pointer)
    }

    /// An error at the field of a JSON pointer.
    #[must_use]
    pub fn error(&self, pointer: &str, message: impl Into<String>) -> ManifestError {
        let Position { line, column } = self.locate(pointer);
        ManifestError {
            file: self.file.to_string(),
            line,
            column,
            resource: Some(format!("{}/{}", self.kind(), self.name)),
            path: field_path(pointer),
            message: message.into(),
        }
    }
}

/// The position of a pointer or of the nearest enclosing one that is written.
pub(crate) fn nearest(positions: &BTreeMap<String, Position>, pointer: &str) -> Option<Position> {
    let mut pointer = pointer;
    loop {
        if let Some(position) = positions.get(pointer) {
            return Some(*position);
        }
        pointer = pointer.rfind('/').and_then(|cut| pointer.get(..cut))?;
    }
}

/// A JSON pointer as people write it: `/spec/tasks/0/name` becomes `spec.tasks[0].name`.
pub(crate) fn field_path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        let plain = !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
        if part.bytes().all(|c| c.is_ascii_digit()) && !part.is_empty() {
            path.push_str(&format!("[{part}]"));
        } else if !plain {
            path.push_str(&format!("[{part:?}]"));
        } else {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&part);
        }
    }
    path
}

/// What is wrong with a manifest, where, and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error, Serialize)]
#[error("{file}:{line}:{column}: {}{path}{}{message}", subject(.resource, .path), if .path.is_empty() { "" } else { ": " })]
pub struct ManifestError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
    /// `Kind/name`, where the document got that far.
    pub resource: Option<String>,
    /// The field: `spec.algorithm.lazyDecoder.layers`; empty for the whole document.
    pub path: String,
    /// What is wrong and the fix.
    pub message: String,
}

fn subject(resource: &Option<String>, path: &str) -> String {
    match resource {
        Some(resource) if path.is_empty() => format!("{resource}: "),
        Some(resource) => format!("{resource} "),
        None => String::new(),
    }
}
