//! Where a kernel's machine code comes from: the committed cubin, else NVRTC when that library is there.
//!
//! In: a file's name. Out: a loaded module. Cubins are made by `cuda/compile.py`, which also shows that they are what the
//! sources compile to; a driver that refuses one (older than CUDA 12.9's format, say) gets the source through NVRTC, and
//! where that is missing too the caller serves on the CPU.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule};
use cudarc::nvrtc::{self, CompileOptions, Ptx};

use super::CudaError;
use super::error::During;

/// A file of kernels.
pub(super) struct Source {
    pub name: &'static str,
    pub text: &'static str,
    pub cubin: &'static [u8],
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(Source {
            name: $name,
            text: include_str!(concat!("../../cuda/", $name, ".cu")),
            cubin: include_bytes!(concat!("../../cuda/cubins/", $name, ".sm_90a.cubin")),
        }),*]
    };
}

/// Every file.
pub(super) static SOURCES: [Source; 10] = sources![
    "beam_attention",
    "beam_step",
    "cross_attention",
    "embedding_gather",
    "fp8_gemm",
    "grouped_gemm",
    "item_top_k",
    "quantise",
    "rmsnorm_quantise",
    "swiglu_quantise",
];

/// What they include.
static HEADERS: [(&str, &str); 5] = [
    ("arithmetic.cuh", include_str!("../../cuda/arithmetic.cuh")),
    ("fp8.cuh", include_str!("../../cuda/fp8.cuh")),
    ("gemm.cuh", include_str!("../../cuda/gemm.cuh")),
    ("ptx.cuh", include_str!("../../cuda/ptx.cuh")),
    ("select.cuh", include_str!("../../cuda/select.cuh")),
];

/// How a module came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The committed machine code.
    Cubin,
    /// Compiled here by NVRTC.
    Nvrtc,
}

pub(super) fn load(context: &Arc<CudaContext>, source: &Source) -> Result<(Arc<CudaModule>, Origin), CudaError> {
    let refused = match context.load_module(Ptx::from_binary(source.cubin.to_vec())) {
        Ok(module) => return Ok((module, Origin::Cubin)),
        Err(error) => CudaError::from(error),
    };
    let call = || format!("loading of {}", source.name);
    // SAFETY: only opens the library and lets it go.
    #[allow(unsafe_code)]
    let present = unsafe { nvrtc::sys::is_culib_present() };
    if !present {
        let status = format!("its cubin is refused ({}) and there is no NVRTC library", refused.status);
        return Err(CudaError::new(call(), status));
    }
    let options = CompileOptions {
        ftz: Some(false),
        prec_sqrt: Some(true),
        prec_div: Some(true),
        fmad: Some(false),
        arch: Some("compute_90a"),
        options: vec!["--std=c++17".to_owned()],
        ..CompileOptions::default()
    };
    let text = flatten(source.text, &mut Vec::new());
    let ptx =
        nvrtc::compile_ptx_with_opts(text, options).map_err(|error| CudaError::new(call(), format!("{error:?}")))?;
    Ok((context.load_module(ptx).during(call)?, Origin::Nvrtc))
}

/// A source with its headers in place of their `#include` lines, each once.
fn flatten(text: &str, seen: &mut Vec<&'static str>) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let named = line.strip_prefix("#include \"").and_then(|rest| rest.strip_suffix('"'));
        match named.and_then(|name| HEADERS.iter().find(|(header, _)| *header == name)) {
            Some(&(name, body)) => {
                if !seen.contains(&name) {
                    seen.push(name);
                    out.push_str(&flatten(body, seen));
                }
            }
            None if line.trim() == "#pragma once" => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is added to the folder has to be added here.
    #[test]
    fn every_file_of_the_folder_is_known_and_has_its_cubin() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/cuda");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".cu").map(str::to_owned))
            .collect();
        found.sort();
        assert_eq!(found, SOURCES.iter().map(|source| source.name).collect::<Vec<_>>());
        for source in &SOURCES {
            assert_eq!(source.cubin[..4], *b"\x7fELF", "{}", source.name);
        }
    }

    #[test]
    fn flattened_sources_hold_each_header_once() {
        for source in &SOURCES {
            let mut seen = Vec::new();
            let text = flatten(source.text, &mut seen);
            assert!(!text.lines().any(|line| line.starts_with("#include") && line.ends_with(".cuh\"")));
            assert!(text.contains("extern \"C\"") && !seen.is_empty(), "{}", source.name);
        }
    }

    /// The entries that the engine asks for are in the machine code by name.
    #[test]
    fn cubins_have_every_entry_that_is_launched() {
        for (file, entry) in super::super::engine::ENTRIES {
            let source = SOURCES.iter().find(|source| source.name == file).unwrap();
            let name = entry.as_bytes();
            assert!(source.cubin.windows(name.len()).any(|part| part == name), "{entry} of {file}");
        }
    }
}
