//! A data set: columns, parts and thresholds that fit its source.

use std::collections::BTreeSet;

use recmesh_contract::config::{
    DatasetParams, EntityFormat, EntitySource, ExamplesSource, Format, InteractionColumns, InteractionsSource,
    PlantedWorld, Source, Split, TieBreak,
};
use recmesh_crds::{DatasetSpec, Located};

use super::{facts::Facts, files, scope::Scope, threshold::threshold};

/// The meaning of a data set.
pub(super) fn dataset(scope: &mut Scope<'_>, at: &Located, spec: &DatasetSpec) -> Option<DatasetParams> {
    let params = &spec.params;
    let facts = Facts::of(params);
    match &params.source {
        Source::Interactions(source) => interactions(scope, at, source, &facts),
        Source::Examples(source) => examples(scope, at, source, params),
        Source::Planted(world) => planted(scope, at, world),
    }
    if let Split::Time(shares) = &params.split
        && shares.validation + shares.test >= 1.0
    {
        scope.refuse(
            at,
            "/spec/split/time",
            "validation and test together leave no rows to train on: keep their sum below 1",
        );
    }
    if let Some(history) = &params.history {
        if facts.interactions {
            threshold(scope, at, "/spec/history", history, &facts);
        } else {
            scope.refuse(at, "/spec/history", "examples have no histories: remove it");
        }
    }
    Some(params.clone())
}

/// Most rows of a planted world, so that a row's number fits in 32 bits with room.
const PLANTED_ROWS: u64 = u32::MAX as u64 / 2;

fn planted(scope: &mut Scope<'_>, at: &Located, world: &PlantedWorld) {
    let here = "/spec/source/planted";
    if at.written("/spec/maxBadRows") {
        scope.refuse(at, "/spec/maxBadRows", "a planted world has no bad rows: remove it");
    }
    let buckets = format!("{here}/buckets");
    // The default gives way to a small world; a wish does not.
    if world.buckets > world.items && at.written(&buckets) {
        let message = format!("{} buckets for {} items: every bucket needs an item", world.buckets, world.items);
        scope.refuse(at, &buckets, message);
    }
    if u64::from(world.users) * u64::from(world.length) > PLANTED_ROWS {
        let message = format!("{} users times {} interactions is more than {PLANTED_ROWS}", world.users, world.length);
        scope.refuse(at, here, message);
    }
}

fn interactions(scope: &mut Scope<'_>, at: &Located, source: &InteractionsSource, facts: &Facts) {
    let here = "/spec/source/interactions";
    files::path(scope, at, &format!("{here}/path"), &source.path);
    files::separator(scope, at, &format!("{here}/format"), files::of_interactions(&source.format));
    match (&source.format, &source.columns) {
        (Format::Sequences(_), Some(_)) => {
            scope.refuse(at, &format!("{here}/columns"), "sequence text has no columns: remove it");
        }
        (Format::Delimited(_) | Format::JsonLines(_) | Format::Parquet(_), None) => {
            let message =
                "this format does not say which columns are the user and the item: write columns: {user: …, item: …}";
            scope.refuse(at, &format!("{here}/columns"), message);
        }
        (_, Some(named)) => columns(scope, at, &format!("{here}/columns"), named),
        (_, None) => {}
    }
    if source.tie_break == TieBreak::ItemId && facts.time == Some(false) {
        scope.refuse(at, &format!("{here}/tieBreak"), "without times there are no ties, file order stands: remove it");
    }
    for (name, entities) in [("items", &source.items), ("users", &source.users)] {
        if let Some(entities) = entities {
            self::entities(scope, at, &format!("{here}/{name}"), entities);
        }
    }
    if let Some(users) = &source.users {
        for (field, given) in [("title", users.title.is_some()), ("text", !users.text.is_empty())] {
            if given {
                let message =
                    format!("nothing reads the {field} of users: name the column in attributes, or remove it");
                scope.refuse(at, &format!("{here}/users/{field}"), message);
            }
        }
    }
}

fn columns(scope: &mut Scope<'_>, at: &Located, here: &str, named: &InteractionColumns) {
    if named.user == named.item {
        let message = format!("column {} is the user already: name the column with the item", named.item);
        scope.refuse(at, &format!("{here}/item"), message);
    }
    once(scope, at, &format!("{here}/labels"), "a label column", &named.labels);
}

