//! A device made ready: its context, one stream, every kernel loaded, and memory on it.
//!
//! In: a [`Device`] that [`super::probe`] found. Out: an [`Engine`] that uploads, launches and downloads. All work goes in
//! order down one stream; events between buffers are off, since there is nothing to order them against. Never run on a
//! device.

#![allow(unsafe_code)] // Launching kernels and describing tensors to the driver.

use std::collections::HashMap;
use std::sync::Arc;

use cudarc::driver::sys::{self, CUfunction_attribute_enum as FunctionAttribute};
use cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaSlice, CudaStream, DevicePtr, DeviceRepr, LaunchConfig, ValidAsZeroBits,
};

use super::error::During;
use super::modules::{self, Origin, SOURCES};
use super::{CudaError, Device};

/// Every entry that is launched, with its file.
pub(super) const ENTRIES: [(&str, &str); 24] = [
    ("beam_attention", "beam_attention_64"),
    ("beam_attention", "beam_attention_128"),
    ("beam_step", "beam_score"),
    ("beam_step", "beam_select"),
    ("beam_step", "beam_narrow"),
    ("beam_step", "beam_select_parts"),
    ("cross_attention", "cross_attention_64"),
    ("cross_attention", "cross_attention_128"),
    ("embedding_gather", "embedding_gather_f32"),
    ("fp8_gemm", "fp8_gemm_rows_bf16"),
    ("fp8_gemm", "fp8_gemm_rows_f32"),
    ("fp8_gemm", "fp8_gemm_blocks_f32"),
    ("grouped_gemm", "grouped_gemm_f32"),
    ("item_top_k", "item_scan"),
    ("item_top_k", "item_rerank"),
    ("quantise", "quantise_f32"),
    ("quantise", "quantise_f32_tiles"),
    ("quantise", "quantise_bf16"),
    ("rmsnorm_quantise", "rmsnorm_quantise"),
    ("rmsnorm_quantise", "rmsnorm_quantise_tiles"),
    ("rmsnorm_quantise", "rmsnorm_bf16"),
    ("swiglu_quantise", "swiglu_bf16"),
    ("swiglu_quantise", "swiglu_quantise"),
    ("swiglu_quantise", "swiglu_quantise_tiles"),
];

/// Dynamic shared memory beyond which a function has to be told.
const PLAIN_SHARED: u32 = 48 * 1024;
/// What a block of this capability may have, less what the kernels hold besides.
const MOST_SHARED: i32 = 160 * 1024;

/// Elements past which no buffer is shorter: an empty one still has an address.
const FEWEST: usize = 16;

/// A device made ready.
#[derive(Debug)]
pub struct Engine {
    device: Device,
    stream: Arc<CudaStream>,
    functions: HashMap<&'static str, CudaFunction>,
    origins: Vec<(&'static str, Origin)>,
}

/// A matrix of bytes as the bulk loads of a kernel see it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct TensorMap(sys::CUtensorMap);

// SAFETY: the driver's 128 opaque bytes, passed to kernels by value as they are.
unsafe impl DeviceRepr for TensorMap {}

impl Engine {
    /// Opens a device and loads every kernel.
    ///
    /// # Errors
    /// If the driver refuses a context, a module or an entry.
    pub fn open(device: &Device) -> Result<Self, CudaError> {
        let context = CudaContext::new(device.ordinal).during(|| format!("context on device {}", device.ordinal))?;
        // SAFETY: everything here runs on one stream, so no event has to order what buffers hold; a graph may not wait on
        // events from before its capture.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().during(|| "a stream".into())?;
        let (mut loaded, mut origins) = (HashMap::new(), Vec::new());
        for source in &SOURCES {
            let (module, origin) = modules::load(&context, source)?;
            loaded.insert(source.name, module);
            origins.push((source.name, origin));
        }
        let mut functions = HashMap::new();
        for (file, entry) in ENTRIES {
            let missing = || CudaError::new(format!("entry {entry}"), "its module is not loaded");
            let function = loaded.get(file).ok_or_else(missing)?.load_function(entry);
            let function = function.during(|| format!("entry {entry}"))?;
            let attribute = FunctionAttribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, MOST_SHARED).during(|| format!("shared memory of {entry}"))?;
            functions.insert(entry, function);
        }
        Ok(Self { device: device.clone(), stream, functions, origins })
    }

    /// Another one on the same device, with a stream of its own and the same kernels.
    ///
    /// # Errors
    /// If the driver refuses a stream.
    pub fn fork(&self) -> Result<Self, CudaError> {
        let stream = self.stream.context().new_stream().during(|| "a stream".into())?;
        let Self { device, functions, origins, .. } = self;
        Ok(Self { device: device.clone(), stream, functions: functions.clone(), origins: origins.clone() })
    }

