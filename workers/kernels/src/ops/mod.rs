//! The closed set of operations, each a file with a forward and a backward.
//!
//! In: a [`Forward`](crate::graph::Forward) and the operation's inputs. Out: a value; going back, gradients of inputs
//! and parameters. Adding an operation is a file, an arm here and a method of the tape. Operations never start threads
//! and never allocate outside the pool; those that serve share rows or columns among the tape's team, where it has one.

pub(crate) mod attention;
pub(crate) mod bce;
pub(crate) mod choice;
pub(crate) mod dense;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod linear;
pub(crate) mod linear_bf16;
pub(crate) mod logits;
pub(crate) mod lookup;
pub(crate) mod mixture;
pub(crate) mod norm;
pub(crate) mod sampled;
pub(crate) mod shape;
pub(crate) mod softmax;
pub(crate) mod softmax_bf16;
pub(crate) mod softmax_loss;
pub(crate) mod unprojected;

use crate::buffer::Buffer;
use crate::graph::{Backward, Value};

#[cfg(test)]
mod shared;

/// What a value was made by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// A constant, or anything while serving.
    Leaf,
    Embed(lookup::Embed),
    EmbedBag(lookup::EmbedBag),
    Gather(lookup::Gather),
    Concat(shape::Concat),
    Columns(shape::Columns),
    Stack(shape::Stack),
    Linear(linear::Linear),
    Add(elementwise::Add),
    Mul(elementwise::Mul),
    Scale(elementwise::Scale),
    Activate(elementwise::Activate),
    Swiglu(elementwise::Swiglu),
    Dropout(dropout::Dropout),
    LayerNorm(norm::LayerNorm),
    RmsNorm(norm::RmsNorm),
    Softmax(softmax::Softmax),
    Mix(mixture::Mix),
    Attend(attention::Attend),
    SoftmaxLoss(softmax_loss::SoftmaxLoss),
    SampledLoss(sampled::SampledLoss),
    ChoiceLoss(choice::ChoiceLoss),
    Bce(bce::Bce),
}

impl Op {
    /// Turns the gradient `dy` of `y` into gradients of what `y` was made of.
    pub fn backward(&self, y: &Value, dy: Buffer, back: &mut Backward<'_>) {
        match self {
            Self::Leaf => back.pool.give(dy),
            Self::Embed(op) => op.backward(y, dy, back),
            Self::EmbedBag(op) => op.backward(y, dy, back),
            Self::Gather(op) => op.backward(y, dy, back),
            Self::Concat(op) => op.backward(y, dy, back),
            Self::Columns(op) => op.backward(y, dy, back),
            Self::Stack(op) => op.backward(y, dy, back),
            Self::Linear(op) => op.backward(y, dy, back),
            Self::Add(op) => op.backward(dy, back),
            Self::Mul(op) => op.backward(dy, back),
            Self::Scale(op) => op.backward(dy, back),
            Self::Activate(op) => op.backward(dy, back),
            Self::Swiglu(op) => op.backward(y, dy, back),
            Self::Dropout(op) => op.backward(dy, back),
            Self::LayerNorm(op) => op.backward(y, dy, back),
            Self::RmsNorm(op) => op.backward(y, dy, back),
            Self::Softmax(op) => op.backward(y, dy, back),
            Self::Mix(op) => op.backward(y, dy, back),
            Self::Attend(op) => op.backward(y, dy, back),
            Self::SoftmaxLoss(op) => op.backward(y, dy, back),
            Self::SampledLoss(op) => op.backward(y, dy, back),
            Self::ChoiceLoss(op) => op.backward(y, dy, back),
            Self::Bce(op) => op.backward(y, dy, back),
        }
    }
}
