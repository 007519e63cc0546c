//! A model's folder: `model.json` (what it is) and `model.safetensors` (its numbers).
//!
//! In: a header of the model's own type and named arrays. Out: the same, or an error that names the file and the
//! reason. Shapes are checked against what the header implies; numbers that are not finite are refused. Digests of the
//! files are the store's matter.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use recmesh_kernels::Params;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// Version of both files' format.
const FORMAT_VERSION: u32 = 1;

/// Name of the header file.
pub const HEADER: &str = "model.json";

/// Name of the file of arrays.
pub const ARRAYS: &str = "model.safetensors";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope<H> {
    format_version: u32,
    model: H,
}

/// The numbers of one array.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 32-bit counts and indices.
    U32(Vec<u32>),
    /// 64-bit counts and offsets.
    U64(Vec<u64>),
}

/// Named arrays of a model folder.
#[derive(Debug)]
pub struct Arrays {
    file: PathBuf,
    arrays: HashMap<String, (Vec<usize>, Values)>,
}

/// Writes a folder with a header and a model's weights.
///
/// # Errors
/// When a file cannot be written.
pub fn save<H: Serialize>(dir: &Path, header: &H, params: &Params) -> Result<(), ModelError> {
    let arrays = params.tensors().iter().map(|tensor| {
        (tensor.name.clone(), Dtype::F32, vec![tensor.rows, tensor.cols], bytes(&tensor.data, f32::to_le_bytes))
    });
    write(dir, header, arrays.collect())
}

/// Writes a folder with a header and one-dimensional arrays.
///
/// # Errors
/// When a file cannot be written.
pub fn save_arrays<H: Serialize>(dir: &Path, header: &H, arrays: &[(&str, Values)]) -> Result<(), ModelError> {
    let arrays = arrays.iter().map(|(name, values)| {
        let (dtype, len, bytes) = match values {
            Values::F32(v) => (Dtype::F32, v.len(), bytes(v, f32::to_le_bytes)),
            Values::U32(v) => (Dtype::U32, v.len(), bytes(v, u32::to_le_bytes)),
            Values::U64(v) => (Dtype::U64, v.len(), bytes(v, u64::to_le_bytes)),
        };
        ((*name).to_owned(), dtype, vec![len], bytes)
    });
    write(dir, header, arrays.collect())
}

/// Reads a folder's header.
///
/// # Errors
/// When `model.json` is missing, of another format, or not a header of type `H`.
pub fn load_header<H: DeserializeOwned>(dir: &Path) -> Result<H, ModelError> {
    let file = dir.join(HEADER);
    let text = fs::read(&file).map_err(|e| ModelError::io(&file, e))?;
    let raw: serde_json::Value = serde_json::from_slice(&text).map_err(|e| ModelError::corrupt(&file, e))?;
    let version = raw.get("formatVersion").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(FORMAT_VERSION)) {
        let found = version.map_or_else(|| "none".to_owned(), |v| v.to_string());
        return Err(ModelError::corrupt(&file, format!("formatVersion is {found}, this build reads {FORMAT_VERSION}")));
    }
    let envelope: Envelope<H> = serde_json::from_value(raw).map_err(|e| ModelError::corrupt(&file, e))?;
    Ok(envelope.model)
}

/// Reads a folder's arrays.
///
/// # Errors
/// When `model.safetensors` is missing, cut short, corrupted, or holds a number that is not finite.
pub fn load_arrays(dir: &Path) -> Result<Arrays, ModelError> {
    let file = dir.join(ARRAYS);
    let raw = fs::read(&file).map_err(|e| ModelError::io(&file, e))?;
    let tensors = SafeTensors::deserialize(&raw).map_err(|e| ModelError::corrupt(&file, e))?;
    let mut arrays = HashMap::new();
    for (name, view) in tensors.tensors() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F32 => Values::F32(numbers(data, f32::from_le_bytes)),
            Dtype::U32 => Values::U32(numbers(data, u32::from_le_bytes)),
            Dtype::U64 => Values::U64(numbers(data, u64::from_le_bytes)),
            other => return Err(ModelError::corrupt(&file, format!("array {name} has the type {other:?}"))),
        };
        if let Values::F32(floats) = &values
            && let Some(at) = floats.iter().position(|x| !x.is_finite())
        {
            return Err(ModelError::corrupt(&file, format!("array {name} has {} at place {at}", floats[at])));
        }
        arrays.insert(name, (view.shape().to_vec(), values));
    }
    Ok(Arrays { file, arrays })
}

