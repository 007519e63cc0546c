//! A planted world as files: what `recmesh dataset generate` writes.
//!
//! In: parameters, a folder, a format. Out: interactions, items and users, and `dataset.yaml`, a manifest that names their
//! columns. Reading the files back gives the same data set as the world itself.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use recmesh_contract::config::{DatasetParams, Source};
use serde_json::json;

use super::describe::{self, ITEM_ATTRIBUTES, ItemWords, USER_ATTRIBUTES};
use super::{BEHAVIOURS, LABELS, Planted, plant};
use crate::DataError;

/// How the files of a planted world are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated, with a header.
    Csv,
    /// A JSON object a line.
    JsonLines,
    /// RecBole atomic files.
    RecBole,
}

/// The fields of one row, in the order of the header: name, RecBole type.
type Header = Vec<(&'static str, &'static str)>;

/// Writes the world of the data set `name` into a folder that exists: `interactions`, `items` and `users` with the
/// format's endings, and `dataset.yaml`, which declares the same data set over these files. Files of these names are
/// replaced.
///
/// # Errors
/// When the data set is not planted, a parameter is out of its range, or a file cannot be written.
pub fn write_files(name: &str, params: &DatasetParams, dir: &Path, format: FileFormat) -> Result<(), DataError> {
    let Source::Planted(world) = &params.source else {
        let reason = format!("data set {name} reads files: only a planted one can be generated");
        return Err(DataError::Params { field: "source", reason });
    };
    let planted = plant(world)?;
    let [rows, items, users] = format.names();
    write(&dir.join(rows), |out| interactions(&planted, format, out))?;
    write(&dir.join(items), |out| {
        let header = vec![
            ("id", "token"),
            ("title", "token_seq"),
            ("text", "token_seq"),
            (ITEM_ATTRIBUTES[0], "token_seq"),
            (ITEM_ATTRIBUTES[1], "token"),
        ];
        let mut table = Table::new(format, header, out)?;
        for number in 0..planted.truth.items() {
            let ItemWords { title, text, category, brand } = describe::item(&planted.truth, number);
            table.row(&[format!("i{number}"), title, text, category.join("|"), brand.to_owned()])?;
        }
        Ok(())
    })?;
    write(&dir.join(users), |out| {
        let header = vec![("id", "token"), (USER_ATTRIBUTES[0], "token"), (USER_ATTRIBUTES[1], "token")];
        let mut table = Table::new(format, header, out)?;
        for number in 0..planted.truth.users() {
            let [segment, region] = describe::user(&planted.truth, number);
            table.row(&[format!("u{number}"), segment.to_owned(), region.to_owned()])?;
        }
        Ok(())
    })?;
    write(&dir.join("dataset.yaml"), |out| out.write_all(format.manifest(name, params).as_bytes()))
}

impl FileFormat {
    /// The names of the three files.
    fn names(self) -> [&'static str; 3] {
        match self {
            Self::Csv => ["interactions.csv", "items.csv", "users.csv"],
            Self::JsonLines => ["interactions.jsonl", "items.jsonl", "users.jsonl"],
            Self::RecBole => ["planted.inter", "planted.item", "planted.user"],
        }
    }

    /// A manifest that reads the files, and otherwise says what `params` say.
    fn manifest(self, name: &str, params: &DatasetParams) -> String {
        let arm = match self {
            Self::Csv => "delimited: {}",
            Self::JsonLines => "jsonLines: {}",
            Self::RecBole => "recBole: {}",
        };
        let [rows, items, users] = self.names();
        // JSON on a line is YAML too.
        let DatasetParams { source: _, split, history, max_bad_rows } = params;
        let history = history.as_ref().map(|history| format!("  history: {}\n", json!(history))).unwrap_or_default();
        let rest = format!("  split: {}\n{history}  maxBadRows: {max_bad_rows}\n", json!(split));
        format!(
            "apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata:
  name: {name}
spec:
  source:
    interactions:
      path: {rows}
      format: {{{arm}}}
      columns: {{user: user, item: item, time: time, behaviour: behaviour, labels: [{}]}}
      items:
        path: {items}
        format: {{{arm}}}
        title: title
        text: [text]
        attributes: [{}]
      users:
        path: {users}
        format: {{{arm}}}
        attributes: [{}]
{rest}",
            LABELS.join(", "),
            ITEM_ATTRIBUTES.join(", "),
            USER_ATTRIBUTES.join(", "),
        )
    }
}

fn interactions(planted: &Planted, format: FileFormat, out: &mut dyn Write) -> std::io::Result<()> {
    let mut header = vec![("user", "token"), ("item", "token"), ("time", "float"), ("behaviour", "token")];
    header.extend(LABELS.map(|label| (label, "float")));
    let mut table = Table::new(format, header, out)?;
    let rows = planted.user.iter().zip(&planted.item).zip(&planted.time).zip(&planted.outcomes);
    for (((user, item), time), outcome) in rows {
        let mut fields = vec![
            format!("u{user}"),
            format!("i{item}"),
            time.to_string(),
            BEHAVIOURS[usize::from(outcome.behaviour)].to_owned(),
        ];
        fields.extend(outcome.labels.map(|label| label.to_string()));
        table.row(&fields)?;
    }
    Ok(())
}

/// Rows in one of the formats. No field of a planted world needs quoting beyond a comma.
struct Table<'a> {
    format: FileFormat,
    header: Header,
    out: &'a mut dyn Write,
}

impl<'a> Table<'a> {
    fn new(format: FileFormat, header: Header, out: &'a mut dyn Write) -> std::io::Result<Self> {
        let names: Vec<String> = header.iter().map(|(name, _)| (*name).to_owned()).collect();
        let typed: Vec<String> = header.iter().map(|(name, kind)| format!("{name}:{kind}")).collect();
        match format {
            FileFormat::Csv => writeln!(out, "{}", names.join(","))?,
            FileFormat::RecBole => writeln!(out, "{}", typed.join("\t"))?,
            FileFormat::JsonLines => {}
        }
        Ok(Self { format, header, out })
    }

    fn row(&mut self, fields: &[String]) -> std::io::Result<()> {
        match self.format {
            FileFormat::Csv => {
                let quoted = |field: &String| if field.contains(',') { format!("\"{field}\"") } else { field.clone() };
                writeln!(self.out, "{}", fields.iter().map(quoted).collect::<Vec<_>>().join(","))
            }
            FileFormat::RecBole => writeln!(self.out, "{}", fields.join("\t")),
            FileFormat::JsonLines => {
                let value = |((name, kind), field): (&(&'static str, &str), &String)| {
                    let number = (*kind == "float").then(|| serde_json::from_str(field).ok()).flatten();
                    ((*name).to_owned(), number.unwrap_or_else(|| json!(field)))
                };
                let object: serde_json::Map<_, _> = self.header.iter().zip(fields).map(value).collect();
                writeln!(self.out, "{}", serde_json::Value::Object(object))
            }
        }
    }
}

fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), DataError> {
    let at = |source| DataError::Write { path: path.to_path_buf(), source };
    let mut out = BufWriter::new(File::create(path).map_err(at)?);
    fill(&mut out).map_err(at)?;
    out.flush().map_err(at)
}
