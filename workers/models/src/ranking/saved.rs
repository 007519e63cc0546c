//! Where a model's weights come from: fresh by seed, or out of a saved folder.
//!
//! In: names and shapes, as the architecture asks for them. Out: parameters; or the error that the folder holds another
//! size. One way through the architecture serves both, so that a saved model cannot differ from a fresh one.

use std::path::Path;

use recmesh_kernels::{Init, ParamId, Params, Role};
use serde::{Deserialize, Serialize};

use super::{
    features::{CategoricalFeature, NumericFeature},
    tasks::Head,
};
use crate::{
    ModelError,
    weights::{self, Arrays, Values},
};
use recmesh_contract::config::Mmoe;

/// `model.json` of a ranking model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Header {
    /// Rows of features.
    #[serde(rename_all = "camelCase")]
    TabularMmoe {
        /// The architecture.
        mmoe: Mmoe,
        /// What is predicted.
        tasks: Vec<Head>,
        /// Columns of numbers.
        numeric: Vec<NumericFeature>,
        /// Columns of categories.
        categorical: Vec<CategoricalFeature>,
    },
    /// Candidates of a user.
    #[serde(rename_all = "camelCase")]
    InteractionMmoe {
        /// The architecture.
        mmoe: Mmoe,
        /// What is predicted.
        tasks: Vec<Head>,
        /// Items.
        items: usize,
        /// Users.
        users: usize,
        /// Names and vocabulary sizes.
        item_attributes: Vec<CategoricalFeature>,
        /// Names and vocabulary sizes.
        user_attributes: Vec<CategoricalFeature>,
    },
}

/// Takes parameters one by one.
pub(super) struct Builder {
    /// What was taken so far.
    pub params: Params,
    source: Source,
}

enum Source {
    Seed(u64),
    Saved(Arrays),
}

impl Builder {
    /// Fresh weights.
    pub(super) fn fresh(seed: u64) -> Self {
        Self { params: Params::default(), source: Source::Seed(seed) }
    }

    /// Weights out of a folder's arrays.
    pub(super) fn saved(arrays: Arrays) -> Self {
        Self { params: Params::default(), source: Source::Saved(arrays) }
    }

    /// One more parameter.
    ///
    /// # Errors
    /// When the folder has none of this name and size.
    pub(super) fn add(
        &mut self,
        name: &str,
        role: Role,
        (rows, cols): (usize, usize),
        init: Init,
    ) -> Result<ParamId, ModelError> {
        match &mut self.source {
            Source::Seed(seed) => Ok(self.params.add(name, role, rows, cols, init, *seed)),
            Source::Saved(arrays) => {
                let values = arrays.f32(name)?;
                if Some(values.len()) != rows.checked_mul(cols) {
                    let reason = format!("array {name} has {} values, wanted {rows} × {cols}", values.len());
                    return Err(arrays.corrupt(reason));
                }
                let id = self.params.add(name, role, rows, cols, Init::Zeros, 0);
                self.params.get_mut(id).data = values;
                Ok(id)
            }
        }
    }

    /// A table of embeddings.
    pub(super) fn embedding(&mut self, name: &str, rows: usize, cols: usize) -> Result<ParamId, ModelError> {
        self.add(name, Role::Embedding, (rows, cols), Init::Normal(0.1))
    }

    /// A linear map whose input has `fan` columns in all; `gain` 2 keeps the variance through a rectifier (He et al.,
    /// arXiv 1502.01852).
    pub(super) fn matrix(
        &mut self,
        name: &str,
        out: usize,
        columns: usize,
        fan: usize,
        gain: f32,
    ) -> Result<ParamId, ModelError> {
        self.add(name, Role::Matrix, (out, columns), Init::Normal((gain / fan.max(1) as f32).sqrt()))
    }

    /// A bias.
    pub(super) fn bias(&mut self, name: &str, out: usize) -> Result<ParamId, ModelError> {
        self.add(name, Role::Vector, (1, out), Init::Zeros)
    }
}

/// Writes a model's folder: its weights, and tables of indices beside them.
pub(super) fn save(
    dir: &Path,
    header: &Header,
    params: &Params,
    tables: &[(String, &[u32])],
) -> Result<(), ModelError> {
    let weights = params.tensors().iter().map(|t| (t.name.as_str(), Values::F32(t.data.clone())));
    let tables = tables.iter().map(|(name, values)| (name.as_str(), Values::U32(values.to_vec())));
    let arrays: Vec<(&str, Values)> = weights.chain(tables).collect();
    weights::save_arrays(dir, header, &arrays)
}
