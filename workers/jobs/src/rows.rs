//! Rows of a data set as ranking models take them, with their labels, and their scores on several threads.

use std::thread;

use recmesh_contract::{ArtifactId, config::Task};
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

/// Rows of interactions: every row of the part is an example, whether or not it enters histories. A label whose number
/// is missing is unknown.
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
            column: format!("labels of its own: give the task a `when` over {}", names(&data.rows.labels)),
        })?;
        let reached = data.rows.reach(when)?;
        // A missing number is no answer: it teaches nothing, and nothing is measured by it.
        let numbers = when.at_least.and_then(|_| data.rows.label(&when.column));
        let known = |row: usize| numbers.is_none_or(|numbers| !numbers[row].is_nan());
        answers.push(reached.into_iter().enumerate().map(|(row, yes)| known(row).then_some(yes)).collect::<Vec<_>>());
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
                labels: answers.iter().map(|answer| answer[row]).collect(),
            });
            users.push(user as u32);
        }
    }
    Ok(Labelled { rows, users: Some(users) })
}

/// How often each item occurs in the train rows. Not in the histories alone: where only rows of one answer enter those,
/// their count would give a training row's own label away.
pub(crate) fn occurrences(data: &Interactions) -> Vec<u32> {
    let mut counts = vec![0; data.items.len()];
    for (&item, _) in data.rows.item.iter().zip(&data.rows.part).filter(|&(_, &part)| part == Part::Train) {
        counts[item as usize] += 1;
    }
    counts
}

/// Names of label columns, for people.
fn names(labels: &[(String, Vec<f32>)]) -> String {
    labels.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
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
            column: format!("label {name}; it has {}", names(&data.labels)),
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

/// Labels as numbers, `rows × tasks`; an unknown one is NaN.
pub(crate) fn labels<'a>(rows: impl Iterator<Item = &'a Vec<Option<bool>>>) -> Vec<f32> {
    rows.flat_map(|labels| labels.iter().map(|label| label.map_or(f32::NAN, |yes| f32::from(u8::from(yes))))).collect()
}

#[cfg(test)]
mod tests {
    use recmesh_contract::{ArtifactKind, Name, Version};
    use recmesh_data::{Rows, Sequences};

    use super::*;

    /// One user: three items, five rows; the second and third enter no history, the last is not for training.
    fn films() -> Interactions {
        let rows = Rows {
            offsets: vec![0, 5],
            item: vec![2, 0, 1, 2, 0],
            labels: vec![("rating".to_owned(), vec![5.0, 1.0, f32::NAN, 4.0, 5.0])],
            part: vec![Part::Train, Part::Train, Part::Train, Part::Train, Part::Test],
            in_history: vec![true, false, false, true, true],
            ..Rows::default()
        };
        let mut data = Interactions { sequences: Sequences::of_rows(&rows), rows, ..Interactions::default() };
        ["a", "b", "c"].into_iter().for_each(|id| data.items.ids.push(id));
        data
    }

    #[test]
    fn every_train_row_counts_whatever_its_answer() {
        assert_eq!(occurrences(&films()), [1, 1, 2]);
    }

    #[test]
    fn a_missing_number_is_no_label_and_a_low_one_is_a_no() {
        let data = films();
        let task: Task =
            serde_json::from_value(serde_json::json!({"name": "good", "when": {"column": "rating", "atLeast": 4}}))
                .unwrap();
        let name = Name::new("films").unwrap();
        let id = ArtifactId { kind: ArtifactKind::Dataset, name, version: Version::of([]) };
        let made = interactions(&data, &[task], Part::Train, 2, &id).unwrap();
        let own: Vec<Option<bool>> = made.rows.iter().map(|row| row.labels[0]).collect();
        assert_eq!(own, [Some(true), Some(false), None, Some(true)]);
        let histories: Vec<&[u32]> = made.rows.iter().map(|row| row.history.as_slice()).collect();
        assert_eq!(histories, [&[][..], &[2], &[2], &[2]]);
        let numbers = labels(made.rows.iter().map(|row| &row.labels));
        assert_eq!((&numbers[..2], numbers[2].is_nan(), numbers[3]), (&[1.0, 0.0][..], true, 1.0));
    }

    #[test]
    fn scores_keep_the_order_of_rows_for_any_threads() {
        let rows: Vec<usize> = (0..3 * CHUNK + 5).collect();
        for threads in [0, 1, 2, 9] {
            let double = |(): &mut (), rows: &[&usize]| Ok::<_, ()>(rows.iter().map(|&&row| row as f32).collect());
            let scores = score(&rows, threads, || (), double).unwrap();
            assert!(scores.iter().zip(&rows).all(|(&score, &row)| score == row as f32) && scores.len() == rows.len());
        }
    }
}
