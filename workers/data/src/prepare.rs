//! From a `Dataset`'s parameters to the data set: the driver that lists the steps.
//!
//! In: parameters, the folder of the files, a reporter. Out: the data set and what is told of it. Reads each file once,
//! streaming; writes nothing.

use std::path::Path;

use recmesh_contract::Reporter;
use recmesh_contract::config::{
    DatasetParams, EntityFormat, EntitySource, ExamplesSource, Format, InteractionColumns, InteractionsSource, Source,
    Split, TimeSplit,
};

use crate::collect::{Described, EntityColumns, ExampleColumns, InteractionColumnsRead, Interner};
use crate::read::{self, BadRows, Intake, Kind, MAP_ATTRIBUTE, MAP_ID, Meter, RowFormat, Sink};
use crate::{DataError, Dataset, Entities, Interactions, Part, Sequences, Summary, locate, planted, split};

/// Reads or plants a data set and splits it.
///
/// Relative paths start from `folder`; where `folder` is a file, it is the main file and the others lie beside it.
///
/// # Errors
/// When a file cannot be read, is not of its format, lacks a column, has too many bad rows or no row at all; when the
/// parameters do not fit each other.
pub fn prepare(
    params: &DatasetParams,
    folder: &Path,
    reporter: &dyn Reporter,
) -> Result<(Dataset, Summary), DataError> {
    let mut total = 0;
    for path in locate::files(params, folder)? {
        total += std::fs::metadata(&path).map_err(|source| DataError::Open { path, source })?.len();
    }
    let meter = Meter::new(reporter, total);
    let mut steps = Steps { folder, allowed: params.max_bad_rows, meter: &meter, bad: BadRows::default() };
    let dataset = match &params.source {
        Source::Interactions(source) => Dataset::Interactions(steps.interactions(source, params)?),
        Source::Examples(source) => Dataset::Examples(steps.examples(source, &params.split)?),
        Source::Planted(world) => Dataset::Interactions(planted::plant(world)?.into_interactions(params)?),
    };
    meter.tell();
    let BadRows { count, first } = steps.bad;
    let summary = Summary { bad_rows: count, first_bad: first, ..dataset.summary() };
    Ok((dataset, summary))
}

/// What the steps share.
struct Steps<'a> {
    folder: &'a Path,
    allowed: f64,
    meter: &'a Meter<'a>,
    bad: BadRows,
}

