//! Products by cuBLASLt: E4M3 with a scale a row on either side, and bf16.
//!
//! In: matrices on the device. Out: `out = a · bᵀ` in bf16, or f32 of bf16 operands. A [`Plan`] is made once a shape
//! and launched without an allocation. The library is asked for first; a machine without it has our kernels only. Never
//! run on a device.

#![allow(unsafe_code)] // The library's own interface: the safe wrapper has neither scales nor two types.

use std::ffi::c_void;

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys::{
    self, cublasLtMatmulDescAttributes_t as Attribute, cublasLtMatmulPreferenceAttributes_t as Preference,
    cudaDataType_t as Type,
};
use cudarc::driver::{CudaSlice, DevicePtr, DevicePtrMut};

use super::error::During;
use super::{CudaError, Engine, GemmTable, Packed};

/// Memory that products may use, bytes.
const WORKSPACE: usize = 32 << 20;
/// Where an output begins is a multiple of this: the row of a head of 64 in bf16.
static ALIGNED: u32 = 128;

/// The library, opened.
#[derive(Debug)]
pub struct Blas {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    /// Where the workspace begins: an address that stands for scales until a product has its own.
    place: u64,
    table: GemmTable,
}

/// What a product multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operands {
    /// E4M3 with a scale a row of either side, bf16 out.
    E4m3,
    /// The same, f32 out.
    E4m3Single,
    /// bf16, bf16 out.
    Bf16,
    /// bf16, f32 out.
    Bf16Single,
}

/// A product of one shape.
#[derive(Debug)]
pub struct Plan {
    description: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: the library's handle is not tied to the thread that made it; whoever has it uses it from one thread at a time.
unsafe impl Send for Blas {}

// SAFETY: descriptions and layouts are plain memory of the library's, tied to no thread.
unsafe impl Send for Plan {}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: the handle was made in `open` and is let go once. Nothing can be done about a failure here.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: all four were made in `plan` and are let go once.
        unsafe {
            let _ = result::destroy_matmul_desc(self.description);
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}

fn put<T>(description: sys::cublasLtMatmulDesc_t, attribute: Attribute, value: T) -> Result<(), CublasError> {
    // SAFETY: the description is alive, and the library copies `size_of::<T>()` bytes of the value.
    unsafe {
        result::set_matmul_desc_attribute(description, attribute, (&raw const value).cast(), std::mem::size_of::<T>())
    }
}

impl Blas {
    /// Opens the library; `None` where there is none.
    ///
    /// # Errors
    /// If it is there and does not start.
    pub fn open(engine: &Engine) -> Result<Option<Self>, CudaError> {
        // SAFETY: only opens the library and lets it go.
        if !unsafe { sys::is_culib_present() } {
            return Ok(None);
        }
        let workspace = engine.zeros(WORKSPACE)?;
        let place = workspace.device_ptr(engine.stream()).0;
        let handle = result::create_handle().during(|| "start of cuBLASLt".into())?;
        Ok(Some(Self { handle, workspace, place, table: GemmTable::default() }))
    }

    /// With a table of which shapes are this library's; those it lacks are timed at warm-up.
    #[must_use]
    pub fn with_table(self, table: GemmTable) -> Self {
        // A type with a `drop` gives no field away.
        let mut own = self;
        own.table = table;
        own
    }

    /// The table it was given.
    #[must_use]
    pub fn table(&self) -> &GemmTable {
        &self.table
    }

    /// Chooses an algorithm for `m × n × k`.
    ///
    /// # Errors
    /// If the library has none for this shape.
    pub fn plan(&self, operands: Operands, m: usize, n: usize, k: usize) -> Result<Plan, CudaError> {
        self.choose(operands, m, n, k).during(|| format!("{operands:?} {m} x {n} x {k} in cuBLASLt"))
    }