/// Objects to a column that a list names again.
fn once(scope: &mut Scope<'_>, at: &Located, here: &str, what: &str, names: &[String]) {
    let mut seen = BTreeSet::new();
    for (i, name) in names.iter().enumerate() {
        if !seen.insert(name) {
            scope.refuse(at, &format!("{here}/{i}"), format!("{name} is {what} already: remove one"));
        }
    }
}

fn entities(scope: &mut Scope<'_>, at: &Located, here: &str, source: &EntitySource) {
    files::path(scope, at, &format!("{here}/path"), &source.path);
    files::optional(scope, at, &format!("{here}/attributeMap"), source.attribute_map.as_ref());
    files::separator(scope, at, &format!("{here}/format"), files::of_entities(&source.format));
    once(scope, at, &format!("{here}/attributes"), "an attribute", &source.attributes);
    let map = matches!(source.format, EntityFormat::JsonMap(_));
    if source.attribute_map.is_some() && (map || source.attributes.iter().any(|name| name == "attribute")) {
        let message = format!("{} gives the attribute called attribute already: remove attributeMap", source.path);
        scope.refuse(at, &format!("{here}/attributeMap"), message);
    }
    if !map {
        return;
    }
    let only = "a JSON map holds ids and one attribute, called attribute";
    for (field, given) in
        [("title", source.title.is_some()), ("text", !source.text.is_empty()), ("id", source.id != "id")]
    {
        if given {
            scope.refuse(at, &format!("{here}/{field}"), format!("{only}: remove {field}"));
        }
    }
    if let Some(place) = source.attributes.iter().position(|name| name != "attribute") {
        scope.refuse(at, &format!("{here}/attributes/{place}"), format!("{only}: remove this one"));
    }
}

fn examples(scope: &mut Scope<'_>, at: &Located, source: &ExamplesSource, params: &DatasetParams) {
    let here = "/spec/source/examples";
    files::path(scope, at, &format!("{here}/path"), &source.path);
    files::optional(scope, at, &format!("{here}/validationPath"), source.validation_path.as_ref());
    files::optional(scope, at, &format!("{here}/testPath"), source.test_path.as_ref());
    files::separator(scope, at, &format!("{here}/format"), files::of_examples(&source.format));
    if source.numeric.is_empty() && source.categorical.is_empty() {
        scope.refuse(at, here, "there is nothing to predict from: name columns in numeric or categorical");
    }
    let columns = |name: &'static str, columns: &[String]| -> Vec<(String, String)> {
        columns.iter().enumerate().map(|(i, column)| (format!("{here}/{name}/{i}"), column.clone())).collect()
    };
    let labels: Vec<(String, String)> = (source.labels.iter().enumerate())
        .map(|(i, label)| (format!("{here}/labels/{i}/column"), label.column.clone()))
        .collect();
    let mut features = BTreeSet::new();
    for (pointer, column) in
        columns("numeric", &source.numeric).into_iter().chain(columns("categorical", &source.categorical))
    {
        if labels.iter().any(|(_, label)| *label == column) {
            scope.refuse(
                at,
                &pointer,
                format!("column {column} is a label: a feature that tells the answer is no feature"),
            );
        }
        if !features.insert(column.clone()) {
            scope.refuse(at, &pointer, format!("column {column} is a feature already: remove one"));
        }
    }
    let mut names = BTreeSet::new();
    for (i, label) in source.labels.iter().enumerate() {
        if !names.insert(&label.name) {
            scope.refuse(
                at,
                &format!("{here}/labels/{i}/name"),
                format!("two labels are called {}: rename one", label.name),
            );
        }
    }
    parts(scope, at, source, params);
}

fn parts(scope: &mut Scope<'_>, at: &Located, source: &ExamplesSource, params: &DatasetParams) {
    match (&params.split, source.validation_path.is_some()) {
        (_, true) if at.written("/spec/split") => {
            scope.refuse(at, "/spec/split", "validationPath already says which rows are for validation: remove split");
        }
        (Split::LeaveOneOut(_), false) => {
            let message = "leaveOneOut (the default) needs users and examples have none: \
                           write split: {time: {validation: 0.1, test: 0.1}}, or give validationPath";
            scope.refuse(at, "/spec/split", message);
        }
        (Split::Time(shares), false) if source.test_path.is_some() && shares.test > 0.0 => {
            scope.refuse(at, "/spec/split/time/test", "testPath already gives the test rows: write test: 0");
        }
        _ => {}
    }
}
