//! Residual k-means (OneRec, arXiv 2506.13695, §2.1): each level clusters what the levels before it left over.
//!
//! ```text
//! R₁ = vectors;  C_l = kmeans(R_l);  s_l = argmin_c ‖R_l − c‖²;  R_{l+1} = R_l − c_{s_l}
//! ```
//!
//! In: item vectors. Out: codebooks, codes, and what each level achieved. Equal seed and vectors give equal bytes for any
//! thread count. Never decides what to do with items whose codes are equal.

mod lloyd;
mod nearest;
#[cfg(test)]
mod tests;

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use recmesh_contract::{Progress, Reporter, config::RqKMeans};
use serde::{Deserialize, Serialize};

use super::{TokenizerError, Vectors};
use nearest::Codebook;

/// Codebooks of all levels: what gives codes to a vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantizer {
    /// Length of a vector.
    pub dims: usize,
    /// One codebook a level, `codes × dims`, row-major.
    pub codebooks: Vec<Vec<f32>>,
}

/// What one level achieved on the items it was fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LevelStats {
    /// Codes of the codebook.
    pub size: usize,
    /// Codes that some item has.
    pub used: usize,
    /// Entropy of the codes over items, in nats.
    pub entropy: f64,
    /// Root of the mean squared length of what is left after this level.
    pub residual_norm: f64,
}

/// A fitted quantizer with the codes of the items it was fitted to.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The codebooks.
    pub quantizer: Quantizer,
    /// `items × levels`, row-major.
    pub codes: Vec<u32>,
    /// One entry a level.
    pub levels: Vec<LevelStats>,
}

impl Quantizer {
    /// Codes of each level.
    #[must_use]
    pub fn sizes(&self) -> Vec<u32> {
        self.codebooks.iter().map(|book| (book.len() / self.dims.max(1)) as u32).collect()
    }
}

/// Fits codebooks to item vectors. A codebook has `codebookSize` codes, or as many as there are items when those are
/// fewer. When less distinct residuals than codes are left, some codes stay unused.
///
/// # Errors
/// When there are no items, or a vector is not finite.
pub fn fit(
    vectors: &Vectors,
    params: &RqKMeans,
    threads: usize,
    reporter: &dyn Reporter,
) -> Result<Fit, TokenizerError> {
    vectors.check()?;
    let dims = vectors.cols;
    let size = (params.codebook_size as usize).min(vectors.rows);
    let mut random = Pcg64Mcg::seed_from_u64(params.seed);
    let mut residuals = vectors.data.clone();
    let mut quantizer = Quantizer { dims, codebooks: Vec::new() };
    let (mut per_level, mut levels) = (Vec::new(), Vec::new());
    for level in 0..params.levels {
        let report = |iteration: u32, error: f64| {
            reporter.progress(Progress {
                step: "clustering",
                done: u64::from(level * params.iterations + iteration),
                total: u64::from(params.levels * params.iterations),
                note: format!("level {}, residual {error:.4}", level + 1),
            });
        };
        let clusters = lloyd::kmeans(
            lloyd::Points { data: &residuals, dims },
            &lloyd::Limits { size, iterations: params.iterations, threads },
            &mut random,
            &report,
        );
        subtract(&mut residuals, &clusters.centroids, &clusters.codes, dims);
        levels.push(stats(&clusters.codes, size, &residuals, dims));
        per_level.push(clusters.codes);
        quantizer.codebooks.push(clusters.centroids);
    }
    Ok(Fit { quantizer, codes: interleave(&per_level, vectors.rows), levels })
}

/// Codes of vectors, `rows × levels`: on each level the code with the least `‖r − c‖²`, the lowest among equals.
///
/// # Errors
/// When a vector is not finite or has another length than the codebooks'.
pub fn encode(quantizer: &Quantizer, vectors: &Vectors, threads: usize) -> Result<Vec<u32>, TokenizerError> {
    vectors.check()?;
    if vectors.cols != quantizer.dims {
        return Err(TokenizerError::Shape { what: "a vector", found: vectors.cols, expected: quantizer.dims });
    }
    let mut residuals = vectors.data.clone();
    let mut per_level = Vec::new();
    for book in &quantizer.codebooks {
        let codes = Codebook::new(book, quantizer.dims).assign(&residuals, threads).codes;
        subtract(&mut residuals, book, &codes, quantizer.dims);
        per_level.push(codes);
    }
    Ok(interleave(&per_level, vectors.rows))
}

/// Takes each row's centroid away from it.
fn subtract(rows: &mut [f32], centroids: &[f32], codes: &[u32], dims: usize) {
    for (row, &code) in rows.chunks_exact_mut(dims).zip(codes) {
        let centroid = &centroids[code as usize * dims..(code as usize + 1) * dims];
        row.iter_mut().zip(centroid).for_each(|(x, c)| *x -= c);
    }
}

/// Codes by item out of codes by level.
fn interleave(per_level: &[Vec<u32>], items: usize) -> Vec<u32> {
    (0..items).flat_map(|item| per_level.iter().map(move |codes| codes[item])).collect()
}

/// What a level achieved.
fn stats(codes: &[u32], size: usize, residuals: &[f32], dims: usize) -> LevelStats {
    let mut counts = vec![0usize; size];
    for &code in codes {
        counts[code as usize] += 1;
    }
    let items = codes.len() as f64;
    let share = |&n: &usize| n as f64 / items;
    let squares: f64 = residuals.chunks_exact(dims).map(|r| r.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()).sum();
    LevelStats {
        size,
        used: counts.iter().filter(|&&n| n > 0).count(),
        entropy: counts.iter().filter(|&&n| n > 0).map(share).map(|p| -p * p.ln()).sum(),
        residual_norm: (squares / items).sqrt(),
    }
}
