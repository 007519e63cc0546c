//! Rows of a data set as ranking models take them, with their labels, and their scores on several threads.

use std::thread;

use recmesh_contract::{
    ArtifactId,
    config::Task,
};
use recmesh_data::{Examples, Interactions, Part};
use recmesh_models::ranking::{InteractionRow, TabularRow};

use crate::JobError;

/// Rows of one part, ready to train on.
pub(crate) struct Labelled<R> {
    /// Features and labels.
    pub rows: Vec<R>,
    /// The user of each row, where rows have users.
    pub users: Option<Vec<u32>>,
}

impl<R> Labelled<R> {
    /// At most `sample` rows, evenly spread; 0 keeps all.
    pub fn spread(self, sample: usize) -> Self {
        let kept: Vec<usize> = recmesh_evaluation::spread(self.rows.len(), sample).collect();
        let users = self.users.map(|users| kept.iter().map(|&row| users[row]).collect());
        let mut rows: Vec<Option<R>> = self.rows.into_iter().map(Some).collect();
        Self { rows: kept.iter().filter_map(|&row| rows[row].take()).collect(), users }
    }
}

/// Rows of interactions: every row of the part is an example, whether or not it enters histories.
pub(crate) fn interactions(
    data: &Interactions,
    tasks: &[Task],
    part: Part,
    history_length: usize,
    id: &ArtifactId,
) -> Result<Labelled<InteractionRow>, JobError> {
    let mut answers = Vec::new();
    for task in tasks {
        let when = task.when.as_ref().ok_or_else(|| JobError::NoColumn {
            task: task.name.clone(),
            dataset: id.clone(),
            what: "labels of examples: give the task a `when`".to_owned(),
            has: data.rows.labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        answers.push(data.rows.reach(when)?);
    }
    let ends = data.history_ends();
    let (mut rows, mut users) = (Vec::new(), Vec::new());
    for user in 0..data.rows.users() {
        for row in data.rows.of(user).filter(|&row| data.rows.part[row] == part) {
            let history = data.history_before(user, row, &ends);
            rows.push(InteractionRow {
                history: history[history.len().saturating_sub(history_length)..].to_vec(),
                user: Some(user as u32),
                item: data.rows.item[row],
                labels: answers.iter().map(|answer| Some(answer[row])).collect(),
            });
            users.push(user as u32);
        }
    }
    Ok(Labelled { rows, users: Some(users) })
}

/// Rows of features.
pub(crate) fn examples(
    data: &Examples,
    tasks: &[Task],
    part: Part,
    id: &ArtifactId,
) -> Result<Labelled<TabularRow>, JobError> {
    let mut labels = Vec::new();
    for task in tasks {
        let name = task.label.as_ref().unwrap_or(&task.name);
        let column = data.labels.iter().find(|(label, _)| label == name).ok_or_else(|| JobError::NoColumn {
            task: task.name.clone(),
            dataset: id.clone(),
            what: format!("label {name}"),
            has: data.labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        labels.push(&column.1);
    }
    let row = |row: usize| TabularRow {
        numeric: data.numeric.iter().map(|column| column.values[row]).collect(),
        categorical: data.categorical.iter().map(|column| column.ids[row]).collect(),
        labels: labels.iter().map(|label| Some(label[row] > 0.5)).collect(),
    };
    Ok(Labelled { rows: data.rows(part).into_iter().map(|index| row(index as usize)).collect(), users: None })
}

/// Rows computed together by a thread.
const CHUNK: usize = 2048;

/// Scores rows in chunks on several threads; `server` makes one scorer a thread. The order is the rows'.
pub(crate) fn score<R: Sync, S, E: Send>(
    rows: &[R],
    threads: usize,
    server: impl Fn() -> S + Sync,
    scorer: impl Fn(&mut S, &[&R]) -> Result<Vec<f32>, E> + Sync,
) -> Result<Vec<f32>, E> {
    let chunks: Vec<&[R]> = rows.chunks(CHUNK).collect();
    let share = chunks.len().div_ceil(threads.max(1)).max(1);
    let (server, scorer) = (&server, &scorer);
    thread::scope(|scope| {
        let work = |part: &'_ [&'_ [R]]| -> Result<Vec<f32>, E> {
            let mut serving = server();
            let mut scores = Vec::new();
            for chunk in part {
                scores.extend(scorer(&mut serving, &chunk.iter().collect::<Vec<_>>())?);
            }
            Ok(scores)
        };
        let running: Vec<_> = chunks.chunks(share).map(|part| scope.spawn(move || work(part))).collect();
        let mut all = Vec::new();
        for thread in running {
            match thread.join() {
                Ok(scores) => all.extend(scores?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })
}

/// Labels as numbers, `rows × tasks`; a missing label is the negative class.
pub(crate) fn labels<'a>(rows: impl Iterator<Item = &'a Vec<Option<bool>>>) -> Vec<f32> {
    rows.flat_map(|labels| labels.iter().map(|label| f32::from(u8::from(label.unwrap_or(false))))).collect()
}
