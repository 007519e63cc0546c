//! A fitted tokenizer as files: `tokenizer.json` (sizes, what each level achieved) and `tokenizer.safetensors` (codebooks).
//!
//! In: a fit and the IDs made of it. Out: a folder, and the tokenizer back from it; metrics for the status. The IDs
//! themselves are the catalog's.

use std::{fs, path::Path};

use recmesh_contract::Metric;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{LevelStats, Quantizer, SemanticIds, TokenizerError, rq_kmeans::Fit};

const JSON: &str = "tokenizer.json";
const TENSORS: &str = "tokenizer.safetensors";
const FORMAT_VERSION: u32 = 1;

/// A fitted tokenizer.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokenizer {
    /// What gives codes to a vector; `None` for atomic IDs.
    pub quantizer: Option<Quantizer>,
    /// What each level of the quantizer achieved.
    pub levels: Vec<LevelStats>,
    /// Codes of each level of an ID, an extra level included.
    pub codebooks: Vec<u32>,
    /// Items it was fitted to.
    pub items: usize,
    /// Items whose quantizer codes another item has too.
    pub collisions: usize,
    /// Different IDs.
    pub distinct: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Header {
    format_version: u32,
    dims: Option<usize>,
    levels: Vec<LevelStats>,
    codebooks: Vec<u32>,
    items: usize,
    collisions: usize,
    distinct: usize,
}

impl Tokenizer {
    /// A tokenizer whose IDs are the items' own indices.
    #[must_use]
    pub fn atomic(ids: &SemanticIds) -> Self {
        Self::of(None, Vec::new(), ids)
    }

    /// A tokenizer of residual k-means.
    #[must_use]
    pub fn rq_kmeans(fit: Fit, ids: &SemanticIds) -> Self {
        Self::of(Some(fit.quantizer), fit.levels, ids)
    }

    fn of(quantizer: Option<Quantizer>, levels: Vec<LevelStats>, ids: &SemanticIds) -> Self {
        Self {
            quantizer,
            levels,
            codebooks: ids.codebooks.clone(),
            items: ids.items(),
            collisions: ids.collisions,
            distinct: ids.distinct,
        }
    }

    /// `codebookUse/l` (share of codes in use), `entropy/l` (nats), `residualNorm/l` for each level from 1; `collisions`
    /// (items whose quantizer codes another item has too), `items`, `idsUnique` (different IDs per item).
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        let metric =
            |name: String, value: f64| Metric { name, value, interval: None, split: None, masking: None, of: None };
        let mut all = Vec::new();
        for (level, stats) in (1..).zip(&self.levels) {
            all.push(metric(format!("codebookUse/{level}"), stats.used as f64 / stats.size as f64));
            all.push(metric(format!("entropy/{level}"), stats.entropy));
            all.push(metric(format!("residualNorm/{level}"), stats.residual_norm));
        }
        all.push(metric("collisions".into(), self.collisions as f64));
        all.push(metric("items".into(), self.items as f64));
        all.push(metric("idsUnique".into(), self.distinct as f64 / self.items.max(1) as f64));
        all
    }

    /// Writes both files into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let header = Header {
            format_version: FORMAT_VERSION,
            dims: self.quantizer.as_ref().map(|q| q.dims),
            levels: self.levels.clone(),
            codebooks: self.codebooks.clone(),
            items: self.items,
            collisions: self.collisions,
            distinct: self.distinct,
        };
        let path = dir.join(JSON);
        let text = serde_json::to_string_pretty(&header).map_err(|e| TokenizerError::format(&path, e.to_string()))?;
        fs::write(&path, text + "\n").map_err(TokenizerError::io(&path))?;

        let path = dir.join(TENSORS);
        let books = self.quantizer.iter().flat_map(|q| q.codebooks.iter().map(|book| (q.dims, book)));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = books
            .enumerate()
            .map(|(l, (dims, book))| {
                (name(l), vec![book.len() / dims, dims], book.iter().flat_map(|x| x.to_le_bytes()).collect())
            })
            .collect();
        let complain = |e: safetensors::SafeTensorError| TokenizerError::format(&path, e.to_string());
        let mut views = Vec::new();
        for (name, shape, data) in &bytes {
            views.push((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).map_err(complain)?));
        }
        let out = safetensors::serialize(views, None).map_err(complain)?;
        fs::write(&path, out).map_err(TokenizerError::io(&path))
    }

    /// Reads both files back.
    ///
    /// # Errors
    /// When a file is missing, of another format version, corrupt, or does not fit the other one.
    pub fn load(dir: &Path) -> Result<Self, TokenizerError> {
        let path = dir.join(JSON);
        let text = fs::read_to_string(&path).map_err(TokenizerError::io(&path))?;
        let header: Header = serde_json::from_str(&text).map_err(|e| TokenizerError::format(&path, e.to_string()))?;
        if header.format_version != FORMAT_VERSION {
            let reason = format!("its format version is {}, this build reads {FORMAT_VERSION}", header.format_version);
            return Err(TokenizerError::format(&path, reason));
        }
        let path = dir.join(TENSORS);
        let bytes = fs::read(&path).map_err(TokenizerError::io(&path))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|e| TokenizerError::format(&path, e.to_string()))?;
        let codebooks = header.levels.iter().enumerate().map(|(l, stats)| {
            let shape = [stats.size, header.dims.unwrap_or(0)];
            codebook(&tensors, &name(l), shape).map_err(|reason| TokenizerError::format(&path, reason))
        });
        let codebooks: Vec<Vec<f32>> = codebooks.collect::<Result<_, _>>()?;
        if tensors.len() != codebooks.len() {
            let reason = format!("it holds {} tensors, {JSON} names {} levels", tensors.len(), codebooks.len());
            return Err(TokenizerError::format(&path, reason));
        }
        Ok(Self {
            quantizer: header.dims.map(|dims| Quantizer { dims, codebooks }),
            levels: header.levels,
            codebooks: header.codebooks,
            items: header.items,
            collisions: header.collisions,
            distinct: header.distinct,
        })
    }
}

