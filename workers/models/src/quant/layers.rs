//! Which layers are quantised, and models with those layers tried or served in eight bits.
//!
//! In: a trained model and how to quantise. Out: a copy of it that shares nothing with the original; the original stays
//! as it is.

use recmesh_contract::config::{ActivationScales, LinearQuantization, Quantization, QuantizationFormat, WeightScales};
use recmesh_kernels::{
    Level, ParamId, Params, QuantisedLinear, QuantisedWeights, Tensor, fp8, fp8::gates::LayerError, int8,
};

use crate::Trainable;

/// A model whose linear layers can be quantised.
pub trait Quantisable: Trainable + Clone {
    /// The weights of the layers that bear it: linear maps between hidden rows. Heads, gates and embeddings are none.
    fn linear_layers(&self) -> Vec<ParamId>;

    /// Those of them that serve better as they were trained, in this format.
    fn kept(&self, _format: QuantizationFormat) -> Vec<ParamId> {
        Vec::new()
    }
}

/// The layers that a format quantises.
pub fn layers<M: Quantisable>(model: &M, format: QuantizationFormat) -> Vec<ParamId> {
    let kept = model.kept(format);
    model.linear_layers().into_iter().filter(|id| !kept.contains(id)).collect()
}

/// What shares a scale among weights, in kernels.
pub(super) fn fp8_scaling(linear: LinearQuantization) -> fp8::Scaling {
    let LinearQuantization { weights, activations: ActivationScales::PerTokenDynamic } = linear;
    match weights {
        WeightScales::PerChannel => fp8::Scaling::Rows,
        WeightScales::PerTensor => fp8::Scaling::Tensor,
    }
}

/// The same of signed bytes.
pub(super) fn int8_scaling(linear: LinearQuantization) -> int8::Scaling {
    let LinearQuantization { weights, activations: ActivationScales::PerTokenDynamic } = linear;
    match weights {
        WeightScales::PerChannel => int8::Scaling::Rows,
        WeightScales::PerTensor => int8::Scaling::Tensor,
    }
}

/// What a quantised layer is for.
#[derive(Clone, Copy)]
enum Use {
    Trial,
    Serving,
}

fn quantise(tensor: &Tensor, how: &Quantization, purpose: Use) -> QuantisedLinear {
    let Tensor { rows, cols, data, .. } = tensor;
    let weights: QuantisedWeights = match how.format {
        QuantizationFormat::E4m3 => {
            let (level, scaling) = (Level::detect(), fp8_scaling(how.linear));
            fp8::Quantised::new(level, fp8::Format::E4m3, scaling, data, *rows, *cols).into()
        }
        QuantizationFormat::Int8 => int8::Weights::new(int8_scaling(how.linear), data, *rows, *cols).into(),
    };
    match purpose {
        Use::Trial => QuantisedLinear::trial(weights),
        Use::Serving => QuantisedLinear::serving(weights),
    }
}

fn with<M: Quantisable>(model: &M, how: &Quantization, purpose: Use) -> M {
    let mut copy = model.clone();
    for id in layers(model, how.format) {
        copy.params_mut().quantise(id, quantise(model.params().get(id), how, purpose));
    }
    copy
}

/// The model, answering in high precision and counting what quantised layers would change. Ask it from one thread: its
/// figures follow the order of what it is asked.
#[must_use]
pub fn trial<M: Quantisable>(model: &M, how: &Quantization) -> M {
    with(model, how, Use::Trial)
}

/// The model with quantised layers, as it serves.
#[must_use]
pub fn quantised<M: Quantisable>(model: &M, how: &Quantization) -> M {
    with(model, how, Use::Serving)
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
    let quantised: usize = ids.map(|linear| linear.weights().bytes()).sum();
    (floats * size_of::<f32>() + quantised) as u64
}
