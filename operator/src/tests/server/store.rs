//! Objects, their versions and their history; what each verb does to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    Reply, merge,
    request::{Asked, Target},
    status,
};

/// Everything that is kept.
#[derive(Default)]
pub struct Store {
    version: u64,
    objects: BTreeMap<Target, Value>,
    /// What each manager applied last.
    applied: BTreeMap<(Target, String), Value>,
    history: Vec<(u64, Target, Happened)>,
    /// Watches from before this version must list anew.
    oldest: u64,
    pub watchers: Vec<Watcher>,
    pub terminating: BTreeSet<String>,
    uids: u64,
}

/// An event, and the object before it.
struct Happened {
    before: Option<Value>,
    event: Value,
}

/// An open watch.
pub struct Watcher {
    asked: Asked,
    lines: mpsc::UnboundedSender<Value>,
}

impl Store {
    pub fn get(&self, target: &Target) -> Option<&Value> {
        self.objects.get(target)
    }

    pub fn names(&self, resource: &str) -> Vec<String> {
        self.objects.keys().filter(|target| target.resource == resource).map(|target| target.name.clone()).collect()
    }

    pub fn compact(&mut self) {
        self.version += 1;
        self.oldest = self.version;
        self.history.clear();
    }

    /// Answers a request.
    pub fn serve(&mut self, asked: &Asked) -> (u16, Reply) {
        let whole = |answer: Result<Value, (u16, Value)>| match answer {
            Ok(value) => (200, Reply::Whole(value)),
            Err((code, value)) => (code, Reply::Whole(value)),
        };
        let target = asked.target();
        match asked.verb() {
            "WATCH" => (200, Reply::Lines(self.watch(asked))),
            "LIST" => whole(Ok(self.list(asked))),
            "GET" => whole(self.find(&target).cloned().map(|object| shown(asked, object))),
            "POST" => whole(self.create(asked)),
            "PUT" => whole(self.replace(&target, asked)),
            "PATCH" => whole(self.patch(&target, asked)),
            "DELETE" => whole(self.remove(&target, asked)),
            other => panic!("{other} {}", asked.path),
        }
    }

    fn find(&self, target: &Target) -> Result<&Value, (u16, Value)> {
        let whole = Target { part: String::new(), ..target.clone() };
        self.objects.get(&whole).ok_or_else(|| {
            let mut answer = status(404, "NotFound", "not found");
            answer["details"]["kind"] = json!(target.resource.rsplit('/').next());
            (404, answer)
        })
    }

