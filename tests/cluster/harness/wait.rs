//! Waiting by watch. In: an API, a selection, a predicate over what it holds, a deadline. Out: what it held when the
//! predicate first was true; at the deadline, what it holds, the namespace's events and the ends of our logs.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};

use super::Object;

/// What a watch holds, by name.
pub type Held = BTreeMap<String, Object>;

/// Follows a selection of objects until `met` is true of them; `Err` is what they were at the deadline.
pub async fn until(
    api: Api<Object>,
    selection: watcher::Config,
    deadline: Duration,
    mut met: impl FnMut(&Held) -> bool,
) -> Result<Held, Held> {
    let mut held = Held::new();
    let mut coming = Held::new();
    let followed = async {
        let mut events = watcher::watcher(api, selection).default_backoff().boxed();
        loop {
            // The watcher starts again after an error, by itself.
            let event = match events.try_next().await {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(_) => continue,
            };
            match event {
                Event::Init => {
                    coming.clear();
                    continue;
                }
                Event::InitApply(object) => {
                    coming.insert(name(&object), object);
                    continue;
                }
                Event::InitDone => held = std::mem::take(&mut coming),
                Event::Apply(object) => {
                    held.insert(name(&object), object);
                }
                Event::Delete(object) => {
                    held.remove(&name(&object));
                }
            }
            if met(&held) {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(deadline, followed).await.is_ok();
    if in_time { Ok(held) } else { Err(held) }
}

fn name(object: &Object) -> String {
    object.metadata.name.clone().unwrap_or_default()
}
