//! The state machine alone, against any order of wishes and warmth.

use proptest::prelude::*;
use recmesh_contract::{Name, Release, config::RouteParams};

use super::*;
use crate::terms::{Generation, Key};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A release of two pools: retrieval of its own, the tokenizer shared.
fn wanted(release: u8, deadline: u64) -> Wanted {
    let pools = [name("tokenize-ids-0"), name(&format!("retrieve-m-{release}"))];
    let mut named = Release::new("home", BTreeMap::new(), format!("ids@{release}"), "sha256:0".to_owned());
    named.name = format!("home@{release}");
    let params = RouteParams { deadline: recmesh_contract::Millis(deadline), ..RouteParams::default() };
    let [tokenize, retrieve] = pools.clone();
    let artifact = serde_json::json!({"kind": "tokenizer", "name": "ids", "version": "000000000000"});
    let generations = pools.map(|pool| Generation {
        owner: Key::new(recmesh_crds::Kind::Tokenizer, "ids"),
        pool: "x".to_owned(),
        hex: "0".to_owned(),
        config: serde_json::from_value(serde_json::json!({
            "name": pool, "params": {}, "serves": {"tokenize": {"tokenizer": artifact, "dataset": artifact}},
        }))
        .unwrap(),
        version: "0".to_owned(),
        place: PoolPlace { service: pool.clone(), affinity: Default::default() },
    });
    Wanted {
        route: Route { release: named, tokenize, retrieve, rank: None, fallback: None, params },
        generations: generations.to_vec(),
    }
}

fn step(now: Option<&RouteFile>, wish: u8, warm: bool) -> (RouteFile, Move) {
    next(&name("home"), now, &wanted(wish, 500), &|_| warm)
}

fn releases(file: &RouteFile) -> (Option<&str>, Option<&str>) {
    let of = |route: &Option<Route>| route.as_ref().map(|it| it.release.name.clone());
    let leak = |text: Option<String>| text.map(|text| &*text.leak());
    (leak(of(&file.current)), leak(of(&file.candidate)))
}

#[test]
fn every_state_and_what_follows() {
    let (first, moved) = step(None, 1, true);
    assert_eq!((releases(&first), moved), ((None, Some("home@1")), Move::Announces), "never at once");
    let (still, moved) = step(Some(&first), 1, false);
    assert_eq!((&still, moved), (&first, Move::Stays));
    let (other, moved) = step(Some(&first), 2, true);
    assert_eq!((releases(&other), moved), ((None, Some("home@2")), Move::Announces), "warmth of another is none");
    let (serving, moved) = step(Some(&first), 1, true);
    assert_eq!((releases(&serving), moved), ((Some("home@1"), None), Move::Promotes));
    assert_eq!(step(Some(&serving), 1, false), (serving.clone(), Move::Stays));
    let (rolling, moved) = step(Some(&serving), 2, true);
    assert_eq!((releases(&rolling), moved), ((Some("home@1"), Some("home@2")), Move::Announces));
    assert_eq!(step(Some(&rolling), 2, false), (rolling.clone(), Move::Stays));
    let (third, moved) = step(Some(&rolling), 3, true);
    assert_eq!((releases(&third), moved), ((Some("home@1"), Some("home@3")), Move::Announces));
    assert!(!third.pools.contains_key(&name("retrieve-m-2")), "the one before it is named no more");
    let (back, moved) = step(Some(&rolling), 1, false);
    assert_eq!((&back, moved), (&serving, Move::Reverts));
    let (new, moved) = step(Some(&rolling), 2, true);
    assert_eq!((releases(&new), moved), ((Some("home@2"), None), Move::Promotes));
}

#[test]
fn parameters_alone_need_no_warming() {
    let (first, _) = step(None, 1, true);
    let (serving, _) = step(Some(&first), 1, true);
    let (changed, moved) = next(&name("home"), Some(&serving), &wanted(1, 900), &|_| false);
    assert_eq!(moved, Move::Stays);
    assert_eq!(changed.current.unwrap().params.deadline.0, 900);
}

#[test]
fn a_lost_route_is_what_answered_or_none() {
    let pipeline = name("home");
    let found = recovered(&pipeline, &wanted(1, 500), Some("home@1")).unwrap();
    assert_eq!(releases(&found), (Some("home@1"), None));
    assert_eq!(found.pools.len(), 2);
    assert_eq!(recovered(&pipeline, &wanted(1, 500), Some("home@0")), None);
    assert_eq!(recovered(&pipeline, &wanted(1, 500), None), None);
}

proptest! {
    #[test]
    fn traffic_moves_only_to_what_was_announced_and_is_warm(
        life in prop::collection::vec((0..4u8, any::<bool>()), 1..60),
    ) {
        let mut now: Option<RouteFile> = None;
        for (wish, warm) in life {
            let (after, moved) = step(now.as_ref(), wish, warm);
            let current = |file: Option<&RouteFile>| file.and_then(|it| it.current.clone()).map(|it| it.release.name);
            let (old, new) = (current(now.as_ref()), current(Some(&after)));
            let announced = now.as_ref().and_then(|it| it.candidate.clone()).map(|it| it.release.name);
            if old != new {
                prop_assert!(warm && moved == Move::Promotes);
                prop_assert_eq!(&new, &announced);
            }
            prop_assert!(old.is_none() || new.is_some(), "what answers never goes without another in its place");
            prop_assert_ne!(after.candidate.as_ref().map(|it| &it.release.name), new.as_ref());
            let named: Vec<&Name> = after.current.iter().chain(&after.candidate).flat_map(pools_of).collect();
            prop_assert!(named.iter().all(|pool| after.pools.contains_key(pool)));
            prop_assert!(after.pools.keys().all(|pool| named.contains(&pool)), "and no others");
            // The same wish again, with nothing warmer, changes nothing.
            prop_assert_eq!(step(Some(&after), wish, false).0, after.clone());
            now = Some(after);
        }
        // Going back to what answers ends where it began.
        if let Some(file) = now
            && let Some(current) = &file.current
        {
            let wish: u8 = current.release.name.trim_start_matches("home@").parse().unwrap();
            let (rolled, _) = step(Some(&file), (wish + 1) % 4, false);
            let (back, _) = step(Some(&rolled), wish, false);
            prop_assert_eq!(back.current, file.current.clone());
            prop_assert_eq!(back.candidate, None);
        }
    }
}