    fn list(&self, asked: &Asked) -> Value {
        json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": self.version.to_string()},
            "items": self.selected(asked)})
    }

    fn selected(&self, asked: &Asked) -> Vec<Value> {
        let objects = self.objects.iter().filter(|(target, object)| fits(asked, target, object));
        objects.map(|(_, object)| object.clone()).collect()
    }

    fn watch(&mut self, asked: &Asked) -> mpsc::UnboundedReceiver<Value> {
        let (lines, answer) = mpsc::unbounded_channel();
        let from: u64 = asked.query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
        if asked.query.get("sendInitialEvents").is_some_and(|send| send == "true") {
            for object in self.selected(asked) {
                let _ = lines.send(json!({"type": "ADDED", "object": object}));
            }
            let _ = lines.send(json!({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "X", "metadata": {
                "resourceVersion": self.version.to_string(), "annotations": {"k8s.io/initial-events-end": "true"}}}}));
        } else if from < self.oldest {
            let _ = lines.send(json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")}));
            return answer;
        } else {
            for (_, target, happened) in self.history.iter().filter(|(version, ..)| *version > from) {
                if let Some(event) = happened.seen(asked, target) {
                    let _ = lines.send(event);
                }
            }
        }
        self.watchers.push(Watcher { asked: asked.clone(), lines });
        answer
    }

    fn create(&mut self, asked: &Asked) -> Result<Value, (u16, Value)> {
        let name = asked.body["metadata"]["name"].as_str().unwrap_or("").to_owned();
        let target = Target { name, ..asked.target() };
        if self.objects.contains_key(&target) {
            return Err((409, status(409, "AlreadyExists", "already exists")));
        }
        self.check_namespace(&target)?;
        Ok(self.put(&target, asked.body.clone()))
    }

    fn check_namespace(&self, target: &Target) -> Result<(), (u16, Value)> {
        if self.terminating.contains(&target.namespace) {
            let mut answer =
                status(403, "Forbidden", "unable to create new content: the namespace is being terminated");
            answer["details"]["causes"] = json!([{"reason": "NamespaceTerminating", "message": "", "field": ""}]);
            return Err((403, answer));
        }
        Ok(())
    }

    fn replace(&mut self, target: &Target, asked: &Asked) -> Result<Value, (u16, Value)> {
        let live = self.find(target)?;
        if live["metadata"]["resourceVersion"] != asked.body["metadata"]["resourceVersion"] {
            return Err((409, status(409, "Conflict", "the object has been modified")));
        }
        Ok(self.put(target, asked.body.clone()))
    }

    fn patch(&mut self, target: &Target, asked: &Asked) -> Result<Value, (u16, Value)> {
        let whole = Target { part: String::new(), ..target.clone() };
        let applies = asked.content.contains("apply-patch");
        let live = match self.objects.get(&whole) {
            Some(live) => live.clone(),
            None if applies && target.part.is_empty() => {
                self.check_namespace(target)?;
                json!({})
            }
            None => return self.find(target).cloned(),
        };
        let mut wanted = live.clone();
        if applies {
            let manager = (whole.clone(), asked.query.get("fieldManager").cloned().unwrap_or_default());
            let before = self.applied.get(&manager).cloned().unwrap_or(json!({}));
            wanted = merge::apply(&live, &before, &asked.body);
            self.applied.insert(manager, asked.body.clone());
        } else if asked.content.contains("json-patch") {
            merge::operations(&mut wanted, &asked.body);
        } else {
            merge::patch(&mut wanted, &asked.body);
        }
        // A status is written through its own path only, and nothing else through it.
        if live != json!({}) {
            if target.part == "status" {
                let status = wanted["status"].clone();
                wanted = live;
                wanted["status"] = status;
            } else if has_status(&whole) {
                match live.get("status") {
                    Some(status) => wanted["status"] = status.clone(),
                    None => drop(wanted.as_object_mut().unwrap().shift_remove("status")),
                }
            }
        }
        Ok(self.put(&whole, wanted))
    }

    fn remove(&mut self, target: &Target, asked: &Asked) -> Result<Value, (u16, Value)> {
        let live = self.find(target)?;
        let uid = &asked.body["preconditions"]["uid"];
        if !uid.is_null() && *uid != live["metadata"]["uid"] {
            return Err((409, status(409, "Conflict", "the UID in the precondition does not match")));
        }
        self.delete(target);
        Ok(json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "metadata": {}}))
    }

    /// Puts an object there; what it had from us before stays its own.
    pub fn put(&mut self, target: &Target, mut object: Value) -> Value {
        let live = self.objects.get(target).cloned();
        let meta = |object: &Value, name: &str| object["metadata"][name].clone();
        object["metadata"]["namespace"] = json!(target.namespace);
        object["metadata"]["name"] = json!(target.name);
        match &live {
            Some(live) => {
                for name in ["uid", "creationTimestamp", "resourceVersion", "generation"] {
                    object["metadata"][name] = meta(live, name);
                }
                if object == *live {
                    return object;
                }
                if object["spec"] != live["spec"] {
                    object["metadata"]["generation"] = json!(meta(live, "generation").as_i64().unwrap_or(0) + 1);
                }
            }
            None => {
                self.uids += 1;
                object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
                object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                object["metadata"]["generation"] = json!(1);
            }
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(target.clone(), object.clone());
        self.tell(target, if live.is_some() { "MODIFIED" } else { "ADDED" }, live, object.clone());
        object
    }

    pub fn delete(&mut self, target: &Target) {
        let Some(mut object) = self.objects.remove(target) else { return };
        self.applied.retain(|(of, _), _| of != target);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(target, "DELETED", None, object);
    }

    fn tell(&mut self, target: &Target, kind: &str, before: Option<Value>, object: Value) {
        let happened = Happened { before, event: json!({"type": kind, "object": object}) };
        self.watchers.retain(|watcher| {
            happened.seen(&watcher.asked, target).is_none_or(|event| watcher.lines.send(event).is_ok())
        });
        self.history.push((self.version, target.clone(), happened));
    }
}

impl Happened {
    /// What a watch is told: of an object whose labels no longer are those it asked for, that it is gone.
    fn seen(&self, asked: &Asked, target: &Target) -> Option<Value> {
        let object = &self.event["object"];
        let fitted = self.before.as_ref().map(|before| fits(asked, target, before));
        match (fits(asked, target, object), fitted) {
            (true, Some(false)) => Some(json!({"type": "ADDED", "object": object})),
            (true, _) => Some(self.event.clone()),
            (false, Some(true)) => Some(json!({"type": "DELETED", "object": object})),
            (false, _) => None,
        }
    }
}

fn fits(asked: &Asked, target: &Target, object: &Value) -> bool {
    let wanted = asked.target();
    wanted.resource == target.resource
        && (wanted.namespace.is_empty() || wanted.namespace == target.namespace)
        && asked.selects(object)
        && field_fits(asked, target)
}

/// The one field that is selected by: the name.
fn field_fits(asked: &Asked, target: &Target) -> bool {
    let selector = asked.query.get("fieldSelector").and_then(|text| text.strip_prefix("metadata.name="));
    selector.is_none_or(|name| name == target.name)
}

fn has_status(target: &Target) -> bool {
    !target.resource.ends_with("/configmaps") && !target.resource.ends_with("/leases")
}

fn shown(asked: &Asked, object: Value) -> Value {
    if asked.metadata_only {
        return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"]});
    }
    object
}
