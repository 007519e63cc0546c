//! Named weights and their gradients.
//!
//! In: shapes and seeds. Out: flat f32 storage that optimizers, checkpoints and tapes share. Never computes a step.

/// What a tensor is, which decides who updates it: Muon takes matrices only, decay spares vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Rows looked up by index.
    Embedding,
    /// A linear map `[out, in]`.
    Matrix,
    /// Norm gains, biases.
    Vector,
}

/// Initial values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// Zeros.
    Zeros,
    /// Ones.
    Ones,
    /// Normal with this standard deviation, drawn from the tensor's name and the seed.
    Normal(f32),
}

/// One named weight, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Unique name, dotted: `blocks.0.attention.q`.
    pub name: String,
    /// Who updates it.
    pub role: Role,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows × cols` values.
    pub data: Vec<f32>,
}

/// A tensor's place in its [`Params`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ParamId(pub usize);

/// All weights of a model, in a fixed order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params {
    tensors: Vec<Tensor>,
}

impl Params {
    /// Adds a tensor. Equal name, seed and shape give equal values, whatever else the model has.
    pub fn add(&mut self, _name: &str, _role: Role, _rows: usize, _cols: usize, _init: Init, _seed: u64) -> ParamId {
        unimplemented!()
    }
    /// A tensor.
    #[must_use]
    pub fn get(&self, id: ParamId) -> &Tensor {
        &self.tensors[id.0]
    }
    /// A tensor, to be changed.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Tensor {
        &mut self.tensors[id.0]
    }
    /// All tensors in order.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }
    /// All tensors in order, to be changed.
    pub fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.tensors
    }
}

/// Gradients shaped like a [`Params`], all zero at first.
#[derive(Clone, Debug)]
pub struct Grads {
    tensors: Vec<Vec<f32>>,
}

impl Grads {
    /// Zeros in the shape of `params`.
    #[must_use]
    pub fn zeros(params: &Params) -> Self {
        Self { tensors: params.tensors.iter().map(|t| vec![0.0; t.data.len()]).collect() }
    }
    /// One tensor's gradient.
    #[must_use]
    pub fn get(&self, id: ParamId) -> &[f32] {
        &self.tensors[id.0]
    }
    /// One tensor's gradient, to be added to.
    pub fn get_mut(&mut self, id: ParamId) -> &mut [f32] {
        &mut self.tensors[id.0]
    }
    /// Adds another gradient.
    pub fn add(&mut self, _other: &Self) {
        unimplemented!()
    }
    /// Back to zero, keeping the memory.
    pub fn clear(&mut self) {
        unimplemented!()
    }
}
