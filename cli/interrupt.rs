//! The user's wish to stop: the first interrupt (or SIGTERM) is taken as a wish, the second one ends the process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Result;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::console;

/// A wish to stop that threads poll and tasks await.
pub struct Interrupt {
    /// Raised by the first interrupt.
    pub flag: AtomicBool,
    told: watch::Sender<bool>,
}

/// What the shell reports for a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

impl Interrupt {
    /// Listens for signals on a thread of its own.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> Result<Arc<Self>> {
        let interrupt = Arc::new(Self { flag: AtomicBool::new(false), told: watch::channel(false).0 });
        let raised = Arc::clone(&interrupt);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut int, mut term) = {
            let _guard = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = int.recv() => {}
                        _ = term.recv() => {}
                    }
                    if raised.flag.swap(true, Ordering::Relaxed) {
                        std::process::exit(INTERRUPTED);
                    }
                    console::warn("stopping; once more ends at once");
                    raised.told.send_replace(true);
                }
            });
        })?;
        Ok(interrupt)
    }

    /// Ends when the wish is there.
    pub async fn raised(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.told.subscribe().wait_for(|told| *told).await;
    }
}
