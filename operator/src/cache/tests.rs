//! Watches, answers and lists in every order that a cluster gives them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ObjectMeta;

use super::*;

fn object(namespace: &str, name: &str, version: u32) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(format!("uid of {name}")),
            resource_version: Some(version.to_string()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

fn versions(cache: &Cache<ConfigMap>) -> Vec<String> {
    let mut all: Vec<String> = cache
        .store()
        .state()
        .iter()
        .map(|o| format!("{}@{}", o.metadata.name.as_ref().unwrap(), o.metadata.resource_version.as_ref().unwrap()))
        .collect();
    all.sort();
    all
}

/// A cache that knows `a` at version 5.
fn listed() -> Cache<ConfigMap> {
    let cache = Cache::new(&[]);
    for event in [Event::Init, Event::InitApply(object("shop", "a", 5)), Event::InitDone] {
        assert!(cache.hear("", event).is_empty(), "contents are no changes");
    }
    assert!(cache.is_complete());
    cache
}

#[test]
fn a_cache_is_complete_when_every_namespace_has_listed() {
    let cache = Cache::new(&["shop".to_owned(), "media".to_owned()]);
    cache.hear("shop", Event::Init);
    cache.hear("shop", Event::InitApply(object("shop", "a", 5)));
    cache.hear("shop", Event::InitDone);
    assert!(!cache.is_complete());
    cache.hear("media", Event::Init);
    cache.hear("media", Event::InitApply(object("media", "b", 6)));
    cache.hear("media", Event::InitDone);
    assert!(cache.is_complete());
    assert_eq!(versions(&cache), ["a@5", "b@6"]);
}

#[test]
fn a_new_list_tells_what_was_deleted_meanwhile_in_its_namespace_only() {
    let cache = Cache::new(&["shop".to_owned(), "media".to_owned()]);
    for (namespace, name) in [("shop", "a"), ("media", "b")] {
        cache.hear(namespace, Event::Init);
        cache.hear(namespace, Event::InitApply(object(namespace, name, 5)));
        cache.hear(namespace, Event::InitDone);
    }
    cache.hear("shop", Event::Init);
    let changes = cache.hear("shop", Event::InitApply(object("shop", "c", 9)));
    assert!(changes.len() == 1 && changes[0].old.is_none());
    let changes = cache.hear("shop", Event::InitDone);
    assert!(changes.len() == 1 && changes[0].new.is_none());
    assert_eq!(versions(&cache), ["b@5", "c@9"]);
}

#[test]
fn a_write_is_known_before_the_watch_tells_it_and_told_once() {
    let cache = listed();
    let change = cache.put(object("shop", "a", 7)).unwrap();
    assert_eq!(change.old.unwrap().metadata.resource_version.as_deref(), Some("5"));
    assert_eq!(versions(&cache), ["a@7"]);
    assert!(cache.hear("", Event::Apply(object("shop", "a", 7))).is_empty());
    // What was on its way before the write does not bring the old state back.
    assert!(cache.hear("", Event::Apply(object("shop", "a", 6))).is_empty());
    assert_eq!(versions(&cache), ["a@7"]);
}

#[test]
fn an_answer_that_comes_after_the_deletion_raises_no_ghost() {
    let cache = listed();
    cache.hear("", Event::Delete(object("shop", "a", 8)));
    assert!(cache.put(object("shop", "a", 7)).is_none());
    assert!(versions(&cache).is_empty());
}

#[test]
fn an_object_of_the_same_name_is_another_object() {
    let cache = listed();
    let mut again = object("shop", "a", 4);
    again.metadata.uid = Some("another".to_owned());
    assert_eq!(cache.hear("", Event::Apply(again)).len(), 1);
}

#[tokio::test]
async fn readers_wait_for_the_contents() {
    let cache: Cache<ConfigMap> = Cache::new(&[]);
    cache.hear("", Event::Init);
    cache.hear("", Event::InitApply(object("shop", "a", 1)));
    assert!(!cache.is_complete());
    cache.hear("", Event::InitDone);
    cache.complete().await.unwrap();
    assert_eq!(versions(&cache), ["a@1"]);
}

#[test]
fn what_is_written_while_a_list_is_told_stays() {
    let cache = listed();
    cache.hear("", Event::Init);
    cache.put(object("shop", "b", 9)).unwrap();
    cache.put(object("shop", "a", 10)).unwrap();
    cache.hear("", Event::InitApply(object("shop", "a", 5)));
    assert!(cache.hear("", Event::InitDone).is_empty());
    assert_eq!(versions(&cache), ["a@10", "b@9"]);
}

#[test]
fn a_written_object_that_is_gone_from_the_next_list_is_gone() {
    let cache = listed();
    cache.put(object("shop", "b", 9)).unwrap();
    cache.hear("", Event::Init);
    cache.hear("", Event::InitApply(object("shop", "a", 5)));
    assert_eq!(cache.hear("", Event::InitDone).len(), 1);
    assert_eq!(versions(&cache), ["a@5"]);
}

#[test]
fn a_restored_backup_is_believed() {
    let cache = listed();
    cache.hear("", Event::Init);
    assert_eq!(cache.hear("", Event::InitApply(object("shop", "a", 3))).len(), 1);
    cache.hear("", Event::InitDone);
    assert_eq!(cache.hear("", Event::Apply(object("shop", "a", 4))).len(), 1);
    assert_eq!(versions(&cache), ["a@4"]);
}