impl Steps<'_> {
    /// Reads one file into a sink.
    fn read(&mut self, path: &Path, format: &RowFormat, wanted: &[&str], sink: &mut dyn Sink) -> Result<(), DataError> {
        let mut intake = Intake::new(path, sink);
        read::rows(path, format, wanted, self.meter, &mut intake)?;
        intake.end(path, self.allowed, &mut self.bad)
    }

    fn interactions(&mut self, source: &InteractionsSource, params: &DatasetParams) -> Result<Interactions, DataError> {
        let path = locate::main_file(self.folder, &source.path)?;
        let columns = interaction_columns(source, &path)?;
        let wanted = InteractionColumnsRead::wanted(&columns);
        let mut sink = InteractionColumnsRead::new(columns.clone());
        self.read(&path, &RowFormat::from(&source.format), &wanted, &mut sink)?;
        let (loose, users, items) = sink.finish();
        let rows = split::arrange(loose, items.strings(), source.tie_break, params.history.as_ref(), &params.split)?;
        let sequences = Sequences::of_rows(&rows);
        let users = self.entities(source.users.as_ref(), users)?;
        let items = self.entities(source.items.as_ref(), items)?;
        Ok(Interactions { users, items, rows, sequences })
    }

    fn entities(&mut self, source: Option<&EntitySource>, ids: Interner) -> Result<Entities, DataError> {
        let Some(source) = source else {
            return Ok(Entities { ids: ids.into_strings(), ..Entities::default() });
        };
        let path = locate::side_file(self.folder, &source.path)?;
        // A JSON map names its own columns.
        let map = matches!(source.format, EntityFormat::JsonMap(_));
        let map_attribute = [MAP_ATTRIBUTE.to_owned()];
        let attributes =
            if map && source.attributes.is_empty() { &map_attribute } else { source.attributes.as_slice() };
        let id = if map { MAP_ID } else { source.id.as_str() };
        let mut wanted = vec![id];
        wanted.extend(source.title.iter().chain(&source.text).chain(attributes).map(String::as_str));
        let sink = EntityColumns::new(&ids, id, source.title.is_some(), source.text.len(), attributes);
        let mut described = self.describe(&path, &RowFormat::from(&source.format), &wanted, sink)?;
        if let Some(map) = &source.attribute_map {
            if attributes.contains(&map_attribute[0]) {
                let reason = format!("the file {} gives the attribute `{MAP_ATTRIBUTE}` already", source.path);
                return Err(DataError::Params { field: "attributeMap", reason });
            }
            let path = locate::side_file(self.folder, map)?;
            let sink = EntityColumns::new(&ids, MAP_ID, false, 0, &map_attribute);
            let map = self.describe(&path, &RowFormat::JsonMap, &[MAP_ID, MAP_ATTRIBUTE], sink)?;
            described.attributes.extend(map.attributes);
        }
        let ids = ids.into_strings();
        Ok(Entities { ids, titles: described.titles, text: described.text, attributes: described.attributes })
    }

    /// Reads one file of entities. A file about none of them is a mistaken id column, not a lack of knowledge.
    fn describe(
        &mut self,
        path: &Path,
        format: &RowFormat,
        wanted: &[&str],
        mut sink: EntityColumns<'_>,
    ) -> Result<Described, DataError> {
        self.read(path, format, wanted, &mut sink)?;
        if sink.described() == 0 {
            let id = wanted.first().copied().unwrap_or_default();
            let reason = format!("no interaction has an id of {}; is {id:?} its column with the ids?", path.display());
            return Err(DataError::Params { field: "id", reason });
        }
        Ok(sink.finish())
    }

    fn examples(&mut self, source: &ExamplesSource, split: &Split) -> Result<crate::Examples, DataError> {
        let format = RowFormat::from(&source.format);
        let wanted = ExampleColumns::wanted(source);
        let mut sink = ExampleColumns::new(source);
        self.read(&locate::main_file(self.folder, &source.path)?, &format, &wanted, &mut sink)?;
        let mut part = example_parts(sink.rows(), source, split)?;
        for (path, of) in [(&source.validation_path, Part::Validation), (&source.test_path, Part::Test)] {
            if let Some(path) = path {
                self.read(&locate::side_file(self.folder, path)?, &format, &wanted, &mut sink)?;
                part.resize(sink.rows(), of);
            }
        }
        Ok(sink.finish(part))
    }
}

/// Parts of the main file's rows. A part that has a file of its own takes none of them; with a validation file there is
/// no test part but a test file's.
fn example_parts(rows: usize, source: &ExamplesSource, split: &Split) -> Result<Vec<Part>, DataError> {
    if source.validation_path.is_some() {
        return Ok(vec![Part::Train; rows]);
    }
    let Split::Time(shares) = split else {
        let reason = "leaveOneOut needs users; give examples a validationPath, or use split.time, \
                      which takes the last rows in file order"
            .into();
        return Err(DataError::Params { field: "split", reason });
    };
    let test = if source.test_path.is_some() { 0.0 } else { shares.test };
    split::by_shares(rows, |row| row, TimeSplit { test, ..*shares })
}

/// The columns of an interactions file: declared, or what the format itself names.
fn interaction_columns(source: &InteractionsSource, path: &Path) -> Result<InteractionColumns, DataError> {
    let plain = |user: &str, item: &str| InteractionColumns {
        user: user.into(),
        item: item.into(),
        time: None,
        behaviour: None,
        labels: Vec::new(),
    };
    match (&source.format, &source.columns) {
        (Format::Sequences(_), None) => Ok(plain("user", "item")),
        (Format::Sequences(_), Some(_)) => Err(DataError::Params {
            field: "source.interactions.columns",
            reason: "sequence text has no columns to name; leave it out".into(),
        }),
        (_, Some(columns)) => Ok(columns.clone()),
        (Format::RecBole(_), None) => {
            let header = read::recbole_header(path)?;
            let time = header.iter().find(|(name, _)| name == "timestamp").map(|(name, _)| name.clone());
            let floats = header.into_iter().filter(|(name, kind)| *kind == Kind::Float && Some(name) != time.as_ref());
            let labels = floats.map(|(name, _)| name).collect();
            Ok(InteractionColumns { time, labels, ..plain("user_id", "item_id") })
        }
        (_, None) => Err(DataError::Params {
            field: "source.interactions.columns",
            reason: "this format does not say which columns are the user and the item; name them".into(),
        }),
    }
}

#[cfg(test)]
mod tests;
