//! A report cut to a size, for places that hold little: a pod's termination message has 4,096 bytes.
//!
//! Numbers are rounded to six digits, the message is cut at its end, and of the metrics the last go first; how many went
//! is told. The artifact holds them all.

use recmesh_contract::JobReport;

/// Bytes of a message that are always kept.
const MESSAGE: usize = 1500;

/// The report in at most `bytes` bytes of JSON; below a few hundred there is nothing left to cut.
#[must_use]
pub fn shortened(mut report: JobReport, bytes: usize) -> JobReport {
    for metric in &mut report.metrics {
        metric.value = rounded(metric.value);
        metric.interval = metric.interval.map(|(low, high)| (rounded(low), rounded(high)));
    }
    let resources = &mut report.resources;
    resources.wall_seconds = rounded(resources.wall_seconds);
    resources.cpu_seconds = rounded(resources.cpu_seconds);
    if let Some(message) = &mut report.message {
        cut(message, MESSAGE.min(bytes / 2));
    }
    if let Some(progress) = &mut report.progress {
        cut(&mut progress.note, bytes / 8);
    }
    while size(&report) > bytes && report.metrics.pop().is_some() {
        report.omitted += 1;
    }
    // A text of characters that JSON escapes is longer than its own bytes.
    while size(&report) > bytes
        && let Some(message) = report.message.as_mut().filter(|message| message.len() > 3)
    {
        let half = message.len() / 2;
        cut(message, half);
    }
    report
}

fn size(report: &JobReport) -> usize {
    serde_json::to_string(report).map_or(0, |text| text.len())
}

/// Six significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// At most `bytes` bytes, the end replaced by `…`.
fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use recmesh_contract::{JobProgress, JobState, Metric, Name, Resources};

    use super::*;

    fn report(metrics: usize, message: &str) -> JobReport {
        let metric = |i: usize| Metric {
            name: format!("ndcg@{i}"),
            value: 1.0 / 3.0 + i as f64,
            interval: Some((0.123_456_789, 2e-9 / 3.0)),
            split: Some("test".into()),
            masking: Some("masked".into()),
            of: None,
        };
        JobReport {
            kind: "EvaluationJob".into(),
            name: Name::new("quality").unwrap(),
            state: JobState::Complete,
            produced: None,
            metrics: (0..metrics).map(metric).collect(),
            omitted: 0,
            digest: None,
            progress: Some(JobProgress { note: "loss ".repeat(400), ..JobProgress::default() }),
            quantization: None,
            resources: Resources { wall_seconds: 1.234_567_89, cpu_seconds: 2.0, peak_bytes: 1 << 30 },
            message: Some(message.to_owned()),
        }
    }

    #[test]
    fn fits_and_tells_how_many_numbers_are_left_out() {
        let short = shortened(report(100, "gate missed"), 4096);
        assert!(size(&short) <= 4096);
        assert!(short.metrics.len() > 15, "no more is cut than must be: {}", short.metrics.len());
        assert_eq!(short.metrics.len() + short.omitted, 100);
        assert_eq!(short.metrics[0].name, "ndcg@0", "the last go first");
        let one_more = report(short.metrics.len() + 1, "gate missed");
        assert_eq!(shortened(one_more, 4096).omitted, 1);
        assert_eq!(short.message.as_deref(), Some("gate missed"));
        assert_eq!(shortened(short.clone(), 4096), short);
    }

    #[test]
    fn numbers_keep_six_digits() {
        let short = shortened(report(1, ""), 4096);
        assert_eq!(short.metrics[0].value, 0.333_333);
        assert_eq!(short.metrics[0].interval, Some((0.123_457, 6.666_67e-10)));
        assert_eq!(short.resources.wall_seconds, 1.234_57);
    }

    #[test]
    fn long_messages_are_cut_between_characters_whatever_they_hold() {
        for text in ["ü".repeat(9000), "\u{1}".repeat(9000), "\"".repeat(9000)] {
            let short = shortened(report(3, &text), 4096);
            assert!(size(&short) <= 4096, "{}", size(&short));
            assert!(short.message.unwrap().ends_with('…'));
        }
    }
}
