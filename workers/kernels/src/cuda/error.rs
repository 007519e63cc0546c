//! What can go wrong on a device, as values.
//!
//! In: a status of the driver, of NVRTC or of cuBLASLt. Out: an error that names the call. Knows no kernel.

use std::fmt;

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaError {
    /// What was tried.
    pub call: String,
    /// What came back.
    pub status: String,
}

impl CudaError {
    /// An error of a call.
    pub fn new(call: impl Into<String>, status: impl Into<String>) -> Self {
        Self { call: call.into(), status: status.into() }
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.status)
    }
}

impl std::error::Error for CudaError {}

#[cfg(feature = "cuda")]
impl From<cudarc::driver::DriverError> for CudaError {
    fn from(error: cudarc::driver::DriverError) -> Self {
        Self::new("driver call", format!("{:?}", error.0))
    }
}

#[cfg(feature = "cuda")]
impl From<cudarc::cublaslt::result::CublasError> for CudaError {
    fn from(error: cudarc::cublaslt::result::CublasError) -> Self {
        Self::new("cuBLASLt call", format!("{:?}", error.0))
    }
}

/// Names the call an error came from.
#[cfg(feature = "cuda")]
pub(super) trait During<T> {
    /// The same result, its error with a name.
    fn during(self, call: impl FnOnce() -> String) -> Result<T, CudaError>;
}

#[cfg(feature = "cuda")]
impl<T, E: Into<CudaError>> During<T> for Result<T, E> {
    fn during(self, call: impl FnOnce() -> String) -> Result<T, CudaError> {
        self.map_err(|error| CudaError::new(call(), error.into().status))
    }
}
