//! Metrics as text for people.
//!
//! In: metrics. Out: aligned columns, a line a metric; columns that no metric fills are left out. JSON is made
//! elsewhere, from the same metrics.

use recmesh_contract::Metric;

/// The table, each line ended by a line feed; empty without metrics.
#[must_use]
pub fn table(metrics: &[Metric]) -> String {
    if metrics.is_empty() {
        return String::new();
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let interval = |metric: &Metric| metric.interval.map(|(low, high)| format!("{low:.4} – {high:.4}"));
    let columns: [(&str, Vec<String>); 6] = [
        ("metric", metrics.iter().map(|metric| metric.name.clone()).collect()),
        ("of", metrics.iter().map(|metric| text(&metric.of)).collect()),
        ("split", metrics.iter().map(|metric| text(&metric.split)).collect()),
        ("masking", metrics.iter().map(|metric| text(&metric.masking)).collect()),
        ("value", metrics.iter().map(|metric| format!("{:.4}", metric.value)).collect()),
        ("95 % interval", metrics.iter().map(|metric| interval(metric).unwrap_or_default()).collect()),
    ];
    let filled: Vec<_> = columns.iter().filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty())).collect();
    let width = |head: &str, cells: &[String]| {
        cells.iter().map(|cell| cell.chars().count()).chain([head.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = filled.iter().map(|(head, cells)| width(head, cells)).collect();
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> = (cells.iter().zip(&widths).zip(&filled))
            .map(|((cell, width), (head, _))| match *head {
                "value" => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let head = line(filled.iter().map(|(head, _)| *head).collect());
    let rows = (0..metrics.len()).map(|row| line(filled.iter().map(|(_, cells)| cells[row].as_str()).collect()));
    std::iter::once(head).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_empty_ones_are_left_out() {
        let metric = |name: &str, value, interval, masking: Option<&str>| Metric {
            name: name.to_owned(),
            value,
            interval,
            split: Some("test".to_owned()),
            masking: masking.map(str::to_owned),
            of: None,
        };
        let metrics =
            [metric("ndcg@10", 0.02581, Some((0.0241, 0.02749)), Some("masked")), metric("auc", 12.5, None, None)];
        let expected = "\
metric   split  masking    value  95 % interval
ndcg@10  test   masked    0.0258  0.0241 – 0.0275
auc      test            12.5000
";
        assert_eq!(table(&metrics), expected);
        assert_eq!(table(&[]), "");
    }
}
