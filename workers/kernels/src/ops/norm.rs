//! Layer norm and root-mean-square norm over columns.
//!
//! In: rows. Out: rows of unit scale, times a learned gain. Kept: mean and inverse deviation of each row.

use crate::ParamId;
use crate::buffer::Buffer;
use crate::cpu::coded::Coding;
use crate::cpu::kernel;
use crate::cpu::reduce::{LANES, dot_of, fold_sum, sum_of};
use crate::graph::{Amount, Backward, Forward, Rows, Value, Var};

const LAYER_EPSILON: f32 = 1e-5;
pub(crate) const RMS_EPSILON: f32 = 1e-6;

/// `(x − mean) / √(variance + ε) · gain + bias`. Saved: 0 mean and inverse deviation by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerNorm {
    pub x: Var,
    pub gain: ParamId,
    pub bias: ParamId,
}

/// `x / √(mean x² + ε) · gain`. Saved: 0 inverse root by row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmsNorm {
    pub x: Var,
    pub gain: ParamId,
}

kernel! {
    fn layer_forward<S>(y: &mut [f32], stats: &mut [f32], x: &[f32], gain: &[f32], bias: &[f32]) {
        let cols = gain.len();
        let inverse = 1.0 / cols as f32;
        for ((y, x), stats) in y.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(stats.chunks_exact_mut(2)) {
            let mean = sum_of(x) * inverse;
            for (y, &x) in y.iter_mut().zip(x) {
                *y = x - mean;
            }
            let root = 1.0 / (dot_of::<S>(y, y) * inverse + LAYER_EPSILON).sqrt();
            for (y, (&gain, &bias)) in y.iter_mut().zip(gain.iter().zip(bias)) {
                *y = S::fma(*y * root, gain, bias);
            }
            stats[0] = mean;
            stats[1] = root;
        }
    }
}

/// Arguments of a backward norm.
struct Back<'a> {
    dy: &'a mut [f32],
    x: &'a [f32],
    stats: &'a [f32],
    gain: &'a [f32],
}

kernel! {
    /// `dy` becomes `dx`; gain and bias gradients are added to.
    fn layer_backward<S>(a: Back<'_>, d_gain: &mut [f32], d_bias: &mut [f32]) {
        let cols = a.gain.len();
        let inverse = 1.0 / cols as f32;
        for ((dy, x), stats) in a.dy.chunks_exact_mut(cols).zip(a.x.chunks_exact(cols)).zip(a.stats.chunks_exact(2)) {
            let (mean, root) = (stats[0], stats[1]);
            let (sum, dot) = norm_sums::<S>(dy, x, a.gain, mean, root);
            let (sum, dot) = (sum * inverse, dot * inverse);
            let learned = a.gain.iter().zip(d_gain.iter_mut().zip(d_bias.iter_mut()));
            for ((dy, &x), (&gain, (d_gain, d_bias))) in dy.iter_mut().zip(x).zip(learned) {
                let unit = (x - mean) * root;
                *d_gain = S::fma(*dy, unit, *d_gain);
                *d_bias += *dy;
                *dy = root * (S::fma(*dy, gain, -sum) - unit * dot);
            }
        }
    }
}

/// `Σ g·dy` and `Σ g·dy·x̂`, with `x̂ = (x − mean) · root`.
#[inline(always)]
fn norm_sums<S: crate::cpu::Isa>(dy: &[f32], x: &[f32], gain: &[f32], mean: f32, root: f32) -> (f32, f32) {
    let (mut sums, mut dots) = ([0.0; LANES], [0.0; LANES]);
    let (dy, dy_tail) = dy.as_chunks::<LANES>();
    let (x, x_tail) = x.as_chunks::<LANES>();
    let (gain, gain_tail) = gain.as_chunks::<LANES>();
    for ((dy, x), gain) in dy.iter().zip(x).zip(gain) {
        for i in 0..LANES {
            let weighted = dy[i] * gain[i];
            sums[i] += weighted;
            dots[i] = S::fma(weighted, (x[i] - mean) * root, dots[i]);
        }
    }
    for i in 0..dy_tail.len() {
        let weighted = dy_tail[i] * gain_tail[i];
        sums[i] += weighted;
        dots[i] = S::fma(weighted, (x_tail[i] - mean) * root, dots[i]);
    }
    (fold_sum(sums), fold_sum(dots))
}

kernel! {
    fn rms_forward<S>(y: &mut [f32], stats: &mut [f32], x: &[f32], gain: &[f32]) {
        let cols = gain.len();
        let inverse = 1.0 / cols as f32;
        for ((y, x), root) in y.chunks_exact_mut(cols).zip(x.chunks_exact(cols)).zip(stats) {
            *root = 1.0 / (dot_of::<S>(x, x) * inverse + RMS_EPSILON).sqrt();
            for (y, (&x, &gain)) in y.iter_mut().zip(x.iter().zip(gain)) {
                *y = x * *root * gain;
            }
        }
    }
}

