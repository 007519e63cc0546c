//! Whether there is a device that these kernels can use, and if not, why.
//!
//! In: nothing. Out: a [`Device`], or the reason there is none; an error only where a driver is there and misbehaves.
//! The bindings panic at the first use of a library or symbol that is missing, so the library is asked for first and
//! then every symbol that this room uses: nothing has to be caught.

use std::fmt;

#[cfg(not(feature = "cuda"))]
use super::CudaError;

/// The compute capability the kernels are written for; cubins of sm_90a run on no other.
pub const CAPABILITY: (i32, i32) = (9, 0);

/// A device that can run the kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The driver's number of it.
    pub ordinal: usize,
    /// Its name, as the driver gives it.
    pub name: String,
    /// Compute capability.
    pub capability: (i32, i32),
    /// The newest CUDA that the driver knows: 1000 · major + 10 · minor.
    pub driver: i32,
    /// Bytes of memory.
    pub memory: usize,
    /// Streaming multiprocessors.
    pub multiprocessors: i32,
}

/// The name by which the emulated driver of `cuda/emulator/driver` gives itself away.
const EMULATOR: &str = "emulator (no device)";

impl Device {
    /// Whether it is no device but the emulated driver: what runs on it shows logic, and no time of it is a figure.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.name == EMULATOR
    }
}

/// Why there is no device. None of these is a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// This program was built without the feature `cuda`.
    NotBuilt,
    /// No driver library.
    NoDriver,
    /// A driver without a function that is needed.
    OldDriver {
        /// The first such function.
        symbol: &'static str,
    },
    /// A driver, but no device.
    NoDevice,
    /// Devices, but none of the capability that is needed.
    Capability {
        /// The name of the first.
        name: String,
        /// Its capability.
        found: (i32, i32),
    },
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt => write!(f, "this program was built without CUDA"),
            Self::NoDriver => write!(f, "there is no CUDA driver library (libcuda.so)"),
            Self::OldDriver { symbol } => {
                write!(f, "the CUDA driver has no {symbol}; one of CUDA 12.8 or newer has it")
            }
            Self::NoDevice => write!(f, "the CUDA driver finds no device"),
            Self::Capability { name, found: (major, minor) } => {
                write!(f, "{name} has compute capability {major}.{minor}; {}.{} is needed", CAPABILITY.0, CAPABILITY.1)
            }
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A device to use.
    Found(Device),
    /// None, and why.
    Absent(Absent),
}

impl Probe {
    /// The device, if there is one.
    #[must_use]
    pub fn device(self) -> Option<Device> {
        match self {
            Self::Found(device) => Some(device),
            Self::Absent(_) => None,
        }
    }
}

/// Looks for the first device of the needed capability.
///
/// # Errors
/// If a driver is there and one of its calls fails for another reason than that it has no device.
#[cfg(not(feature = "cuda"))]
pub fn probe() -> Result<Probe, CudaError> {
    Ok(Probe::Absent(Absent::NotBuilt))
}

#[cfg(feature = "cuda")]
pub use with_driver::probe;

#[cfg(feature = "cuda")]
mod with_driver {
    #![allow(unsafe_code)] // Asking a shared library for its symbols.

    use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
    use cudarc::driver::{DriverError, result};

    use super::{Absent, CAPABILITY, Device, Probe};
    use crate::cuda::CudaError;
    use crate::cuda::error::During;