    fn choose(&self, operands: Operands, m: usize, n: usize, k: usize) -> Result<Plan, CublasError> {
        let (input, output) = match operands {
            Operands::E4m3 => (Type::CUDA_R_8F_E4M3, Type::CUDA_R_16BF),
            Operands::E4m3Single => (Type::CUDA_R_8F_E4M3, Type::CUDA_R_32F),
            Operands::Bf16 => (Type::CUDA_R_16BF, Type::CUDA_R_16BF),
            Operands::Bf16Single => (Type::CUDA_R_16BF, Type::CUDA_R_32F),
        };
        let description = result::create_matmul_desc(sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, Type::CUDA_R_32F)?;
        // The library counts columns first: row-major `out = a · bᵀ` is its `outᵀ = b · aᵀ`, with `b` transposed.
        let layouts = [
            result::create_matrix_layout(input, k as u64, n as u64, k as i64)?,
            result::create_matrix_layout(input, k as u64, m as u64, k as i64)?,
            result::create_matrix_layout(output, n as u64, m as u64, n as i64)?,
        ];
        put(description, Attribute::CUBLASLT_MATMUL_DESC_TRANSA, 1_i32)?;
        put(description, Attribute::CUBLASLT_MATMUL_DESC_TRANSB, 0_i32)?;
        if matches!(operands, Operands::E4m3 | Operands::E4m3Single) {
            let by_row = sys::cublasLtMatmulMatrixScale_t::CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F as i32;
            put(description, Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_MODE, by_row)?;
            put(description, Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_MODE, by_row)?;
            // Nothing says that the choice of an algorithm does not look whether there are scales.
            put(description, Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, self.place)?;
            put(description, Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, self.place)?;
        }
        let preference = result::create_matmul_pref()?;
        let bytes = WORKSPACE;
        // SAFETY: the preference is alive and the size is that of what is pointed to; all descriptors are alive.
        let chosen = unsafe {
            result::set_matmul_pref_attribute(
                preference,
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const bytes).cast(),
                std::mem::size_of::<usize>(),
            )?;
            // Steps write where their level begins in a longer buffer, which need not be at the library's usual 256 bytes.
            for attribute in [
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
            ] {
                result::set_matmul_pref_attribute(preference, attribute, (&raw const ALIGNED).cast(), 4)?;
            }
            let [b, a, out] = layouts;
            let chosen = result::get_matmul_algo_heuristic(self.handle, description, b, a, out, out, preference);
            result::destroy_matmul_pref(preference)?;
            chosen?
        };
        Ok(Plan { description, layouts, algorithm: chosen.algo })
    }

    /// `out = a · bᵀ` over codes, in bf16 or f32 as the plan was made, or added to what stands there; no gap between rows
    /// of codes.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn e4m3<T>(
        &self,
        engine: &Engine,
        plan: &Plan,
        (a, b): (&Packed, &Packed),
        out: &mut impl DevicePtrMut<T>,
        add: bool,
    ) -> Result<(), CudaError> {
        let stream = engine.stream();
        let ((a_scales, _held1), (b_scales, _held2)) = (a.scales.device_ptr(stream), b.scales.device_ptr(stream));
        let scales = put(plan.description, Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, b_scales)
            .and_then(|()| put(plan.description, Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, a_scales));
        scales.during(|| "scales of a product".into())?;
        let ((a, _held3), (b, _held4)) = (a.codes.device_ptr(stream), b.codes.device_ptr(stream));
        let (out, _held5) = out.device_ptr_mut(stream);
        self.launch(engine, plan, [a, b, out], add)
    }

    /// `out = a · bᵀ` over bf16, in bf16 or f32 as the plan was made, or added to what stands there.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn bf16<T>(
        &self,
        engine: &Engine,
        plan: &Plan,
        (a, b): (&CudaSlice<u16>, &CudaSlice<u16>),
        out: &mut impl DevicePtrMut<T>,
        add: bool,
    ) -> Result<(), CudaError> {
        let stream = engine.stream();
        let ((a, _held1), (b, _held2)) = (a.device_ptr(stream), b.device_ptr(stream));
        let (out, _held3) = out.device_ptr_mut(stream);
        self.launch(engine, plan, [a, b, out], add)
    }

    fn launch(&self, engine: &Engine, plan: &Plan, [a, b, out]: [u64; 3], add: bool) -> Result<(), CudaError> {
        let (one, kept, [b_layout, a_layout, out_layout]) = (1.0_f32, f32::from(u8::from(add)), plan.layouts);
        let (workspace, _guard) = self.workspace.device_ptr(engine.stream());
        // SAFETY: addresses are device memory of the plan's shape, alive over the launch on the one stream; the two
        // factors are read before the call returns.
        let done = unsafe {
            result::matmul(
                self.handle,
                plan.description,
                (&raw const one).cast(),
                (&raw const kept).cast(),
                b as *const c_void,
                b_layout,
                a as *const c_void,
                a_layout,
                out as *const c_void,
                out_layout,
                out as *mut c_void,
                out_layout,
                &raw const plan.algorithm,
                workspace as *mut c_void,
                WORKSPACE,
                engine.stream().cu_stream().cast(),
            )
        };
        done.during(|| "a product of cuBLASLt".into())
    }
}
