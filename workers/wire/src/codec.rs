//! Work and answers as messages and back; what comes back is equal to what went, to the last bit of every float.
//!
//! In: the contract's words, or a message that somebody else wrote. Out: the other of the two, or [`Malformed`] for a
//! message that no word of ours has. Never touches the network.

use std::{collections::BTreeMap, sync::Arc};

use recmesh_contract::{Candidate, Context, Done, Finish, Item, Mask, Request, Work};

use crate::proto;

/// A message that means nothing: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message: {0}")]
pub(crate) struct Malformed(&'static str);

/// Work as a message.
pub(crate) fn write_work(work: &Work) -> proto::call_request::Work {
    use proto::call_request::Work as Message;
    match work {
        Work::Tokenize(request) => Message::Tokenize(write_request(request)),
        Work::Retrieve { context, candidates, finish } => Message::Retrieve(proto::Retrieve {
            context: Some(write_context(context)),
            candidates: *candidates as u64,
            finish: finish.as_ref().map(write_finish),
        }),
        Work::Rank { context, candidates, finish } => Message::Rank(proto::Rank {
            context: Some(write_context(context)),
            candidates: Some(write_candidates(candidates)),
            finish: finish.as_ref().map(write_finish),
        }),
        Work::Describe { candidates, k } => {
            Message::Describe(proto::Describe { candidates: Some(write_candidates(candidates)), k: *k as u64 })
        }
    }
}

/// The work that a message means.
pub(crate) fn read_work(work: Option<proto::call_request::Work>) -> Result<Work, Malformed> {
    use proto::call_request::Work as Message;
    Ok(match work.ok_or(Malformed("no work"))? {
        Message::Tokenize(request) => Work::Tokenize(Arc::new(read_request(request)?)),
        Message::Retrieve(retrieve) => Work::Retrieve {
            context: read_context(retrieve.context)?,
            candidates: size(retrieve.candidates)?,
            finish: retrieve.finish.map(read_finish).transpose()?,
        },
        Message::Rank(rank) => Work::Rank {
            context: read_context(rank.context)?,
            candidates: read_candidates(rank.candidates)?,
            finish: rank.finish.map(read_finish).transpose()?,
        },
        Message::Describe(describe) => {
            Work::Describe { candidates: read_candidates(describe.candidates)?, k: size(describe.k)? }
        }
    })
}

/// An answer as a message.
pub(crate) fn write_done(done: Done) -> proto::call_reply::Done {
    use proto::call_reply::Done as Message;
    match done {
        Done::Context(context) => Message::Context(write_context(&context)),
        Done::Candidates(candidates) => Message::Candidates(write_candidates(&candidates)),
        Done::Items(items) => Message::Items(proto::Items { items: items.into_iter().map(write_item).collect() }),
    }
}

/// The answer that a message means.
pub(crate) fn read_done(done: Option<proto::call_reply::Done>) -> Result<Done, Malformed> {
    use proto::call_reply::Done as Message;
    Ok(match done.ok_or(Malformed("no answer"))? {
        Message::Context(context) => Done::Context(read_context(Some(context))?),
        Message::Candidates(candidates) => Done::Candidates(read_candidates(Some(candidates))?),
        Message::Items(items) => Done::Items(items.items.into_iter().map(read_item).collect::<Result<_, _>>()?),
    })
}

fn write_request(request: &Request) -> proto::Tokenize {
    let Request { user, history, k, exclude, filters, allow_seen } = request;
    let strings = |values: &Vec<String>| proto::Strings { values: values.clone() };
    proto::Tokenize {
        user: user.clone(),
        history: history.as_ref().map(strings),
        k: *k as u64,
        exclude: exclude.clone(),
        filters: filters.iter().map(|(key, values)| (key.clone(), strings(values))).collect(),
        allow_seen: *allow_seen,
    }
}

fn read_request(request: proto::Tokenize) -> Result<Request, Malformed> {
    let proto::Tokenize { user, history, k, exclude, filters, allow_seen } = request;
    Ok(Request {
        user,
        history: history.map(|strings| strings.values),
        k: size(k)?,
        exclude,
        filters: filters.into_iter().map(|(key, strings)| (key, strings.values)).collect(),
        allow_seen,
    })
}

fn write_context(context: &Context) -> proto::Context {
    let Context { user, history, unknown, exclude, allowed } = context;
    let bytes = |mask: &Arc<Mask>| mask.words().iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    proto::Context {
        user: *user,
        history: history.clone(),
        unknown: *unknown as u64,
        exclude: exclude.clone(),
        allowed: allowed.as_ref().map(bytes),
    }
}

fn read_context(context: Option<proto::Context>) -> Result<Arc<Context>, Malformed> {
    let proto::Context { user, history, unknown, exclude, allowed } = context.ok_or(Malformed("no context"))?;
    let mask = |bytes: Vec<u8>| {
        let (words, rest) = bytes.as_chunks::<8>();
        let mask = Mask::from_words(words.iter().map(|word| u64::from_le_bytes(*word)).collect());
        if rest.is_empty() { Ok(Arc::new(mask)) } else { Err(Malformed("a mask that is not of whole words")) }
    };
    Ok(Arc::new(Context { user, history, unknown: size(unknown)?, exclude, allowed: allowed.map(mask).transpose()? }))
}

fn write_finish(finish: &Finish) -> proto::Finish {
    let (tasks, weights) = finish.weights.iter().map(|(task, weight)| (task.clone(), *weight)).unzip();
    proto::Finish { k: finish.k as u64, tasks, weights }
}

fn read_finish(finish: proto::Finish) -> Result<Finish, Malformed> {
    let proto::Finish { k, tasks, weights } = finish;
    Ok(Finish { k: size(k)?, weights: Arc::new(by_task(tasks, weights)?) })
}

fn write_item(item: Item) -> proto::Item {
    let Item { id, title, score, semantic_id, tasks } = item;
    let (tasks, task_scores) = tasks.into_iter().unzip();
    proto::Item { id, title, score: Some(score), semantic_id, tasks, task_scores }
}

fn read_item(item: proto::Item) -> Result<Item, Malformed> {
    let proto::Item { id, title, score, semantic_id, tasks, task_scores } = item;
    let score = score.ok_or(Malformed("an item without a score"))?;
    Ok(Item { id, title, score, semantic_id, tasks: by_task(tasks, task_scores)? })
}

fn by_task<T>(tasks: Vec<String>, values: Vec<T>) -> Result<BTreeMap<String, T>, Malformed> {
    let fits = tasks.len() == values.len();
    if fits {
        Ok(tasks.into_iter().zip(values).collect())
    } else {
        Err(Malformed("tasks and values that differ in number"))
    }
}

fn write_candidates(candidates: &[Candidate]) -> proto::Candidates {
    let mut task_counts: Vec<u32> = candidates.iter().map(|candidate| candidate.tasks.len() as u32).collect();
    if task_counts.windows(2).all(|pair| pair[0] == pair[1]) {
        task_counts.truncate(1);
    }
    proto::Candidates {
        items: candidates.iter().map(|candidate| candidate.item).collect(),
        scores: candidates.iter().map(|candidate| candidate.score).collect(),
        tasks: candidates.iter().flat_map(|candidate| candidate.tasks.iter().copied()).collect(),
        task_counts,
    }
}

fn read_candidates(candidates: Option<proto::Candidates>) -> Result<Vec<Candidate>, Malformed> {
    let proto::Candidates { items, scores, tasks, task_counts } = candidates.ok_or(Malformed("no candidates"))?;
    let fits = items.len() == scores.len() && (task_counts.len() == items.len() || task_counts.len() == 1);
    if !fits {
        return Err(Malformed("columns of candidates that differ in length"));
    }
    let count = |row: usize| task_counts.get(row).or(task_counts.first()).map_or(0, |&count| count as usize);
    let mut rest = tasks.as_slice();
    let mut rows = Vec::with_capacity(items.len());
    for (row, (item, score)) in items.into_iter().zip(scores).enumerate() {
        let (tasks, after) = rest.split_at_checked(count(row)).ok_or(Malformed("too few task scores"))?;
        rows.push(Candidate { item, score, tasks: tasks.to_vec() });
        rest = after;
    }
    if rest.is_empty() { Ok(rows) } else { Err(Malformed("too many task scores")) }
}

fn size(number: u64) -> Result<usize, Malformed> {
    usize::try_from(number).map_err(|_| Malformed("a number that is too large"))
}

#[cfg(test)]
pub(crate) mod tests;
