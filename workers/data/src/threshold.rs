//! Which rows reach a threshold.
//!
//! In: a threshold of a manifest and the columns it can name. Out: yes or no a row. A missing number reaches nothing.

use recmesh_contract::config::Threshold;

use crate::{Behaviours, DataError};

/// For every row, whether it reaches the threshold.
pub(crate) fn reach(
    threshold: &Threshold,
    rows: usize,
    behaviour: Option<&Behaviours>,
    labels: &[(String, Vec<f32>)],
) -> Result<Vec<bool>, DataError> {
    let wrong = |reason: String| DataError::Params { field: "column", reason };
    let column = threshold.column.as_str();
    match (&threshold.is, threshold.at_least) {
        (Some(is), None) if column == "behaviour" => {
            let behaviour = behaviour.ok_or_else(|| {
                wrong("the rows have no behaviour; name its column in columns.behaviour of the data set".into())
            })?;
            let id = behaviour.names.iter().position(|name| name == is).ok_or_else(|| {
                wrong(format!("no row has the behaviour {is:?}; there are {}", behaviour.names.join(", ")))
            })?;
            Ok(behaviour.ids.iter().map(|&of| usize::from(of) == id).collect())
        }
        (Some(_), None) => Err(wrong(format!("{column:?} holds numbers: use atLeast; only `behaviour` can use is"))),
        (None, Some(least)) => {
            let (_, values) = labels.iter().find(|(name, _)| name == column).ok_or_else(|| {
                let there: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).collect();
                wrong(format!("{column:?} is no label column; there are: {}", there.join(", ")))
            })?;
            debug_assert_eq!(values.len(), rows);
            Ok(values.iter().map(|&value| f64::from(value) >= least).collect())
        }
        _ => Err(wrong(format!("{column:?} needs exactly one of atLeast and is"))),
    }
}
