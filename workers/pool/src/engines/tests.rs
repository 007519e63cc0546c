//! The engines over a real catalog and real histories, with models that answer what the test expects.

use std::{collections::BTreeMap, sync::Arc};

use recmesh_catalog::{Catalog, CatalogItem, write};
use recmesh_contract::{
    Candidate, Class, Context, Done, Failure, Finish, Item, ItemIndex, Mask, Query, Rank, RankQuery, Recommend,
    Request, Work, reason,
};
use recmesh_store::Histories;

use super::{RankEngine, RetrieveEngine, TokenizeEngine};
use crate::engine::Engine;

/// Six items `i0`…`i5`: even ones are dramas, odd ones crime; the first three are from 1999, the others from 2001.
fn catalog(dir: &std::path::Path) -> Arc<Catalog> {
    let genre = ["drama", "crime"];
    let year = ["1999", "2001"];
    let item = |i: usize| CatalogItem {
        id: format!("i{i}"),
        title: (i != 5).then(|| format!("Item {i}")),
        codes: vec![i as u32 / 2, i as u32 % 2],
        attributes: vec![
            ("genre".to_owned(), vec![genre[i % 2].to_owned()]),
            ("year".to_owned(), vec![year[i / 3].to_owned()]),
        ],
        popularity: 1,
    };
    let path = dir.join("catalog.bin");
    write(&path, &[3, 2], &(0..6).map(item).collect::<Vec<_>>()).unwrap();
    Arc::new(Catalog::open(&path).unwrap())
}

fn tokenizer(live: Option<Mask>) -> (tempfile::TempDir, TokenizeEngine) {
    let dir = tempfile::tempdir().unwrap();
    let mut catalog = catalog(dir.path());
    if let Some(live) = live {
        catalog = Arc::new(catalog.with_live(live));
    }
    let path = dir.path().join("histories.bin");
    let users: [(&str, &[ItemIndex]); 2] = [("u1", &[4, 2, 4]), ("u2", &[])];
    Histories::write(&path, users.into_iter()).unwrap();
    let engine = TokenizeEngine::new(catalog, Arc::new(Histories::open(&path).unwrap()));
    (dir, engine)
}

fn request(user: Option<&str>) -> Request {
    let user = user.map(str::to_owned);
    Request { user, history: None, k: 3, exclude: vec![], filters: BTreeMap::new(), allow_seen: false }
}

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn filters(pairs: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|&(key, values)| (key.to_owned(), ids(values))).collect()
}

fn ask(engine: &mut dyn Engine, work: Work) -> Result<Done, Failure> {
    engine.run(vec![work]).remove(0)
}

fn context(engine: &mut TokenizeEngine, request: Request) -> Result<Arc<Context>, Failure> {
    match ask(engine, Work::Tokenize(Arc::new(request)))? {
        Done::Context(context) => Ok(context),
        other => panic!("{other:?}"),
    }
}

fn members(mask: Option<&Arc<Mask>>) -> Option<Vec<ItemIndex>> {
    mask.map(|mask| (0..100).filter(|&item| mask.contains(item)).collect())
}

#[test]
fn a_known_user_brings_a_history_and_an_inline_history_replaces_it() {
    let (_dir, mut engine) = tokenizer(None);
    let known = context(&mut engine, request(Some("u1"))).unwrap();
    let expected = Context { user: Some(0), history: vec![4, 2, 4], unknown: 0, exclude: vec![2, 4], allowed: None };
    assert_eq!(*known, expected);

    let history = Some(ids(&["i5", "never-seen", "i0"]));
    let inline = context(&mut engine, Request { history, ..request(Some("u1")) }).unwrap();
    let expected = Context { user: Some(0), history: vec![5, 0], unknown: 1, exclude: vec![0, 5], allowed: None };
    assert_eq!(*inline, expected);

    let stranger = context(&mut engine, request(Some("u9"))).unwrap();
    assert_eq!((stranger.user, stranger.history.len()), (None, 0));
}

#[test]
fn the_deny_list_joins_the_history_unless_seen_items_may_come_back() {
    let (_dir, mut engine) = tokenizer(None);
    let deny = Request { exclude: ids(&["i5", "i4", "never-seen"]), ..request(Some("u1")) };
    assert_eq!(context(&mut engine, deny.clone()).unwrap().exclude, [2, 4, 5]);
    assert_eq!(context(&mut engine, Request { allow_seen: true, ..deny }).unwrap().exclude, [4, 5]);
}

