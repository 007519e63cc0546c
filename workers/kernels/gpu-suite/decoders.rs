//! Decoders of published sizes with weights that mean nothing: what the searches are timed over.
//!
//! In: sizes. Out: shape, trie, weights and a context for [`recmesh_kernels::cuda::Decoder`], by the same way that a
//! trained decoder takes. Never run on a device.

use std::borrow::Cow;

use recmesh_kernels::cuda::{Given, Map, Norm, Precision, Shape, Source, TrieLevel, TrieLevels};
use recmesh_kernels::fp8::{Format, Quantised, Scaling};
use recmesh_kernels::{Level, twins::cases};

/// Sizes of a decoder; heads are 128 wide, one key head, one slice whose values are its keys.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub width: usize,
    pub layers: usize,
    pub inner: usize,
    pub codes: usize,
    pub levels: usize,
    pub context: usize,
    pub beams: usize,
}

/// The decoders of docs/performance.md.
pub const ONE: (&str, Sizes) =
    ("1B", Sizes { width: 1792, layers: 18, inner: 5376, codes: 8192, levels: 3, context: 3000, beams: 512 });
pub const TWO: (&str, Sizes) =
    ("1.7B", Sizes { width: 2304, layers: 20, inner: 6912, codes: 8192, levels: 3, context: 1000, beams: 256 });

/// Columns of a head.
const HEAD: usize = 128;

impl Sizes {
    /// The decoder's shape.
    pub fn shape(self, precision: Precision) -> Shape {
        Shape {
            precision,
            width: self.width,
            heads: self.width / HEAD,
            groups: 1,
            inner: self.inner,
            slices: vec![0; self.layers],
            shared: true,
            distances: 0,
            codes: vec![self.codes; self.levels],
            context: self.context,
            beams: self.beams,
            scale: 1.0,
            renormalise: false,
        }
    }

    /// A trie with as many items as a large catalogue: every first code, then 16 and 4 children a node.
    pub fn trie(self) -> TrieLevels {
        let (codes, mut levels, mut nodes) = (self.codes, Vec::new(), 1);
        for children in [codes, 16, 4] {
            let offsets = (0..=nodes).map(|node| (node * children) as u32).collect();
            let below = (0..nodes).flat_map(|node| {
                (0..children).map(move |child| (child * (codes / children) + node % (codes / children)) as u32)
            });
            levels.push(TrieLevel { offsets, codes: below.collect() });
            nodes *= children;
        }
        TrieLevels { levels, labels: Vec::new() }
    }

    /// Operations of one search, as docs/performance.md counts them.
    pub fn operations(self) -> f64 {
        let Self { width, layers, inner, codes, levels, context, beams } = self;
        let mut sum = 0.0;
        for level in 0..levels {
            let rows = if level == 0 { 1 } else { beams };
            let weights = layers * (6 * width * width + 3 * inner * width) + codes * width;
            sum += 2.0 * (rows * weights) as f64 + 4.0 * (rows * layers * width * (context + level + 1)) as f64;
        }
        sum
    }
}

/// Drawn weights: one run of normals, begun elsewhere for every matrix.
pub struct Drawn {
    precision: Precision,
    numbers: Vec<f32>,
    turn: usize,
}

impl Drawn {
    pub fn new(precision: Precision) -> Self {
        Self { precision, numbers: cases::normals(2, 1 << 20), turn: 0 }
    }

    /// Numbers as large as keep rows of a product as large as they were.
    pub fn numbers(&mut self, [rows, cols]: [usize; 2]) -> Vec<f32> {
        self.turn += 7919;
        let scale = 1.0 / (cols as f32).sqrt();
        let from = self.numbers.iter().cycle().skip(self.turn % self.numbers.len());
        from.take(rows * cols).map(|x| x * scale).collect()
    }
}

impl Source for Drawn {
    fn linear(&mut self, _layer: usize, _map: Map, shape: [usize; 2]) -> Given<'_> {
        let numbers = self.numbers(shape);
        match self.precision {
            Precision::Bf16 => Given::Floats(Cow::Owned(numbers)),
            Precision::E4m3 => {
                let [rows, cols] = shape;
                let made = Quantised::new(Level::detect(), Format::E4m3, Scaling::Rows, &numbers, rows, cols);
                Given::Codes(Cow::Owned(made))
            }
        }
    }

    fn gain(&mut self, _layer: usize, _norm: Norm, cols: usize) -> Cow<'_, [f32]> {
        Cow::Owned(vec![1.0; cols])
    }

    fn distances(&mut self, _layer: usize, [rows, cols]: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Owned(vec![0.0; rows * cols])
    }

    fn inputs(&mut self, _level: usize, shape: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Owned(self.numbers(shape))
    }

    fn head_gain(&mut self, _level: usize, cols: usize) -> Cow<'_, [f32]> {
        Cow::Owned(vec![1.0; cols])
    }

    fn head(&mut self, _level: usize, shape: [usize; 2]) -> Cow<'_, [f32]> {
        Cow::Owned(self.numbers(shape))
    }
}