    /// Every function of the driver that this room reaches through the bindings, ended as C does.
    const SYMBOLS: [&str; 46] = [
        "cuInit\0",
        "cuDriverGetVersion\0",
        "cuDeviceGet\0",
        "cuDeviceGetCount\0",
        "cuDeviceGetName\0",
        "cuDeviceGetAttribute\0",
        "cuDeviceTotalMem_v2\0",
        "cuDevicePrimaryCtxRetain\0",
        "cuDevicePrimaryCtxRelease_v2\0",
        "cuCtxGetCurrent\0",
        "cuCtxSetCurrent\0",
        "cuCtxSynchronize\0",
        "cuGetErrorName\0",
        "cuGetErrorString\0",
        "cuStreamCreate\0",
        "cuStreamDestroy_v2\0",
        "cuStreamSynchronize\0",
        "cuStreamWaitEvent\0",
        "cuStreamBeginCapture_v2\0",
        "cuStreamEndCapture\0",
        "cuGraphInstantiateWithFlags\0",
        "cuGraphLaunch\0",
        "cuGraphUpload\0",
        "cuGraphDestroy\0",
        "cuGraphExecDestroy\0",
        "cuEventCreate\0",
        "cuEventRecord\0",
        "cuEventSynchronize\0",
        "cuEventElapsedTime_v2\0",
        "cuEventDestroy_v2\0",
        "cuMemAllocAsync\0",
        "cuMemFreeAsync\0",
        "cuMemcpyHtoDAsync_v2\0",
        "cuMemcpyDtoHAsync_v2\0",
        "cuMemcpyDtoDAsync_v2\0",
        "cuMemsetD8Async\0",
        "cuModuleLoadData\0",
        "cuModuleUnload\0",
        "cuModuleGetFunction\0",
        "cuFuncSetAttribute\0",
        "cuFuncGetAttribute\0",
        "cuLaunchKernel\0",
        "cuMemAlloc_v2\0",
        "cuMemFree_v2\0",
        "cuStreamIsCapturing\0",
        "cuTensorMapEncodeTiled\0",
    ];

    /// Looks for the first device of the needed capability.
    ///
    /// # Errors
    /// If a driver is there and one of its calls fails for another reason than that it has no device.
    pub fn probe() -> Result<Probe, CudaError> {
        // SAFETY: only opens the driver library and lets it go; its initialisers are the vendor's.
        if !unsafe { sys::is_culib_present() } {
            return Ok(Probe::Absent(Absent::NoDriver));
        }
        for symbol in SYMBOLS {
            // SAFETY: the library was found a line above; the symbol is looked up, never called through this type.
            let found = unsafe { sys::culib().get::<*const ()>(symbol.as_bytes()) }.is_ok();
            if !found {
                return Ok(Probe::Absent(Absent::OldDriver { symbol: symbol.trim_end_matches('\0') }));
            }
        }
        match result::init() {
            Ok(()) => {}
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(Probe::Absent(Absent::NoDevice)),
            Err(error) => return Err(CudaError::new("cuInit", format!("{:?}", error.0))),
        }
        let mut driver = 0;
        // SAFETY: writes one integer that lives here.
        unsafe { sys::cuDriverGetVersion(&raw mut driver) }.result().during(|| "cuDriverGetVersion".into())?;
        let count = result::device::get_count().during(|| "cuDeviceGetCount".into())?;
        let mut refused = None;
        for ordinal in 0..count {
            let device = describe(ordinal, driver).during(|| format!("description of device {ordinal}"))?;
            if device.capability == CAPABILITY {
                return Ok(Probe::Found(device));
            }
            refused = refused.or(Some(Absent::Capability { name: device.name, found: device.capability }));
        }
        Ok(Probe::Absent(refused.unwrap_or(Absent::NoDevice)))
    }

    fn describe(ordinal: i32, driver: i32) -> Result<Device, DriverError> {
        let device = result::device::get(ordinal)?;
        // SAFETY: the device was just given by the driver.
        let ask = |attribute| unsafe { result::device::get_attribute(device, attribute) };
        let capability = (
            ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            ask(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let multiprocessors = ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let name = result::device::get_name(device)?;
        // SAFETY: as above.
        let memory = unsafe { result::device::total_mem(device)? };
        Ok(Device { ordinal: ordinal as usize, name, capability, driver, memory, multiprocessors })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever this machine has, the answer is calm and has words.
    #[test]
    fn a_machine_without_a_device_is_no_error() {
        match probe().unwrap() {
            Probe::Found(device) => assert_eq!(device.capability, CAPABILITY),
            Probe::Absent(reason) => {
                assert!(!reason.to_string().is_empty());
                assert_eq!(Probe::Absent(reason).device(), None);
            }
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_without_cuda_says_so() {
        assert_eq!(probe(), Ok(Probe::Absent(Absent::NotBuilt)));
    }

    #[test]
    fn reasons_name_what_was_found_and_what_is_needed() {
        let reason = Absent::Capability { name: "Device".into(), found: (8, 6) };
        assert_eq!(reason.to_string(), "Device has compute capability 8.6; 9.0 is needed");
    }
}
