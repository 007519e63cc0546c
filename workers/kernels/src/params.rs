//! Named weights and their gradients.
//!
//! In: shapes and seeds. Out: flat f32 storage that optimizers, checkpoints and tapes share. Never computes a step.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cpu::{Level, elementwise};
use crate::{QuantisedLinear, noise};

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
    /// Linear maps that tapes which serve compute in eight bits.
    quantised: BTreeMap<ParamId, Arc<QuantisedLinear>>,
}

impl Params {
    /// Adds a tensor. Equal name, seed and shape give equal values, whatever else the model has.
    ///
    /// # Panics
    /// If a tensor of that name is there.
    pub fn add(&mut self, name: &str, role: Role, rows: usize, cols: usize, init: Init, seed: u64) -> ParamId {
        assert!(self.tensors.iter().all(|t| t.name != name), "a second tensor named {name}");
        let data = match init {
            Init::Zeros => vec![0.0; rows * cols],
            Init::Ones => vec![1.0; rows * cols],
            Init::Normal(deviation) => {
                let key = noise::key_of(name, seed);
                let draw = |i| (noise::normal(key, i) * f64::from(deviation)) as f32;
                (0..(rows * cols) as u64).map(draw).collect()
            }
        };
        self.tensors.push(Tensor { name: name.to_owned(), role, rows, cols, data });
        ParamId(self.tensors.len() - 1)
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
    /// From now on a linear map serves, or tries, quantised weights. Where they serve, the f32 values are dropped: such
    /// parameters can no longer be trained or saved.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn quantise(&mut self, id: ParamId, linear: QuantisedLinear) {
        let tensor = &mut self.tensors[id.0];
        assert_eq!(linear.weights().shape(), (tensor.rows, tensor.cols), "quantised {}", tensor.name);
        if linear.serves() {
            tensor.data = Vec::new();
        }
        self.quantised.insert(id, Arc::new(linear));
    }
    /// Drops a tensor's values, and codes where it has some, once they are packed: such parameters can no longer be trained
    /// or saved. A map stays known as quantised.
    pub fn drop_values(&mut self, id: ParamId) {
        self.tensors[id.0].data = Vec::new();
        if let Some(linear) = self.quantised.get_mut(&id) {
            *linear = Arc::new(QuantisedLinear::serving(linear.weights().emptied()));
        }
    }
    /// The quantised weights of a linear map, where it has some.
    #[must_use]
    pub fn quantised(&self, id: ParamId) -> Option<&QuantisedLinear> {
        self.quantised.get(&id).map(Arc::as_ref)
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
    ///
    /// # Panics
    /// If the other one belongs to other parameters.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.tensors.len(), other.tensors.len(), "gradients of different models");
        for (sum, more) in self.tensors.iter_mut().zip(&other.tensors) {
            assert_eq!(sum.len(), more.len(), "gradients of different models");
            elementwise::add_to(Level::detect(), sum, more);
        }
    }
    /// Back to zero, keeping the memory.
    pub fn clear(&mut self) {
        for tensor in &mut self.tensors {
            tensor.fill(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_and_seeds_give_equal_values_in_any_model() {
        let (mut one, mut two) = (Params::default(), Params::default());
        one.add("first", Role::Vector, 1, 3, Init::Ones, 5);
        let a = one.add("table", Role::Embedding, 40, 50, Init::Normal(0.5), 5);
        let b = two.add("table", Role::Embedding, 40, 50, Init::Normal(0.5), 5);
        let c = two.add("other", Role::Embedding, 40, 50, Init::Normal(0.5), 5);
        assert_eq!(one.get(a).data, two.get(b).data);
        assert_ne!(two.get(b).data, two.get(c).data);
        let variance = one.get(a).data.iter().map(|x| x * x).sum::<f32>() / 2000.0;
        assert!((variance - 0.25).abs() < 0.03, "{variance}");
        assert_eq!(one.tensors()[0].data, [1.0; 3]);
    }

    #[test]
    fn gradients_add_and_clear() {
        let mut params = Params::default();
        let id = params.add("w", Role::Matrix, 2, 2, Init::Zeros, 0);
        let (mut a, mut b) = (Grads::zeros(&params), Grads::zeros(&params));
        a.get_mut(id).copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        b.get_mut(id).copy_from_slice(&[0.5; 4]);
        a.add(&b);
        assert_eq!(a.get(id), [1.5, 2.5, 3.5, 4.5]);
        a.clear();
        assert_eq!(a.get(id), [0.0; 4]);
    }
}