kernel! {
    /// `dy` becomes `dx`; the gain gradient is added to.
    fn rms_backward<S>(a: Back<'_>, d_gain: &mut [f32]) {
        let cols = a.gain.len();
        let inverse = 1.0 / cols as f32;
        for ((dy, x), &root) in a.dy.chunks_exact_mut(cols).zip(a.x.chunks_exact(cols)).zip(a.stats) {
            let (_, dot) = norm_sums::<S>(dy, x, a.gain, 0.0, root);
            let dot = dot * inverse;
            for ((dy, &x), (&gain, d_gain)) in dy.iter_mut().zip(x).zip(a.gain.iter().zip(d_gain.iter_mut())) {
                let unit = x * root;
                *d_gain = S::fma(*dy, unit, *d_gain);
                *dy = root * S::fma(*dy, gain, -unit * dot);
            }
        }
    }
}

/// Rows that are normed, coded and gone before the next ones, so that they never leave the nearest cache.
const AT_ONCE: usize = 8;

/// Normed rows as codes for the maps that read them; `norm` is given rows to write, room for what norms keep, and rows.
fn coded(
    f: &mut Forward<'_>,
    x: &Value,
    coding: Coding,
    norm: impl Fn(&mut [f32], &mut [f32], &[f32]) + Sync,
) -> Value {
    let (cols, level) = (x.cols, f.level);
    let how = (Amount::Values(x.data.len()), AT_ONCE * cols);
    f.coded((x.rows, cols), coding, how, |rows, out, normed| {
        let x = &x.data[rows.start * cols..rows.end * cols];
        for (x, out) in x.chunks(AT_ONCE * cols).zip(out.chunks_mut(AT_ONCE * coding.stride())) {
            let normed = &mut normed[..x.len()];
            norm(normed, &mut [0.0; 2 * AT_ONCE], x);
            coding.code(level, out, normed);
        }
    })
}

fn checked<'w>(f: &Forward<'w>, x: Var, gain: ParamId) -> (&'w Value, &'w [f32]) {
    let (x, gain) = (f.value(x), f.param(gain));
    assert!(x.cols > 0 && gain.len() == x.cols, "gain of {} for {} columns", gain.len(), x.cols);
    (x, gain)
}

impl LayerNorm {
    /// The same for maps in eight bits that alone read it. Serving only.
    pub fn coded(self, f: &mut Forward<'_>, coding: Coding) -> Value {
        let ((x, gain), bias, level) = (checked(f, self.x, self.gain), f.param(self.bias), f.level);
        assert_eq!(bias.len(), x.cols, "bias of a layer norm");
        coded(f, x, coding, |y, stats, x| layer_forward(level, y, stats, x, gain, bias))
    }

    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (x, gain) = checked(f, self.x, self.gain);
        let bias = f.param(self.bias);
        assert_eq!(bias.len(), x.cols, "bias of a layer norm");
        let mut out = f.output(x.rows, x.cols, true);
        let (cols, level) = (x.cols, f.level);
        if f.training {
            let mut stats = f.pool.take(2 * x.rows);
            layer_forward(level, &mut out.data, &mut stats, &x.data, gain, bias);
            out.saved[0] = stats;
            return out;
        }
        let how = Rows { scratch: 2 * x.rows, ..Rows::cheap(x.data.len(), cols) };
        f.rows_with(
            &mut out.data,
            how,
            |row| row,
            |rows, y, stats| {
                layer_forward(level, y, stats, &x.data[rows.start * cols..rows.end * cols], gain, bias);
            },
        );
        out
    }

    pub fn backward(self, y: &Value, mut dy: Buffer, b: &mut Backward<'_>) {
        let (x, gain) = (b.value(self.x), b.param(self.gain));
        // Two gradients of one object cannot be borrowed at once: the bias comes by way of a small buffer.
        let mut d_bias = b.pool.zeros(y.cols);
        let args = Back { dy: &mut dy, x: &x.data, stats: &y.saved[0], gain };
        layer_backward(b.level, args, b.grads.get_mut(self.gain), &mut d_bias);
        crate::cpu::elementwise::add_to(b.level, b.grads.get_mut(self.bias), &d_bias);
        b.pool.give(d_bias);
        b.give(self.x, dy);
    }
}

impl RmsNorm {
    /// The same for maps in eight bits that alone read it. Serving only.
    pub fn coded(self, f: &mut Forward<'_>, coding: Coding) -> Value {
        let ((x, gain), level) = (checked(f, self.x, self.gain), f.level);
        coded(f, x, coding, |y, stats, x| rms_forward(level, y, stats, x, gain))
    }

    pub fn forward(self, f: &mut Forward<'_>) -> Value {
        let (x, gain) = checked(f, self.x, self.gain);
        let mut out = f.output(x.rows, x.cols, true);
        let (cols, level) = (x.cols, f.level);
        if f.training {
            let mut stats = f.pool.take(x.rows);
            rms_forward(level, &mut out.data, &mut stats, &x.data, gain);
            out.saved[0] = stats;
            return out;
        }
        let how = Rows { scratch: x.rows, ..Rows::cheap(x.data.len(), cols) };
        f.rows_with(
            &mut out.data,
            how,
            |row| row,
            |rows, y, stats| {
                rms_forward(level, y, stats, &x.data[rows.start * cols..rows.end * cols], gain);
            },
        );
        out
    }

    pub fn backward(self, y: &Value, mut dy: Buffer, b: &mut Backward<'_>) {
        let args = Back { dy: &mut dy, x: &b.value(self.x).data, stats: &y.saved[0], gain: b.param(self.gain) };
        rms_backward(b.level, args, b.grads.get_mut(self.gain));
        b.give(self.x, dy);
    }
}
