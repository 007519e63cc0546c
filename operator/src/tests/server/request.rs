//! What a request asks for: its verb, its object, its options.

use std::collections::BTreeMap;

use axum::http::{
    header::{ACCEPT, CONTENT_TYPE},
    request::Parts,
};
use serde_json::Value;

/// A request, read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The HTTP method.
    pub method: String,
    /// The path without its query.
    pub path: String,
    /// The query.
    pub query: BTreeMap<String, String>,
    /// What kind of patch.
    pub content: String,
    /// Whether only metadata is wanted.
    pub metadata_only: bool,
    /// The body; null without one.
    pub body: Value,
}

/// Which objects a path means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// `apis/batch/v1/jobs`.
    pub resource: String,
    /// Empty for all.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
    /// `status` or nothing.
    pub part: String,
}

impl Asked {
    pub(super) fn new(parts: &Parts, body: &[u8]) -> Self {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let query = parts.uri.query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
        Self {
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: query.map(|(key, value)| (decoded(key), decoded(value))).collect(),
            content: header(CONTENT_TYPE),
            metadata_only: header(ACCEPT).contains("PartialObjectMetadata"),
            body: serde_json::from_slice(body).unwrap_or_default(),
        }
    }

    /// The HTTP method, or `WATCH` or `LIST`.
    pub fn verb(&self) -> &str {
        match self.method.as_str() {
            "GET" if self.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") => "WATCH",
            "GET" if self.target().name.is_empty() => "LIST",
            method => method,
        }
    }

    /// Whether an object matches the label selector.
    pub(super) fn selects(&self, object: &Value) -> bool {
        let selector = self.query.get("labelSelector").map_or("", String::as_str);
        selector.split(',').filter_map(|part| part.split_once('=')).all(|(key, value)| {
            object["metadata"]["labels"].get(key).and_then(Value::as_str) == Some(value.trim_start_matches('='))
        })
    }

    pub(super) fn target(&self) -> Target {
        Target::new(&self.path)
    }
}

impl Target {
    fn new(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').split('/');
        let root = parts.next().unwrap_or("");
        let group: Vec<&str> = parts.by_ref().take(if root == "api" { 1 } else { 2 }).collect();
        let mut rest: Vec<&str> = parts.collect();
        let mut namespace = "";
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            namespace = rest[1];
            rest.drain(..2);
        }
        let at = |index: usize| rest.get(index).copied().unwrap_or("").to_owned();
        Self {
            resource: format!("{root}/{}/{}", group.join("/"), at(0)),
            namespace: namespace.to_owned(),
            name: at(1),
            part: at(2),
        }
    }

    /// `apis/batch/v1/jobs/shop/x`, or without a namespace `apis/…/customresourcedefinitions//x`.
    pub fn of_object(path: &str) -> Self {
        let mut parts: Vec<&str> = path.split('/').collect();
        let (name, namespace) = (parts.pop().unwrap(), parts.pop().unwrap());
        Self { resource: parts.join("/"), namespace: namespace.to_owned(), name: name.to_owned(), part: String::new() }
    }
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, escaped) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
