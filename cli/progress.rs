//! Progress of jobs on the terminal: one bar a job, kept as a line when it ends. Where standard error is no terminal
//! there is one line a job; `--log debug` tells every step of progress as well.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use recmesh_contract::{JobReport, JobState, Progress, Reporter};

use crate::console;

/// A bar for one job.
pub struct Bar {
    bar: ProgressBar,
    subject: String,
    step: Mutex<&'static str>,
}

impl Bar {
    /// Starts the bar of a job.
    #[must_use]
    pub fn start(kind: &str, name: &str) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{prefix:<34} [{bar:24}] {pos}/{len} {elapsed} eta {eta} {msg}");
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        let subject = format!("{kind}/{name}");
        bar.set_prefix(subject.clone());
        Self { bar, subject, step: Mutex::new("") }
    }

    /// Ends the bar with one line that says how the job went.
    pub fn finish(&self, report: &JobReport) {
        self.bar.finish_and_clear();
        let subject = &self.subject;
        let made = report.produced.as_ref().map_or(String::new(), |id| format!(" {}", id.version));
        let told = match report.state {
            JobState::Reused => "in store".to_owned(),
            JobState::Failed => "failed".to_owned(),
            JobState::Running | JobState::Complete => format!(
                "done in {:.1} s ({:.1} s of processor time, {} MiB)",
                report.resources.wall_seconds,
                report.resources.cpu_seconds,
                report.resources.peak_bytes >> 20
            ),
        };
        console::warn(&format!("{subject:<34} {told}{made}"));
        // An evaluation's message is told at the end, and a failure's by who ends the program.
        if let Some(message) = report.message.as_ref().filter(|_| report.kind == "Dataset") {
            console::warn(&format!("  {}", message.replace('\n', "\n  ")));
        }
    }
}

impl Reporter for Bar {
    fn progress(&self, progress: Progress) {
        let Progress { step, done, total, note } = &progress;
        tracing::debug!(job = %self.subject, step, done, total, note, "progress");
        if let Ok(mut step) = self.step.lock()
            && *step != progress.step
        {
            *step = progress.step;
            self.bar.reset();
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        self.bar.set_message(format!("{} {}", progress.step, progress.note));
    }
}
