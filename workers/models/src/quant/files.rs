//! What a model's folder holds of its quantization: `quantization.json` and, where it serves, `quantized.safetensors`.
//!
//! In: a report and the quantised weights. Out: the same, or an error that names the file and the reason. A folder
//! without a report is of a model that nobody asked to quantise. `model.safetensors` stays whole in any case.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use recmesh_contract::config::{Quantization, QuantizationFormat};
use recmesh_contract::{Precision, Quantized};
use recmesh_kernels::{QuantisedLinear, QuantisedWeights, fp8, int8};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::layers::{Quantisable, fp8_scaling, int8_scaling, layers};
use crate::ModelError;

/// Name of the report.
pub const REPORT: &str = "quantization.json";

/// Name of the file of codes and scales.
pub const CODES: &str = "quantized.safetensors";

/// Version of both files' format.
const FORMAT_VERSION: u32 = 1;

/// What calibration found, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    format_version: u32,
    /// The verdict in short.
    pub verdict: Quantized,
    /// Every gate that did not hold.
    pub reasons: Vec<String>,
    /// What was asked for.
    pub asked: Quantization,
    /// Targets or rows compared.
    pub compared: usize,
    /// Every quantised layer.
    pub layers: Vec<LayerReport>,
    /// Share of the best `k` that both have.
    pub top_k_overlap: f64,
    /// How many of the best were compared.
    pub k: usize,
    /// How good either is.
    pub quality: Quality,
}

/// A layer's output, quantised against not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerReport {
    /// The layer's dotted name.
    pub layer: String,
    /// Root of the mean over rows of the squared relative error; none where that is no number.
    pub rel_error: Option<f64>,
}

/// One metric of either model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quality {
    /// Its name: `recall@32`, or `auc` for the mean over tasks.
    pub metric: String,
    /// In high precision.
    pub exact: f64,
    /// Quantised.
    pub quantized: f64,
}

impl Report {
    /// A report of today's format.
    #[must_use]
    pub fn new(
        verdict: Quantized,
        reasons: Vec<String>,
        asked: Quantization,
        compared: usize,
        layers: Vec<LayerReport>,
        (k, top_k_overlap): (usize, f64),
        quality: Quality,
    ) -> Self {
        let format_version = FORMAT_VERSION;
        Self { format_version, verdict, reasons, asked, compared, layers, top_k_overlap, k, quality }
    }
}

/// Writes a report, and the codes and scales of the quantised model where it is to serve.
///
/// # Errors
/// When a file cannot be written.
pub fn save<M: Quantisable>(dir: &Path, report: &Report, quantised: &M) -> Result<(), ModelError> {
    let file = dir.join(REPORT);
    let mut text = serde_json::to_vec_pretty(report).map_err(|e| ModelError::corrupt(&file, e))?;
    text.push(b'\n');
    fs::write(&file, text).map_err(|e| ModelError::io(&file, e))?;
    if report.verdict.precision == Precision::F32 {
        return Ok(());
    }
    let file = dir.join(CODES);
    let params = quantised.params();
    let mut arrays = Vec::new();
    for id in quantised.linear_layers() {
        let Some(linear) = params.quantised(id) else { continue };
        let weights = linear.weights();
        let codes: Vec<u8> = match weights {
            QuantisedWeights::Fp8(it) => it.codes().to_vec(),
            QuantisedWeights::Int8(it) => it.codes().iter().map(|code| code.cast_unsigned()).collect(),
        };
        let scales: Vec<u8> = weights.scales().iter().flat_map(|scale| scale.to_le_bytes()).collect();
        arrays.push((params.get(id).name.clone(), weights.shape(), codes, scales));
    }
    let mut views = Vec::new();
    for (name, (rows, cols), codes, scales) in &arrays {
        let codes = TensorView::new(code_type(report.asked.format), vec![*rows, *cols], codes);
        let scales = TensorView::new(Dtype::F32, vec![scales.len() / size_of::<f32>()], scales);
        views.push((name.clone(), codes.map_err(|e| ModelError::corrupt(&file, e))?));
        views.push((format!("{name}.scales"), scales.map_err(|e| ModelError::corrupt(&file, e))?));
    }
    let bytes = safetensors::serialize(views, None).map_err(|e| ModelError::corrupt(&file, e))?;
    fs::write(&file, bytes).map_err(|e| ModelError::io(&file, e))
}