    /// What it runs on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Where each module came from.
    #[must_use]
    pub fn origins(&self) -> &[(&'static str, Origin)] {
        &self.origins
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(super) fn function(&self, entry: &'static str) -> Result<&CudaFunction, CudaError> {
        self.functions.get(entry).ok_or_else(|| CudaError::new(entry, "no such entry"))
    }

    /// Copies to the device.
    ///
    /// # Errors
    /// If memory is short or the copy fails.
    pub fn upload<T: DeviceRepr + ValidAsZeroBits + Copy>(&self, host: &[T]) -> Result<CudaSlice<T>, CudaError> {
        let mut made = self.zeros(host.len())?;
        if !host.is_empty() {
            self.stream.memcpy_htod(host, &mut made.slice_mut(..host.len())).during(|| "copy to the device".into())?;
        }
        Ok(made)
    }

    /// Copies into memory that is there, from an element on.
    ///
    /// # Errors
    /// If it is too long for what is there, or the copy fails.
    pub fn put<T: DeviceRepr>(&self, host: &[T], to: &mut CudaSlice<T>, at: usize) -> Result<(), CudaError> {
        if host.is_empty() {
            return Ok(());
        }
        let room = to.try_slice_mut(at..at + host.len());
        let mut room = room.ok_or_else(|| CudaError::new("copy to the device", "it does not fit"))?;
        self.stream.memcpy_htod(host, &mut room).during(|| "copy to the device".into())
    }

    /// Zeros on the device; at least a few, so that there is an address.
    ///
    /// # Errors
    /// If memory is short.
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, count: usize) -> Result<CudaSlice<T>, CudaError> {
        self.stream.alloc_zeros(count.max(FEWEST)).during(|| format!("memory for {count} elements"))
    }

    /// Copies the first elements back and waits for them.
    ///
    /// # Errors
    /// If the copy fails, or a kernel before it did.
    pub fn download<T: DeviceRepr + Copy + Default>(
        &self,
        device: &CudaSlice<T>,
        count: usize,
    ) -> Result<Vec<T>, CudaError> {
        let mut host = vec![T::default(); count];
        if count > 0 {
            self.stream.memcpy_dtoh(&device.slice(..count), &mut host).during(|| "copy from the device".into())?;
        }
        self.wait()?;
        Ok(host)
    }

    /// Waits for everything so far.
    ///
    /// # Errors
    /// If any of it failed.
    pub fn wait(&self) -> Result<(), CudaError> {
        self.stream.synchronize().during(|| "waiting for the stream".into())
    }

    /// Milliseconds of the device for one of `repeats` rounds of work, after one round that is not counted.
    ///
    /// # Errors
    /// If the work fails.
    pub fn time(&self, repeats: u32, mut work: impl FnMut() -> Result<(), CudaError>) -> Result<f64, CudaError> {
        work()?;
        let begun = self.mark()?;
        for _ in 0..repeats.max(1) {
            work()?;
        }
        let ended = self.mark()?;
        let total = begun.elapsed_ms(&ended).during(|| "time between events".into())?;
        Ok(f64::from(total) / f64::from(repeats.max(1)))
    }

    /// A mark in the stream that knows its time.
    fn mark(&self) -> Result<CudaEvent, CudaError> {
        let timed = sys::CUevent_flags::CU_EVENT_DEFAULT;
        self.stream.record_event(Some(timed)).during(|| "an event".into())
    }

    /// Describes `rows × cols` bytes, `pitch` apart, to the bulk loads.
    ///
    /// # Errors
    /// If the pitch is no multiple of 16 or the driver refuses.
    pub fn tensor_map(
        &self,
        data: &CudaSlice<u8>,
        rows: usize,
        cols: usize,
        pitch: usize,
    ) -> Result<TensorMap, CudaError> {
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        if rows == 0 || cols == 0 {
            return Ok(TensorMap(map));
        }
        let (address, _guard) = data.device_ptr(&self.stream);
        let (sizes, pitches) = ([cols as u64, rows as u64], [pitch as u64]);
        let (window, steps) = ([128_u32, 128], [1_u32, 1]);
        // SAFETY: every pointer is to an array of the rank's length that lives here; the address is device memory of
        // `rows · pitch` bytes, which the caller keeps.
        let status = unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
                2,
                address as *mut std::ffi::c_void,
                sizes.as_ptr(),
                pitches.as_ptr(),
                window.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        status.result().during(|| format!("tensor map of {rows} x {cols}, {pitch} bytes apart"))?;
        Ok(TensorMap(map))
    }
}

/// A grid of blocks.
pub(super) fn grid(blocks: (usize, usize, usize), threads: u32, shared: usize) -> LaunchConfig {
    debug_assert!(shared <= MOST_SHARED as usize || shared <= PLAIN_SHARED as usize);
    LaunchConfig {
        grid_dim: (blocks.0 as u32, blocks.1 as u32, blocks.2 as u32),
        block_dim: (threads, 1, 1),
        shared_mem_bytes: shared as u32,
    }
}

/// Launches an entry of an engine: `launch!(engine, "entry", grid, [arguments])`.
///
/// The arguments have to be those of the entry's header, in order: the macro's caller answers for it.
macro_rules! launch {
    ($engine:expr, $entry:expr, $grid:expr, [$($argument:expr),* $(,)?]) => {{
        use cudarc::driver::PushKernelArg;
        let engine: &$crate::cuda::Engine = $engine;
        let function = engine.function($entry)?;
        let mut builder = engine.stream().launch_builder(function);
        $(builder.arg($argument);)*
        // SAFETY: number, order and types of the arguments are those of the entry's header comment; buffers are as long
        // as it asks for at this grid.
        let launched = unsafe { builder.launch($grid) };
        $crate::cuda::error::During::during(launched, || format!("launch of {}", $entry)).map(|_| ())
    }};
}
pub(super) use launch;