impl Arrays {
    /// Puts the arrays into weights of the same names and shapes; none may be missing or left over.
    ///
    /// # Errors
    /// When names or shapes differ from those of `params`.
    pub fn fill(mut self, params: &mut Params) -> Result<(), ModelError> {
        for tensor in params.tensors_mut() {
            let Some((shape, values)) = self.arrays.remove(&tensor.name) else {
                return Err(ModelError::corrupt(&self.file, format!("array {} is missing", tensor.name)));
            };
            let wanted = [tensor.rows, tensor.cols];
            match values {
                Values::F32(values) if shape == wanted => tensor.data = values,
                _ => {
                    let reason = format!("array {} has the shape {shape:?}, wanted {wanted:?} floats", tensor.name);
                    return Err(ModelError::corrupt(&self.file, reason));
                }
            }
        }
        match self.arrays.into_keys().min() {
            None => Ok(()),
            Some(name) => Err(ModelError::corrupt(&self.file, format!("array {name} belongs to no weight"))),
        }
    }

    /// Takes a matrix of floats out: rows, columns, row-major values.
    ///
    /// # Errors
    /// When there is no two-dimensional array of floats with this name.
    pub fn matrix(&mut self, name: &str) -> Result<(usize, usize, Vec<f32>), ModelError> {
        match self.take(name)? {
            (shape, Values::F32(values)) if shape.len() == 2 => Ok((shape[0], shape[1], values)),
            (shape, _) => Err(self.wrong(name, &shape, "a matrix of floats")),
        }
    }

    /// Takes floats out.
    ///
    /// # Errors
    /// When there is no array of floats with this name.
    pub fn f32(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        match self.take(name)? {
            (_, Values::F32(values)) => Ok(values),
            (shape, _) => Err(self.wrong(name, &shape, "floats")),
        }
    }

    /// Takes 32-bit integers out.
    ///
    /// # Errors
    /// When there is no array of 32-bit integers with this name.
    pub fn u32(&mut self, name: &str) -> Result<Vec<u32>, ModelError> {
        match self.take(name)? {
            (_, Values::U32(values)) => Ok(values),
            (shape, _) => Err(self.wrong(name, &shape, "32-bit integers")),
        }
    }

    /// Takes 64-bit integers out.
    ///
    /// # Errors
    /// When there is no array of 64-bit integers with this name.
    pub fn u64(&mut self, name: &str) -> Result<Vec<u64>, ModelError> {
        match self.take(name)? {
            (_, Values::U64(values)) => Ok(values),
            (shape, _) => Err(self.wrong(name, &shape, "64-bit integers")),
        }
    }

    /// The error that this file is wrong in some way of the model's own.
    #[must_use]
    pub fn corrupt(&self, reason: impl ToString) -> ModelError {
        ModelError::corrupt(&self.file, reason)
    }

    fn take(&mut self, name: &str) -> Result<(Vec<usize>, Values), ModelError> {
        self.arrays.remove(name).ok_or_else(|| ModelError::corrupt(&self.file, format!("array {name} is missing")))
    }

    fn wrong(&self, name: &str, shape: &[usize], wanted: &str) -> ModelError {
        ModelError::corrupt(&self.file, format!("array {name} of shape {shape:?} is not {wanted}"))
    }
}

fn write<H: Serialize>(
    dir: &Path,
    header: &H,
    arrays: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
) -> Result<(), ModelError> {
    let file = dir.join(ARRAYS);
    let mut views = Vec::with_capacity(arrays.len());
    for (name, dtype, shape, bytes) in &arrays {
        let view = TensorView::new(*dtype, shape.clone(), bytes).map_err(|e| ModelError::corrupt(&file, e))?;
        views.push((name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| ModelError::corrupt(&file, e))?;
    fs::write(&file, bytes).map_err(|e| ModelError::io(&file, e))?;

    let file = dir.join(HEADER);
    let envelope = Envelope { format_version: FORMAT_VERSION, model: header };
    let mut text = serde_json::to_vec_pretty(&envelope).map_err(|e| ModelError::corrupt(&file, e))?;
    text.push(b'\n');
    fs::write(&file, text).map_err(|e| ModelError::io(&file, e))
}

fn bytes<T: Copy, const N: usize>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
    let mut out = Vec::with_capacity(values.len() * N);
    for &value in values {
        out.extend_from_slice(&to(value));
    }
    out
}

fn numbers<T, const N: usize>(bytes: &[u8], from: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| from(chunk)).collect()
}