/// How a format's codes stand in a file.
fn code_type(format: QuantizationFormat) -> Dtype {
    match format {
        QuantizationFormat::E4m3 => Dtype::F8_E4M3,
        QuantizationFormat::Int8 => Dtype::I8,
    }
}

/// The report of a model's folder; `None` where nobody asked to quantise.
///
/// # Errors
/// When it cannot be read or is none.
pub fn report(dir: &Path) -> Result<Option<Report>, ModelError> {
    let file = dir.join(REPORT);
    let text = match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|e| ModelError::io(&file, e))?,
    };
    let report: Report = serde_json::from_slice(&text).map_err(|e| ModelError::corrupt(&file, e))?;
    let version = report.format_version;
    if version != FORMAT_VERSION {
        return Err(ModelError::corrupt(
            &file,
            format!("formatVersion is {version}, this build reads {FORMAT_VERSION}"),
        ));
    }
    Ok(Some(report))
}

/// Makes a model that was read from a folder serve in the precision that the folder's report decides.
///
/// # Errors
/// When a file is missing, corrupt, or does not fit the model; the message names it.
pub fn open<M: Quantisable>(dir: &Path, mut model: M) -> Result<M, ModelError> {
    let Some(report) = report(dir)?.filter(|report| report.verdict.precision != Precision::F32) else {
        return Ok(model);
    };
    let (precision, format) = (report.verdict.precision, report.asked.format);
    if precision != Precision::from(format) {
        let reason = format!("the verdict is {}, and other codes were asked for", precision.as_str());
        return Err(ModelError::corrupt(&dir.join(REPORT), reason));
    }
    let file = dir.join(CODES);
    let raw = fs::read(&file).map_err(|e| ModelError::io(&file, e))?;
    let arrays = SafeTensors::deserialize(&raw).map_err(|e| ModelError::corrupt(&file, e))?;
    let (layers, linear) = (layers(&model, format), report.asked.linear);
    if arrays.len() != 2 * layers.len() {
        let reason = format!("{} arrays for {} layers, wanted codes and scales of each", arrays.len(), layers.len());
        return Err(ModelError::corrupt(&file, reason));
    }
    for id in layers {
        let tensor = model.params().get(id);
        let (name, shape) = (tensor.name.clone(), [tensor.rows, tensor.cols]);
        let array = |name: &str, dtype: Dtype| {
            let view = arrays.tensor(name).map_err(|e| ModelError::corrupt(&file, e))?;
            let found = view.dtype();
            if found == dtype {
                return Ok(view);
            }
            Err(ModelError::corrupt(&file, format!("array {name} has the type {found:?}, wanted {dtype:?}")))
        };
        let codes = array(&name, code_type(format))?;
        let scales = array(&format!("{name}.scales"), Dtype::F32)?;
        if codes.shape() != shape {
            let reason = format!("array {name} has the shape {:?}, wanted {shape:?}", codes.shape());
            return Err(ModelError::corrupt(&file, reason));
        }
        let scales: Vec<f32> =
            scales.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let weights: Option<QuantisedWeights> = match format {
            QuantizationFormat::E4m3 => {
                let (codes, scaling) = (codes.data().to_vec(), fp8_scaling(linear));
                fp8::Quantised::from_parts(fp8::Format::E4m3, scaling, shape.into(), codes, scales).map(Into::into)
            }
            QuantizationFormat::Int8 => {
                let codes = codes.data().iter().map(|code| code.cast_signed()).collect();
                int8::Weights::from_parts(int8_scaling(linear), shape.into(), codes, scales).map(Into::into)
            }
        };
        let weights = weights.ok_or_else(|| {
            ModelError::corrupt(&file, format!("array {name}: a code or scale is no number, or scales do not fit"))
        })?;
        model.params_mut().quantise(id, QuantisedLinear::serving(weights));
    }
    Ok(model)
}
