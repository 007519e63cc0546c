//! Discovery against an API server and pools that do as they are told. Time is paused: waiting costs nothing.

mod api;
mod outages;
mod pools;
mod routes;
mod serving;
mod slices;
mod wire;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::Request,
};
use recmesh_contract::{
    Millis, Name, Release,
    config::{Affinity, PoolPlace, Route, RouteFile, RouteParams, RoutesReport},
};
use recmesh_telemetry::Telemetry;
use serde_json::{Value, json};
use tower::ServiceExt;

use self::{api::Api, pools::Fakes};
use super::{Scope, begin, pools::Connect};
use crate::{Cluster, Limits, Ports, Routes, ports, table::Table};

/// A gateway over an API server and pools that do as they are told.
struct World {
    api: Api,
    fakes: Fakes,
    telemetry: Telemetry,
    routes: Routes,
    http: Router,
    admin: Router,
}

impl World {
    /// Watches these namespaces, all without one.
    fn of(namespaces: &[&str], api: Api) -> Self {
        let fakes = Fakes::default();
        let connect = fakes.connect();
        Self::over(namespaces, api, fakes, Telemetry::new(), connect)
    }

    fn over(namespaces: &[&str], api: Api, fakes: Fakes, telemetry: Telemetry, connect: Connect) -> Self {
        let namespaces = namespaces.iter().map(|&namespace| namespace.to_owned()).collect();
        let scope = Scope { namespaces, default_namespace: "shop".to_owned() };
        let (routes, work) = begin(api.client(), scope, &telemetry, connect);
        tokio::spawn(work);
        let cluster = Cluster { routes: routes.clone(), telemetry: telemetry.clone(), limits: Limits::default() };
        let Ports { http, admin } = ports(cluster);
        Self { api, fakes, telemetry, routes, http, admin }
    }

    fn new() -> Self {
        Self::of(&[], Api::default())
    }

    /// Waits until the table is as wanted.
    async fn until(&self, wanted: impl Fn(&Table) -> bool) {
        self.routes.clone().until(wanted).await;
    }

    /// Waits until the pipelines are these, as `<full name>=<release that answers>`, `-` for none.
    async fn until_serves(&self, wanted: &[&str]) {
        self.until(|table| table.complete.is_some() && shown(table) == wanted).await;
    }

    async fn post(&self, body: &Value) -> (u16, Value) {
        let request = Request::post("/v1/recommend").body(Body::from(body.to_string())).unwrap();
        ask(&self.http, request).await
    }

    /// Who answered: the release and the first item, which bears its pool's name.
    async fn answerer(&self, pipeline: &str) -> (String, String) {
        let (status, reply) = self.post(&json!({"user": "u", "k": 1, "pipeline": pipeline})).await;
        assert_eq!(status, 200, "{reply}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&reply["release"]["name"]), text(&reply["items"][0]["id"]))
    }

    async fn admin(&self, path: &str) -> (u16, Value) {
        ask(&self.admin, Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn report(&self) -> RoutesReport {
        let (status, report) = self.admin("/routes").await;
        assert_eq!(status, 200);
        serde_json::from_value(report).unwrap()
    }

    fn counted(&self, what: &str) -> u64 {
        let start = format!("recmesh_gateway_discovery_errors_total{{what=\"{what}\"}} ");
        let text = self.telemetry.encode().unwrap();
        text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
    }
}

async fn ask(router: &Router, request: Request<Body>) -> (u16, Value) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

fn shown(table: &Table) -> Vec<String> {
    let release = |served: &Arc<crate::route::Served>| served.release.name.clone();
    let show = |(name, pipeline): (&String, &crate::table::Pipeline)| {
        format!("{name}={}", pipeline.current.as_ref().map_or("-".to_owned(), release))
    };
    table.pipelines.iter().map(show).collect()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Version `version` of a pipeline: its pools are `tok-<version>`, `ret-<version>` and `pop`.
fn route(pipeline: &str, version: &str) -> Route {
    let mut release = Release::new(pipeline, BTreeMap::new(), version.to_owned(), String::new());
    release.name = format!("{pipeline}@{version}");
    Route {
        release,
        tokenize: name(&format!("tok-{version}")),
        retrieve: name(&format!("ret-{version}")),
        rank: None,
        fallback: None,
        params: RouteParams { deadline: Millis(500), ..RouteParams::default() },
    }
}

fn file(pipeline: &str, current: Option<Route>, candidate: Option<Route>) -> RouteFile {
    let routes = current.iter().chain(&candidate);
    let names = routes.flat_map(|route| {
        let others = route.rank.iter().chain(&route.fallback);
        [&route.tokenize, &route.retrieve].into_iter().chain(others).cloned().collect::<Vec<_>>()
    });
    // Each pool's Service has the pool's name.
    let pools = names.map(|pool| (pool.clone(), PoolPlace { service: pool, affinity: Affinity::None })).collect();
    RouteFile { pipeline: name(pipeline), current, candidate, pools }
}

/// A pipeline that serves one version.
fn serves(pipeline: &str, version: &str) -> RouteFile {
    file(pipeline, Some(route(pipeline, version)), None)
}
