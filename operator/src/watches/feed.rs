//! The watches themselves: each a task that fills one cache from one namespace and tells what has changed.
//!
//! In: an API server. Out: caches, wishes to look. A broken connection, an expired version or a kind that is not there
//! yet is tried again with a growing wait; the cache keeps what it knew. Nothing here decides.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use recmesh_telemetry::OperatorMetrics;
use tokio::task::JoinSet;

use super::{
    Caches,
    declared::{Declared, subject},
    made::{Made, slim},
    unreadable::Unreadable,
};
use crate::{OperatorConfig, cache::Cache, controllers::triggers::Triggers, names};

/// Seconds after which the API server ends a watch to have it opened anew; a connection that died silently is noticed
/// no later.
const WATCH_SECONDS: u32 = 120;
/// The label with the Service that an EndpointSlice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What the watches share.
#[derive(Clone)]
pub struct Watches {
    /// Reads only.
    pub client: Client,
    /// What is filled.
    pub caches: Caches,
    /// What cannot be.
    pub unreadable: Unreadable,
    /// Who hears of changes.
    pub triggers: Arc<Triggers>,
    /// Where errors are counted.
    pub metrics: OperatorMetrics,
    /// Told when the gateways' addresses change.
    pub gateways: Arc<tokio::sync::Notify>,
}

impl Watches {
    /// Starts every watch; they run until the set is dropped.
    pub fn start(&self, config: &OperatorConfig, tasks: &mut JoinSet<()>) {
        let all = [String::new()];
        let namespaces = if config.watch_namespaces.is_empty() { &all[..] } else { &config.watch_namespaces };
        for namespace in namespaces {
            for kind in recmesh_crds::Kind::ALL {
                super::declared::with_kind!(kind, K => tasks.spawn(self.clone().declared::<K>(namespace.clone())));
            }
            tasks.spawn(self.clone().made::<k8s_openapi::api::batch::v1::Job>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::core::v1::Pod>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::apps::v1::Deployment>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::apps::v1::StatefulSet>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::core::v1::Service>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::core::v1::ConfigMap>(namespace.clone()));
            tasks.spawn(self.clone().made::<k8s_openapi::api::policy::v1::PodDisruptionBudget>(namespace.clone()));
            tasks.spawn(
                self.clone().made::<k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler>(namespace.clone()),
            );
        }
        if let Some(gateway) = &config.gateway {
            tasks.spawn(self.clone().slices(gateway.namespace.clone(), gateway.service.clone()));
        }
    }

    /// Watches resources of one kind.
    async fn declared<K: Declared>(self, namespace: String) {
        let guarded: Api<DeserializeGuard<K>> = api(&self.client, &namespace);
        let cache = K::cache(&self.caches).clone();
        let events = watcher(guarded, settings()).default_backoff();
        let mut events = std::pin::pin!(self.heard(events, K::KIND.as_str()));
        while let Some(event) = events.next().await {
            if let Some(event) = self.readable(event, &cache) {
                for change in cache.hear(&namespace, event) {
                    self.triggers.resource(&change, false);
                }
            }
        }
    }

    /// Watches objects of ours of one kind.
    async fn made<K: Made>(self, namespace: String) {
        let cache = K::cache(&self.caches).clone();
        let settings = settings().labels(&format!("{}={}", names::MANAGED_BY, names::OPERATOR));
        let events = watcher(api::<K>(&self.client, &namespace), settings).default_backoff().modify(K::slim);
        let mut events = std::pin::pin!(self.heard(events, kind_of::<K>()));
        while let Some(event) = events.next().await {
            for change in cache.hear(&namespace, event) {
                self.triggers.child(&change, false);
            }
        }
    }

    /// Watches where the gateways are.
    async fn slices(self, namespace: String, service: String) {
        let settings = settings().labels(&format!("{SERVICE_NAME}={service}"));
        let events = watcher(Api::namespaced(self.client.clone(), &namespace), settings).default_backoff();
        let mut events = std::pin::pin!(self.heard(events, "EndpointSlice"));
        let cache = self.caches.slices.clone();
        while let Some(event) = events.next().await {
            let listed = matches!(event, Event::InitDone);
            if !cache.hear(&namespace, event).is_empty() || listed {
                self.gateways.notify_one();
            }
        }
    }

    /// Counts and logs errors; the stream goes on after them.
    fn heard<K, S>(&self, events: S, kind: &'static str) -> impl Stream<Item = Event<K>> + use<K, S>
    where
        S: Stream<Item = watcher::Result<Event<K>>>,
    {
        let metrics = self.metrics.clone();
        events.filter_map(move |event| {
            let event = match event {
                Ok(event) => Some(event),
                Err(error) => {
                    metrics.watch_failed(kind);
                    tracing::warn!(kind, %error, "a watch is tried again");
                    None
                }
            };
            std::future::ready(event)
        })
    }

    /// Takes what can be read from an event, and notes what cannot.
    fn readable<K: Declared>(&self, event: Event<DeserializeGuard<K>>, cache: &Cache<K>) -> Option<Event<K>> {
        match event {
            Event::Init => Some(Event::Init),
            Event::InitDone => Some(Event::InitDone),
            Event::InitApply(guard) => self.open(guard, cache).map(Event::InitApply),
            Event::Apply(guard) => self.open(guard, cache).map(Event::Apply),
            Event::Delete(guard) => {
                let who = subject(K::KIND, guard.meta());
                self.unreadable.clear(&who);
                let object = guard.0.ok().or_else(|| cache.get(&who.namespace, &who.name).map(|last| (*last).clone()));
                object.map(Event::Delete)
            }
        }
    }

    /// The object, or the last version of it that could be read.
    fn open<K: Declared>(&self, guard: DeserializeGuard<K>, cache: &Cache<K>) -> Option<K> {
        let who = subject(K::KIND, guard.meta());
        match guard.0 {
            Ok(mut object) => {
                slim(object.meta_mut());
                if self.unreadable.clear(&who) {
                    self.triggers.look(who);
                }
                Some(object)
            }
            Err(broken) => {
                if self.unreadable.put(who.clone(), &broken) {
                    self.metrics.watch_failed(K::KIND.as_str());
                    tracing::warn!(kind = %K::KIND, namespace = who.namespace, name = who.name, error = broken.error,
                        "a resource cannot be read");
                    self.triggers.look(who.clone());
                }
                let last = cache.get(&who.namespace, &who.name)?;
                (last.uid() == broken.metadata.uid).then(|| (*last).clone())
            }
        }
    }
}

fn settings() -> watcher::Config {
    watcher::Config::default().streaming_lists().timeout(WATCH_SECONDS)
}

fn api<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    if namespace.is_empty() { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) }
}

/// A kind's name for logs and metrics.
fn kind_of<K: Made>() -> &'static str {
    std::any::type_name::<K>().rsplit("::").next().unwrap_or("object")
}