/// Name of a level's tensor.
fn name(level: usize) -> String {
    format!("codebooks.{}", level + 1)
}

/// One level's codebook out of the file.
fn codebook(tensors: &SafeTensors<'_>, name: &str, shape: [usize; 2]) -> Result<Vec<f32>, String> {
    let view = tensors.tensor(name).map_err(|e| e.to_string())?;
    if view.dtype() != Dtype::F32 || view.shape() != shape || shape.contains(&0) {
        let (dtype, found) = (view.dtype(), view.shape());
        return Err(format!("tensor {name} is {dtype:?} {found:?}, {JSON} asks for F32 {shape:?}"));
    }
    let values: Vec<f32> = view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    if values.iter().all(|x| x.is_finite()) {
        Ok(values)
    } else {
        Err(format!("tensor {name} holds no finite numbers"))
    }
}

#[cfg(test)]
mod tests {
    use recmesh_contract::{
        Silent,
        config::{Collision, RqKMeans, TokenizerAlgorithm},
    };

    use super::*;
    use crate::tokenizer::{Vectors, atomic, collide, rq_kmeans};

    fn fitted() -> Tokenizer {
        let TokenizerAlgorithm::RqKMeans(params) =
            serde_json::from_str(r#"{"rqKMeans": {"levels": 2, "codebookSize": 3}}"#).unwrap()
        else {
            panic!("not residual k-means")
        };
        let params: RqKMeans = params;
        let vectors = Vectors { rows: 6, cols: 2, data: vec![0., 0., 0., 0., 5., 0., 5., 1., 0., 9., 1., 9.] };
        let fit = rq_kmeans::fit(&vectors, &params, 1, &Silent).unwrap();
        let ids = collide(&fit.codes, &fit.quantizer.sizes(), &[1; 6], Collision::ExtraLevel).unwrap();
        Tokenizer::rq_kmeans(fit, &ids)
    }

    #[test]
    fn saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        for tokenizer in [fitted(), Tokenizer::atomic(&atomic(9).unwrap())] {
            tokenizer.save(dir.path()).unwrap();
            assert_eq!(Tokenizer::load(dir.path()).unwrap(), tokenizer);
        }
    }

    #[test]
    fn metrics_are_named_by_level() {
        let metrics = fitted().metrics();
        let value = |name: &str| metrics.iter().find(|m| m.name == name).map(|m| m.value);
        assert_eq!(value("codebookUse/1"), Some(1.0));
        assert!(value("residualNorm/2").unwrap() < value("residualNorm/1").unwrap());
        assert!((value("entropy/1").unwrap() - 3f64.ln()).abs() < 1e-12);
        assert_eq!((value("items"), value("collisions"), value("idsUnique")), (Some(6.0), Some(2.0), Some(1.0)));
    }

    #[test]
    fn broken_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = |wanted: &str| {
            let error = Tokenizer::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error:?} lacks {wanted:?}");
        };
        refused(JSON);
        fitted().save(dir.path()).unwrap();
        let (json, tensors) = (dir.path().join(JSON), dir.path().join(TENSORS));
        let whole = fs::read(&tensors).unwrap();
        fs::write(&tensors, &whole[..whole.len() - 1]).unwrap();
        refused(TENSORS);
        let mut holed = whole.clone();
        let end = holed.len();
        holed[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&tensors, holed).unwrap();
        refused("no finite numbers");
        fs::write(&tensors, &whole).unwrap();
        let text = fs::read_to_string(&json).unwrap();
        fs::write(&json, text.replace("\"formatVersion\": 1", "\"formatVersion\": 7")).unwrap();
        refused("format version is 7");
        fs::write(&json, text.replace("\"dims\": 2", "\"dims\": 4")).unwrap();
        refused("asks for F32");
        fs::write(&json, text.replace("{", "")).unwrap();
        refused(JSON);
    }
}
