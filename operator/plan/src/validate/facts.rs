//! What a data set will hold, as far as its declaration tells: columns and parts.
//!
//! In: what a `Dataset` declares. Out: facts that models and jobs are held against. Reads no file: what only a file tells
//! stays open and is the job's to refuse.

use recmesh_contract::config::{DatasetParams, EvaluationSplit, Format, Source, Split};

/// Behaviours of every planted world.
const PLANTED_BEHAVIOURS: [&str; 3] = ["view", "cart", "buy"];
/// Labels of every planted world.
const PLANTED_LABELS: [&str; 4] = ["click", "like", "rating", "watch"];

/// What a data set will hold.
pub(super) struct Facts {
    /// Users meeting items, rather than rows of features.
    pub(super) interactions: bool,
    /// Whether rows say what the user did.
    pub(super) behaviour: bool,
    /// What users can do; `None` when only the file tells.
    pub(super) behaviours: Option<Vec<String>>,
    /// The numeric columns of interactions, or the labels of examples; `None` when only the file tells.
    pub(super) labels: Option<Vec<String>>,
    /// Whether rows carry a time; `None` when only the file tells.
    pub(super) time: Option<bool>,
    /// Whether there is a validation part.
    pub(super) validation: bool,
    /// Whether there is a test part.
    pub(super) test: bool,
}

impl Facts {
    /// The facts of a declaration.
    pub(super) fn of(params: &DatasetParams) -> Self {
        let (validation, test) = match &params.split {
            Split::LeaveOneOut(_) => (true, true),
            Split::Time(shares) => (shares.validation > 0.0, shares.test > 0.0),
        };
        let (interactions, behaviour, labels, time) = match &params.source {
            Source::Planted(_) => (true, true, Some(PLANTED_LABELS.map(str::to_owned).to_vec()), Some(true)),
            Source::Interactions(source) => match (&source.format, &source.columns) {
                (Format::Sequences(_), _) => (true, false, Some(Vec::new()), Some(false)),
                (_, Some(columns)) => {
                    (true, columns.behaviour.is_some(), Some(columns.labels.clone()), Some(columns.time.is_some()))
                }
                // RecBole files name their own columns; none of them is a behaviour.
                (_, None) => (true, false, None, None),
            },
            Source::Examples(source) => {
                let labels = source.labels.iter().map(|label| label.name.clone()).collect();
                let own = source.validation_path.is_some();
                let validation = own || validation;
                let test = source.test_path.is_some() || (!own && test);
                return Self {
                    interactions: false,
                    behaviour: false,
                    behaviours: None,
                    labels: Some(labels),
                    time: None,
                    validation,
                    test,
                };
            }
        };
        let planted = matches!(params.source, Source::Planted(_));
        let behaviours = planted.then(|| PLANTED_BEHAVIOURS.map(str::to_owned).to_vec());
        Self { interactions, behaviour, behaviours, labels, time, validation, test }
    }

    /// Whether there is a part.
    pub(super) fn has(&self, split: EvaluationSplit) -> bool {
        match split {
            EvaluationSplit::Validation => self.validation,
            EvaluationSplit::Test => self.test,
        }
    }

    /// The columns that a threshold can name, for messages.
    pub(super) fn columns(&self) -> String {
        let behaviour = self.behaviour.then(|| "behaviour".to_owned());
        let all: Vec<String> = behaviour.into_iter().chain(self.labels.iter().flatten().cloned()).collect();
        if all.is_empty() {
            "it has neither a behaviour nor labels".to_owned()
        } else {
            format!("it has: {}", all.join(", "))
        }
    }
}
