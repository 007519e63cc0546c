//! Which layers are quantised, and models with those layers tried or served in eight bits.
//!
//! In: a trained model and how to quantise. Out: a copy of it that shares nothing with the original; the original stays
//! as it is.

use recmesh_contract::config::{ActivationScales, LinearQuantization, Quantization, QuantizationFormat, WeightScales};
use recmesh_kernels::fp8::{Format, Linear, Quantised, Scaling, gates::LayerError};
use recmesh_kernels::{Level, ParamId, Params};

use crate::Trainable;

/// A model whose linear layers can be quantised.
pub trait Quantisable: Trainable + Clone {
    /// The weights of the layers that bear it: linear maps between hidden rows. Heads, gates and embeddings are none.
    fn linear_layers(&self) -> Vec<ParamId>;
}

/// The format of codes in kernels.
pub(super) fn format(format: QuantizationFormat) -> Format {
    match format {
        QuantizationFormat::E4m3 => Format::E4m3,
    }
}

/// What shares a scale among weights, in kernels.
pub(super) fn scaling(linear: LinearQuantization) -> Scaling {
    let LinearQuantization { weights, activations: ActivationScales::PerTokenDynamic } = linear;
    match weights {
        WeightScales::PerChannel => Scaling::Rows,
        WeightScales::PerTensor => Scaling::Tensor,
    }
}

fn with<M: Quantisable>(model: &M, how: &Quantization, make: fn(Quantised) -> Linear) -> M {
    let mut copy = model.clone();
    for id in model.linear_layers() {
        let tensor = model.params().get(id);
        let (rows, cols) = (tensor.rows, tensor.cols);
        let weights =
            Quantised::new(Level::detect(), format(how.format), scaling(how.linear), &tensor.data, rows, cols);
        copy.params_mut().quantise(id, make(weights));
    }
    copy
}

/// The model, answering in high precision and counting what quantised layers would change. Ask it from one thread: its
/// figures follow the order of what it is asked.
#[must_use]
pub fn trial<M: Quantisable>(model: &M, how: &Quantization) -> M {
    with(model, how, Linear::trial)
}

/// The model with quantised layers, as it serves.
#[must_use]
pub fn quantised<M: Quantisable>(model: &M, how: &Quantization) -> M {
    with(model, how, Linear::serving)
}

/// What a trial has found of every layer that computed anything.
#[must_use]
pub fn errors<M: Quantisable>(trial: &M) -> Vec<LayerError> {
    let params = trial.params();
    let error = |id: ParamId| {
        let rel_error = params.quantised(id)?.rel_error()?;
        Some(LayerError { layer: params.get(id).name.clone(), rel_error })
    };
    trial.linear_layers().into_iter().filter_map(error).collect()
}

/// Bytes of all weights: f32, codes, scales. Serving packs f32 maps, which rounds their outputs up to 64.
#[must_use]
pub fn weight_bytes(params: &Params) -> u64 {
    let floats: usize = params.tensors().iter().map(|tensor| tensor.data.len()).sum();
    let ids = (0..params.tensors().len()).filter_map(|at| params.quantised(ParamId(at)));
    let quantised: usize = ids.map(|it| it.weights().codes().len() + size_of_val(it.weights().scales())).sum();
    (floats * size_of::<f32>() + quantised) as u64
}
