//! Interactions as columns in the order of the file.
//!
//! In: cells `user, item, [time], [behaviour], labels…`. Out: [`LooseRows`] and the ids of users and items, numbered by
//! first appearance. A bad row gives nobody a number.

use std::borrow::Cow;

use recmesh_contract::ItemIndex;
use recmesh_contract::config::InteractionColumns;

use super::Interner;
use crate::Behaviours;
use crate::read::{Cell, Sink};

/// Interactions before they are ordered by user.
#[derive(Clone, Debug, Default)]
pub(crate) struct LooseRows {
    /// How many users there are.
    pub(crate) users: usize,
    pub(crate) user: Vec<u32>,
    pub(crate) item: Vec<ItemIndex>,
    pub(crate) time: Option<Vec<i64>>,
    pub(crate) behaviour: Option<Behaviours>,
    pub(crate) labels: Vec<(String, Vec<f32>)>,
}

/// The sink of an interactions file.
pub(crate) struct InteractionColumnsRead {
    columns: InteractionColumns,
    users: Interner,
    items: Interner,
    rows: LooseRows,
    /// The labels of the row at hand.
    numbers: Vec<f32>,
}

impl InteractionColumnsRead {
    /// A sink for these columns.
    pub(crate) fn new(columns: InteractionColumns) -> Self {
        let rows = LooseRows {
            time: columns.time.is_some().then(Vec::new),
            behaviour: columns.behaviour.is_some().then(Behaviours::default),
            labels: columns.labels.iter().map(|label| (label.clone(), Vec::new())).collect(),
            ..LooseRows::default()
        };
        Self { columns, users: Interner::default(), items: Interner::default(), rows, numbers: Vec::new() }
    }

    /// The columns that cells must come from, in their order.
    pub(crate) fn wanted(columns: &InteractionColumns) -> Vec<&str> {
        let optional = [&columns.time, &columns.behaviour].into_iter().flatten();
        let named = [&columns.user, &columns.item].into_iter().chain(optional).chain(&columns.labels);
        named.map(String::as_str).collect()
    }

    /// The rows, and who the numbers of users and items are.
    pub(crate) fn finish(self) -> (LooseRows, Interner, Interner) {
        let Self { columns: _, users, items, mut rows, numbers: _ } = self;
        rows.users = users.len();
        (rows, users, items)
    }
}

impl Sink for InteractionColumnsRead {
    fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), String> {
        let Self { columns, users, items, rows, numbers } = self;
        let mut cells = cells.iter();
        // Readers hand over as many cells as columns were asked for.
        let mut next = || cells.next().unwrap_or(&Cell::Missing);
        let user = next().id(&columns.user)?;
        let item = next().id(&columns.item)?;
        let time = columns.time.as_ref().map(|name| next().time(name)).transpose()?;
        let behaviour = columns.behaviour.as_ref().map(|name| next().id(name).map(Cow::into_owned)).transpose()?;
        numbers.clear();
        for name in &columns.labels {
            numbers.push(next().number(name)?.map_or(f32::NAN, |number| number as f32));
        }
        if rows.user.len() >= u32::MAX as usize {
            return Err("there are more rows than the 4,294,967,295 that a data set can have".into());
        }
        if let (Some(into), Some(name)) = (&mut rows.behaviour, behaviour) {
            into.ids.push(behaviour_id(&mut into.names, &name)?);
        }
        let full = || "there are more ids than numbers for them".to_owned();
        rows.user.push(users.intern(&user).ok_or_else(full)?);
        rows.item.push(items.intern(&item).ok_or_else(full)?);
        if let (Some(into), Some(time)) = (&mut rows.time, time) {
            into.push(time);
        }
        for ((_, into), &number) in rows.labels.iter_mut().zip(numbers.iter()) {
            into.push(number);
        }
        Ok(())
    }
}

/// The number of a behaviour, new if need be.
fn behaviour_id(names: &mut Vec<String>, name: &str) -> Result<u8, String> {
    if let Some(id) = names.iter().position(|known| known == name) {
        return u8::try_from(id).map_err(|_| String::new());
    }
    let id = u8::try_from(names.len())
        .map_err(|_| format!("{name:?} would be the 257th behaviour; is this the column with what the user did?"))?;
    names.push(name.to_owned());
    Ok(id)
}
