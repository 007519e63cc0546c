//! Where a retrieval model serves from: a CUDA device that has kernels for it, or the CPU, and why.
//!
//! In: a model's folder and what was asked for. Out: the model on the device or on the CPU with one sentence about it, or
//! an error where a device was asked for and cannot be had. Built without the feature `cuda` there is never a device.

use std::path::Path;
use std::sync::Arc;

use recmesh_catalog::Catalog;
use recmesh_contract::config::{Device, RetrievalAlgorithm};
use recmesh_contract::{Precision, Recommend};

use super::folder::load;
use super::header::Header;
use super::lazy_decoder::IN_BYTES;
use crate::{ModelError, quant};

/// What a model serves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServesFrom {
    /// The CPU.
    Cpu,
    /// A CUDA device.
    Cuda,
}

impl ServesFrom {
    /// As metrics name it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// A model, ready to answer, and from what.
pub struct Placed {
    /// The model.
    pub recommender: Box<dyn Recommend>,
    /// What it serves from.
    pub from: ServesFrom,
    /// Why from there, in a sentence.
    pub why: String,
}

/// Loads a model's folder as [`load`] does, on the device where it is asked for and can be had.
///
/// # Errors
/// As [`load`]; [`ModelError::Device`] where [`Device::Cuda`] is asked for and cannot be had.
pub fn load_on(dir: &Path, catalog: Option<Arc<Catalog>>, wanted: Device) -> Result<Placed, ModelError> {
    let on_cpu = |catalog, why: String| Ok(Placed { recommender: load(dir, catalog)?, from: ServesFrom::Cpu, why });
    if wanted == Device::Cpu {
        return on_cpu(catalog, "so asked for".to_owned());
    }
    let found = match (&Header::load(dir, catalog.as_deref())?.algorithm, &catalog) {
        (RetrievalAlgorithm::LazyDecoder(config), Some(catalog)) => match quant::report(dir)? {
            // Known before a device is looked for and weights are read.
            Some(report) if report.verdict.precision == Precision::Int8 => Err(IN_BYTES.to_owned()),
            _ => on_device(dir, config, catalog)?,
        },
        (RetrievalAlgorithm::LazyDecoder(_), None) => Err("a device searches a catalog, and none was given".to_owned()),
        _ => Err("only lazy decoders have kernels for a device".to_owned()),
    };
    match found {
        Ok(placed) => Ok(placed),
        Err(why) if wanted == Device::Cuda => Err(ModelError::Device(why)),
        Err(why) => on_cpu(catalog, why),
    }
}

/// A lazy decoder on a device, or why not.
#[cfg(feature = "cuda")]
fn on_device(
    dir: &Path,
    config: &recmesh_contract::config::LazyDecoder,
    catalog: &Arc<Catalog>,
) -> Result<Result<Placed, String>, ModelError> {
    use recmesh_kernels::cuda::{Probe, probe};

    use super::lazy_decoder::{DeviceServer, LazyDecoder};

    let device = match probe() {
        Ok(Probe::Found(device)) => device,
        Ok(Probe::Absent(why)) => return Ok(Err(why.to_string())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let model = quant::open(dir, LazyDecoder::load(dir, config, Arc::clone(catalog))?)?;
    Ok(DeviceServer::open(model, &device).map_err(|error| error.to_string()).map(|server| Placed {
        recommender: Box::new(server),
        from: ServesFrom::Cuda,
        why: format!("{} is device {}", device.name, device.ordinal),
    }))
}

#[cfg(not(feature = "cuda"))]
fn on_device(
    _dir: &Path,
    _config: &recmesh_contract::config::LazyDecoder,
    _catalog: &Arc<Catalog>,
) -> Result<Result<Placed, String>, ModelError> {
    Ok(Err(recmesh_kernels::cuda::Absent::NotBuilt.to_string()))
}
