//! One kind of object in one namespace, as a stream that never ends.
//!
//! In: an API and a label selector. Out: everything there is, then each change; after a gap, everything anew. Errors are
//! told and waited out, longer each time, up to half a minute with jitter.

use std::{fmt::Debug, time::Duration};

use futures_util::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::{
    Api, Resource,
    runtime::{
        utils::Backoff,
        watcher::{self, DefaultBackoff, Event, InitialListStrategy, watcher},
    },
};
use serde::de::DeserializeOwned;

/// Seconds after which a watch ends and goes on from where it was; a connection that broke in silence is noticed then.
const WATCH_SECONDS: u32 = 55;

/// What a stream tells.
pub(crate) enum Seen<K> {
    /// Everything there is; what is not among it is gone.
    All(Vec<K>),
    /// An object is there or has changed.
    Set(K),
    /// An object is gone.
    Gone(K),
    /// The API server could not be asked; the stream goes on by itself.
    Lost(watcher::Error),
}

/// Watches the objects with these labels.
pub(crate) fn watch<K>(api: Api<K>, labels: &str) -> impl Stream<Item = Seen<K>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().labels(labels).streaming_lists().timeout(WATCH_SECONDS);
    let events = watcher(api.clone(), config.clone()).boxed();
    let watch = Watch { api, config, events, listed: Vec::new(), backoff: DefaultBackoff::default(), wait: None };
    stream::unfold(watch, |mut watch| async move { Some((watch.next().await?, watch)) })
}

struct Watch<K> {
    api: Api<K>,
    config: watcher::Config,
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    /// What a list has told so far.
    listed: Vec<K>,
    backoff: DefaultBackoff,
    wait: Option<Duration>,
}

impl<K> Watch<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    async fn next(&mut self) -> Option<Seen<K>> {
        if let Some(wait) = self.wait.take() {
            tokio::time::sleep(wait).await;
        }
        loop {
            let seen = match self.events.next().await? {
                Ok(Event::Init) => {
                    self.listed.clear();
                    continue;
                }
                Ok(Event::InitApply(object)) => {
                    self.listed.push(object);
                    continue;
                }
                Ok(Event::InitDone) => Seen::All(std::mem::take(&mut self.listed)),
                Ok(Event::Apply(object)) => Seen::Set(object),
                Ok(Event::Delete(object)) => Seen::Gone(object),
                Err(error) => {
                    self.wait = self.backoff.next();
                    match refused(&error) {
                        // The watcher would ask for the same lost version for ever.
                        Some(410) => self.begin_anew(),
                        // An older server may list by request only, and says so in this way.
                        Some(400 | 422) => {
                            self.config.initial_list_strategy = InitialListStrategy::ListWatch;
                            self.begin_anew();
                        }
                        _ => {}
                    }
                    return Some(Seen::Lost(error));
                }
            };
            // Only what was told counts: a list that begins and fails each time is not to be begun more often.
            self.backoff.reset();
            return Some(seen);
        }
    }

    fn begin_anew(&mut self) {
        self.events = watcher(self.api.clone(), self.config.clone()).boxed();
    }
}

/// The status by which the start of a watch was refused.
fn refused(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}
