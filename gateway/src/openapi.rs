//! The OpenAPI 3.1 document, made from the types that are read and written.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    edge::{ID_HEADER, TRACE_HEADER},
    parse::DEADLINE_HEADER,
    wire::{Liveness, Problem, Readiness, RecommendBody, RecommendReply},
};

/// What can go wrong with a request for recommendations, by status.
const PROBLEMS: [(&str, &str); 9] = [
    ("400", "A field is missing, unknown or out of its range, or the body is not JSON."),
    ("404", "There is no such pipeline."),
    ("405", "The path takes another method."),
    ("413", "The body is too large."),
    ("415", "The body is of a media type that can never be read."),
    ("429", "The pipeline works on as many requests as it may; try again later."),
    ("500", "Something is wrong on our side."),
    ("503", "A queue is full, no worker is there, or a part is starting or stopping; try again later."),
    ("504", "The time of the request ran out."),
];

/// The OpenAPI document of every route.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut writes = settings.clone().for_serialize().into_generator();
    let mut reads = settings.into_generator();
    let request = reference::<RecommendBody>(&mut reads);
    let mut answers = responses("Recommendations, best first.", &reference::<RecommendReply<'_>>(&mut writes));
    let problem = reference::<Problem>(&mut writes);
    for (status, text) in PROBLEMS {
        answers.insert(status.to_owned(), response(text, "application/problem+json", &problem));
    }
    let mut ready = responses("Requests can be sent.", &reference::<Readiness>(&mut writes));
    let readiness = reference::<Readiness>(&mut writes);
    ready.insert(
        "503".to_owned(),
        response(
            "Some stages are not ready, or the pipelines are not all known yet, or the process is stopping.",
            "application/json",
            &readiness,
        ),
    );
    let live = responses("The process answers.", &reference::<Liveness>(&mut writes));
    let text = json!({"type": "string"});
    let mut metrics = Map::new();
    metrics.insert("200".to_owned(), response("OpenMetrics text.", recmesh_telemetry::CONTENT_TYPE, &text));
    let own = responses("This document.", &json!({"type": "object"}));
    let mut schemas = reads.take_definitions(true);
    schemas.append(&mut writes.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "RecMesh",
            "summary": "Recommendations from declared pipelines.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/recommend": {"post": {
                "operationId": "recommend",
                "summary": "Recommends items for a user, a history or both.",
                "parameters": headers(),
                "requestBody": {"required": true, "content": {"application/json": {"schema": request}}},
                "responses": answers,
            }},
            "/livez": {"get": {"operationId": "live", "summary": "Is the process up?", "responses": live}},
            "/readyz": {"get": {"operationId": "ready", "summary": "Can requests be sent?", "responses": ready}},
            "/metrics": {"get": {"operationId": "metrics", "summary": "Metrics for Prometheus; in a cluster on the admin port.", "responses": metrics}},
            "/openapi.json": {"get": {"operationId": "openapi", "summary": "This document.", "responses": own}},
        },
        "components": {"schemas": schemas},
    })
}

fn reference<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

fn responses(description: &str, schema: &Value) -> Map<String, Value> {
    [("200".to_owned(), response(description, "application/json", schema))].into_iter().collect()
}

fn response(description: &str, content_type: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {content_type: {"schema": schema}}})
}

fn headers() -> Value {
    let header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "required": false, "description": description, "schema": schema});
    json!([
        header(
            DEADLINE_HEADER,
            "Time for the request in milliseconds; the smallest of this, `deadlineMs` and the pipeline's holds.",
            json!({"type": "integer", "minimum": 0}),
        ),
        header(
            ID_HEADER,
            "Kept for logs and sent back; made where absent.",
            json!({"type": "string", "maxLength": 128})
        ),
        header(TRACE_HEADER, "W3C trace context; kept for logs and sent back.", json!({"type": "string"})),
    ])
}
