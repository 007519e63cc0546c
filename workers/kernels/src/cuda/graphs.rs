//! One CUDA graph a bucket of shapes: captured at warm-up, launched afterwards, eager and counted where there is none.
//!
//! In: work that only launches on the engine's stream, over memory that stays where it is. Out: the same work done, in one
//! launch. A bucket is whatever a caller tells its shapes apart by. Never run on a device.

use std::collections::HashMap;
use std::hash::Hash;

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode};

use super::error::During;
use super::{CudaError, Engine};

/// Captured graphs by bucket.
pub struct Graphs<B> {
    captured: HashMap<B, CudaGraph>,
    launched: u64,
    eager: u64,
}

// SAFETY: a graph may be launched from any thread, by one at a time, which owning it ensures; buckets are `Send`.
#[allow(unsafe_code)]
unsafe impl<B: Send> Send for Graphs<B> {}

impl<B> Default for Graphs<B> {
    fn default() -> Self {
        Self { captured: HashMap::new(), launched: 0, eager: 0 }
    }
}

impl<B: Eq + Hash> Graphs<B> {
    /// Does the work once, so that everything it needs is loaded, then captures it. Work may not allocate, copy from or to
    /// the host, or wait.
    ///
    /// # Errors
    /// If the work fails or cannot be captured.
    pub fn warm(
        &mut self,
        engine: &Engine,
        bucket: B,
        mut work: impl FnMut() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        work()?;
        engine.wait()?;
        let stream = engine.stream();
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).during(|| "beginning of a capture".into())?;
        let done = work();
        // A capture that was begun is ended whatever the work says, or the stream stays unusable.
        let graph = stream.end_capture(CUgraphInstantiate_flags(0)).during(|| "end of a capture".into());
        done?;
        let graph = graph?.ok_or_else(|| CudaError::new("capture", "no work was launched"))?;
        graph.upload().during(|| "upload of a graph".into())?;
        self.captured.insert(bucket, graph);
        Ok(())
    }

    /// Launches the bucket's graph; does the work eagerly, and counts it, where none was captured.
    ///
    /// # Errors
    /// If the launch or the work fails.
    pub fn run(&mut self, bucket: &B, work: impl FnOnce() -> Result<(), CudaError>) -> Result<(), CudaError> {
        if let Some(graph) = self.captured.get(bucket) {
            self.launched += 1;
            return graph.launch().during(|| "launch of a graph".into());
        }
        self.eager += 1;
        work()
    }

    /// How often a graph was launched.
    #[must_use]
    pub fn launched(&self) -> u64 {
        self.launched
    }

    /// How often work was done without one: a bucket that warm-up did not know.
    #[must_use]
    pub fn eager(&self) -> u64 {
        self.eager
    }
}
