//! What the program says to people: results on standard output, failures on standard error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// The manifests or arguments are wrong; everything about them has been said already.
#[derive(Debug, thiserror::Error)]
#[error("{0} problem(s) in the manifests")]
pub struct Refused(pub usize);

/// An argument is wrong, or a file that it names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub String);

/// Prints a line to standard output. A closed pipe is the reader's wish, not a failure of ours.
pub fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints a line to standard error.
pub fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints a failure with its causes and chooses the exit code.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    warn(&format!("recmesh: {}", told(error)));
    if error.is::<Refused>() || error.is::<Wrong>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// A failure and its causes, each once: many a message holds that of its cause already.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        known if known.contains(&cause) => text,
        known => format!("{known}: {cause}"),
    })
}

/// Rows as aligned columns, the first row the header.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let inner = || io::Error::other("no space left");
        let holds = anyhow::Error::new(inner()).context("cannot write x: no space left").context("Dataset/w");
        assert_eq!(told(&holds), "Dataset/w: cannot write x: no space left");
        assert_eq!(told(&anyhow::Error::new(inner()).context("cannot write x")), "cannot write x: no space left");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["KIND".into(), "NAME".into()], vec!["Dataset".into(), "w".into()]];
        assert_eq!(columns(&rows), "KIND     NAME\nDataset  w");
    }
}
