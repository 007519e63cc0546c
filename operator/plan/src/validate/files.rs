//! Files that a data set or a tokenizer reads: paths that stay in the data set's folder, separators that can separate.
//!
//! In: paths and formats as declared. Out: what no job could read, at its field. Opens nothing.

use recmesh_contract::{
    config::{Delimited, EntityFormat, ExamplesFormat, Format},
    stays_below,
};
use recmesh_crds::Located;

use super::scope::Scope;

/// Objects to a path that leaves the data set's folder.
pub(super) fn path(scope: &mut Scope<'_>, at: &Located, pointer: &str, path: &str) {
    if !stays_below(path) {
        let message = format!(
            "{path:?} is no path below the data set's folder: give one without .. or a leading /, \
             and the folder with --data NAME=PATH"
        );
        scope.refuse(at, pointer, message);
    }
}

/// Objects to a path that is given and leaves the data set's folder.
pub(super) fn optional(scope: &mut Scope<'_>, at: &Located, pointer: &str, given: Option<&String>) {
    if let Some(given) = given {
        path(scope, at, pointer, given);
    }
}

/// Objects to a separator that is no single byte or that quotes and lines need; `here` is the field of the format.
pub(super) fn separator(scope: &mut Scope<'_>, at: &Located, here: &str, format: Option<&Delimited>) {
    let Some(Delimited { separator, header: _ }) = format else { return };
    if !matches!(separator.as_bytes(), &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r')) {
        let message = format!("{separator:?} cannot separate values: give one ASCII character, no quote or line end");
        scope.refuse(at, &format!("{here}/delimited/separator"), message);
    }
}

/// The separated values of a format of interactions.
pub(super) fn of_interactions(format: &Format) -> Option<&Delimited> {
    match format {
        Format::Delimited(delimited) => Some(delimited),
        Format::Sequences(_) | Format::RecBole(_) | Format::JsonLines(_) | Format::Parquet(_) => None,
    }
}

/// The separated values of a format of items or users.
pub(super) fn of_entities(format: &EntityFormat) -> Option<&Delimited> {
    match format {
        EntityFormat::Delimited(delimited) => Some(delimited),
        EntityFormat::RecBole(_) | EntityFormat::JsonLines(_) | EntityFormat::JsonMap(_) | EntityFormat::Parquet(_) => {
            None
        }
    }
}

/// The separated values of a format of examples.
pub(super) fn of_examples(format: &ExamplesFormat) -> Option<&Delimited> {
    match format {
        ExamplesFormat::Delimited(delimited) => Some(delimited),
        ExamplesFormat::JsonLines(_) | ExamplesFormat::Parquet(_) => None,
    }
}