#[test]
fn a_history_of_ten_thousand_items_is_taken() {
    let (_dir, mut engine) = tokenizer(None);
    let history = Some((0..10_000).map(|i| format!("i{}", i % 7)).collect());
    let long = context(&mut engine, Request { history, ..request(None) }).unwrap();
    assert_eq!((long.history.len(), long.unknown), (8572, 1428));
    assert_eq!(long.exclude, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn filters_want_one_value_of_every_key_and_live_items_only() {
    let (_dir, mut engine) = tokenizer(None);
    let mut allowed = |filters: BTreeMap<String, Vec<String>>| {
        let context = context(&mut engine, Request { filters, ..request(None) }).unwrap();
        members(context.allowed.as_ref())
    };
    assert_eq!(allowed(BTreeMap::new()), None);
    assert_eq!(allowed(filters(&[("genre", &["drama"])])), Some(vec![0, 2, 4]));
    assert_eq!(allowed(filters(&[("genre", &["drama", "crime"]), ("year", &["2001"])])), Some(vec![3, 4, 5]));
    assert_eq!(allowed(filters(&[("genre", &["western"])])), Some(vec![]), "nobody has this value");
    assert_eq!(allowed(filters(&[("genre", &[])])), Some(vec![]), "no value, no item");

    let (_dir, mut engine) = tokenizer(Some(Mask::from_words(vec![0b011110])));
    let mut allowed = |filters: BTreeMap<String, Vec<String>>| {
        let context = context(&mut engine, Request { filters, ..request(None) }).unwrap();
        members(context.allowed.as_ref())
    };
    assert_eq!(allowed(BTreeMap::new()), Some(vec![1, 2, 3, 4]));
    assert_eq!(allowed(filters(&[("genre", &["drama"])])), Some(vec![2, 4]));
}

#[test]
fn a_filter_on_an_attribute_there_is_not_names_those_there_are() {
    let (_dir, mut engine) = tokenizer(None);
    let wrong = Request { filters: filters(&[("gender", &["drama"])]), ..request(None) };
    let failure = context(&mut engine, wrong).unwrap_err();
    assert_eq!((failure.class, failure.reason), (Class::Invalid, reason::BAD_FIELD));
    assert_eq!(failure.diagnostic, "filters.gender: no item has this attribute; there are: genre, year");
}

/// Answers the items of each query's history, with the query's exclusions left out.
struct Echo {
    fails: bool,
}

fn candidate(item: ItemIndex, score: f32) -> Candidate {
    Candidate { item, score, tasks: vec![] }
}

impl Recommend for Echo {
    fn recommend(&mut self, queries: &[Query<'_>]) -> Result<Vec<Vec<Candidate>>, Failure> {
        if self.fails {
            return Err(Failure::new(Class::Internal, reason::NOT_A_NUMBER, "item 3"));
        }
        let answer = |query: &Query<'_>| {
            let left = query.history.iter().filter(|item| !query.exclude.contains(item));
            left.take(query.k).map(|&item| candidate(item, 1.0)).collect()
        };
        Ok(queries.iter().map(answer).collect())
    }

    fn fork(&self) -> Box<dyn Recommend> {
        Box::new(Self { fails: self.fails })
    }
}

fn about(history: &[ItemIndex], exclude: &[ItemIndex]) -> Arc<Context> {
    let (history, exclude) = (history.to_vec(), exclude.to_vec());
    Arc::new(Context { user: None, history, unknown: 0, exclude, allowed: None })
}

fn finish(k: usize, weights: &[(&str, f64)]) -> Option<Finish> {
    let weights = weights.iter().map(|&(task, weight)| (task.to_owned(), weight)).collect();
    Some(Finish { k, weights: Arc::new(weights) })
}

fn found(items: &[Item]) -> Vec<&str> {
    items.iter().map(|item| item.id.as_str()).collect()
}

#[test]
fn retrieval_answers_each_query_of_a_batch_and_describes_where_it_is_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = RetrieveEngine::new(Box::new(Echo { fails: false }), catalog(dir.path()));
    let answers = engine.fork().run(vec![
        Work::Retrieve { context: about(&[3, 1, 2], &[1]), candidates: 5, finish: None },
        Work::Tokenize(Arc::new(request(None))),
        Work::Retrieve { context: about(&[5, 0, 4], &[]), candidates: 3, finish: finish(2, &[]) },
    ]);
    let Ok(Done::Candidates(candidates)) = &answers[0] else { panic!("{:?}", answers[0]) };
    assert_eq!(candidates, &[candidate(3, 1.0), candidate(2, 1.0)]);
    assert_eq!(answers[1].as_ref().err().map(|f| (f.class, f.reason)), Some((Class::Internal, reason::WRONG_REPLY)));
    let Ok(Done::Items(items)) = &answers[2] else { panic!("{:?}", answers[2]) };
    let first = Item { id: "i5".to_owned(), title: None, score: 1.0, semantic_id: vec![2, 1], tasks: BTreeMap::new() };
    assert_eq!((items.len(), &items[0], items[1].title.as_deref()), (2, &first, Some("Item 0")));

    engine = RetrieveEngine::new(Box::new(Echo { fails: true }), catalog(dir.path()));
    let work = || Work::Retrieve { context: about(&[1], &[]), candidates: 1, finish: None };
    let reasons: Vec<_> =
        engine.run(vec![work(), work()]).into_iter().map(|answer| answer.unwrap_err().reason).collect();
    assert_eq!(reasons, [reason::NOT_A_NUMBER; 2]);
}

/// Two tasks: `like` rises with the item's index, `buy` falls; `short` makes it lose a score.
struct Slope {
    short: bool,
}

impl Rank for Slope {
    fn tasks(&self) -> Arc<[String]> {
        ["like".to_owned(), "buy".to_owned()].into()
    }

    fn rank(&mut self, queries: &[RankQuery<'_>]) -> Result<Vec<Vec<f32>>, Failure> {
        let score = |&item: &ItemIndex| [item as f32 / 10.0, 1.0 - item as f32 / 10.0];
        let mut answers: Vec<Vec<f32>> =
            queries.iter().map(|query| query.candidates.iter().flat_map(score).collect()).collect();
        if self.short {
            answers[0].pop();
        }
        Ok(answers)
    }

    fn fork(&self) -> Box<dyn Rank> {
        Box::new(Self { short: self.short })
    }
}

fn rank_work(finish: Option<Finish>) -> Work {
    let candidates = vec![candidate(2, 0.9), candidate(5, 0.8), candidate(1, 0.7)];
    Work::Rank { context: about(&[0], &[]), candidates, finish }
}

#[test]
fn ranking_mixes_tasks_by_their_weights_and_keeps_the_best() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = RankEngine::new(Box::new(Slope { short: false }), catalog(dir.path()));
    let mut ranked = |weights: &[(&str, f64)]| match ask(&mut engine, rank_work(finish(2, weights))).unwrap() {
        Done::Items(items) => items,
        other => panic!("{other:?}"),
    };
    let items = ranked(&[("like", 1.0)]);
    assert_eq!((found(&items), items[0].score), (vec!["i5", "i2"], 0.5));
    assert_eq!(items[0].tasks, [("buy".to_owned(), 0.5), ("like".to_owned(), 0.5)].into());
    assert_eq!(found(&ranked(&[("like", 0.1), ("buy", 2.0)])), ["i1", "i2"]);
    let unweighted = ranked(&[]);
    assert_eq!((found(&unweighted), unweighted[0].score), (vec!["i2", "i5"], 0.9), "the retrieval score stands");
    assert_eq!(unweighted[0].tasks.len(), 2);

    let Ok(Done::Candidates(candidates)) = ask(&mut engine, rank_work(None)) else { panic!() };
    assert_eq!(candidates[1].tasks, [0.5, 0.5]);
    let unknown = ask(&mut engine, rank_work(finish(2, &[("love", 1.0)]))).unwrap_err();
    assert_eq!(unknown.class, Class::Internal);
    let mut short = RankEngine::new(Box::new(Slope { short: true }), catalog(dir.path()));
    assert_eq!(ask(&mut short, rank_work(None)).unwrap_err().reason, reason::WRONG_REPLY);
}

#[test]
fn candidates_nobody_could_rank_are_described_as_they_came() {
    let (_dir, mut engine) = tokenizer(None);
    let candidates = || vec![candidate(2, 0.9), candidate(5, 0.8), candidate(1, 0.7)];
    let Ok(Done::Items(items)) = ask(&mut engine, Work::Describe { candidates: candidates(), k: 2 }) else { panic!() };
    assert_eq!((found(&items), items[0].score), (vec!["i2", "i5"], 0.9));
    assert!(items[0].tasks.is_empty());

    let dir = tempfile::tempdir().unwrap();
    let mut ranker = RankEngine::new(Box::new(Slope { short: false }), catalog(dir.path()));
    for (engine, work) in [
        (&mut engine as &mut dyn Engine, rank_work(finish(2, &[]))),
        (&mut ranker, Work::Describe { candidates: candidates(), k: 2 }),
    ] {
        assert_eq!(ask(engine, work).unwrap_err().reason, reason::WRONG_REPLY, "each pool takes its own work only");
    }
}
