//! Manifests in, plans, jobs and routes out, as snapshots. `INSTA_UPDATE=always` rewrites them.

use std::{collections::BTreeMap, fs, path::Path};

use recmesh_contract::{ArtifactId, Name, Version, config::JobWork};
use recmesh_crds::{Kind, parse};
use serde_json::{Value, json};

use crate::{JobKey, Plan, PlanError, Valid, job_config, plan, serving, validate};

const SHOP: &str = include_str!("tests/shop.yaml");

fn valid(text: &str) -> Valid {
    parse(&[("a.yaml".to_owned(), text.to_owned())]).and_then(validate).unwrap()
}

/// Versions that tell by whom they were made.
fn made(plan: &Plan) -> BTreeMap<JobKey, ArtifactId> {
    let version = |key: &JobKey| Version::of([key.to_string().as_bytes()]);
    let artifact = |job: &crate::PlannedJob| ArtifactId {
        kind: job.makes,
        name: job.artifact.clone(),
        version: version(&job.key),
    };
    plan.jobs.iter().map(|job| (job.key.clone(), artifact(job))).collect()
}

fn digest(tokenizer: &ArtifactId) -> String {
    format!("sha256:{}", tokenizer.version)
}

/// Without parameters: a default that changes elsewhere is no change of the plan.
fn brief(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let told = fields.iter().filter(|(name, _)| !["params", "algorithm", "ranking"].contains(&name.as_str()));
            told.map(|(name, value)| (name.clone(), brief(value))).collect()
        }
        Value::Array(items) => items.iter().map(brief).collect(),
        other => other.clone(),
    }
}

/// Parameters reach the job as they were declared.
#[test]
fn parameters_are_handed_on() {
    let valid = valid(SHOP);
    let plan = plan(&valid);
    let mut handed = 0;
    for job in &plan.jobs {
        let name = &job.key.name;
        match job_config(&valid, &job.key, &made(&plan), &|_| "/data".into()).unwrap().work {
            JobWork::Dataset { params, .. } => assert_eq!(params, valid.datasets[name]),
            JobWork::Tokenizer { algorithm, .. } => assert_eq!(algorithm, valid.tokenizers[name].algorithm),
            JobWork::Count { algorithm, .. } => assert_eq!(algorithm, valid.retrieval_models[name].algorithm),
            JobWork::TrainRetrieval { algorithm, params, quantization, .. } => {
                assert_eq!(quantization, valid.retrieval_models[&job.artifact].quantization);
                assert_eq!(algorithm, valid.retrieval_models[&job.artifact].algorithm);
                assert_eq!(params, valid.training_jobs[name].params);
            }
            JobWork::TrainRanking { ranking, params, quantization, .. } => {
                assert_eq!(quantization, valid.ranking_models[&job.artifact].quantization);
                assert_eq!(ranking, valid.ranking_models[&job.artifact].params);
                assert_eq!(params, valid.training_jobs[name].params);
            }
            JobWork::Evaluate { params, .. } => assert_eq!(params, valid.evaluation_jobs[name].params),
        }
        handed += 1;
    }
    assert_eq!(handed, 9);
    let (pools, table) = serving(&valid, &made(&plan), &digest).unwrap();
    assert_eq!(table.routes["home"].params, valid.pipelines[&Name::new("home").unwrap()].route);
    let engines: Vec<u32> = pools.iter().map(|pool| pool.params.engines).collect();
    assert_eq!(engines, [1, 2, 1, 1, 1, 1], "the decoder's pool has the two engines that it asks for");
}

/// The order is part of the result; `needs` too.
#[test]
fn the_plan_of_a_shop() {
    insta::assert_yaml_snapshot!("shop-plan", plan(&valid(SHOP)));
}

#[test]
fn what_each_job_of_a_shop_is_told() {
    let valid = valid(SHOP);
    let plan = plan(&valid);
    let made = made(&plan);
    let told: Vec<Value> = plan
        .jobs
        .iter()
        .map(|job| {
            let config = job_config(&valid, &job.key, &made, &|dataset| Path::new("/data").join(dataset)).unwrap();
            assert_eq!(config.name, job.artifact, "a job's configuration is named after what it makes");
            json!({"job": job.key.to_string(), "is told": brief(&serde_json::to_value(config).unwrap())})
        })
        .collect();
    insta::assert_yaml_snapshot!("shop-jobs", told);
}

#[test]
fn what_serves_a_shop() {
    let valid = valid(SHOP);
    let (pools, table) = serving(&valid, &made(&plan(&valid)), &digest).unwrap();
    insta::assert_yaml_snapshot!("shop-serving", brief(&json!({"pools": pools, "table": table})));
}

/// A job is only ever told of versions that were made: none is guessed.
#[test]
fn nothing_is_told_before_it_is_made() {
    let valid = valid(SHOP);
    let plan = plan(&valid);
    let all = made(&plan);
    let folder = |_: &str| "/data".into();
    for job in &plan.jobs {
        for missing in &job.needs {
            let mut some = all.clone();
            some.remove(missing);
            let error = job_config(&valid, &job.key, &some, &folder).unwrap_err();
            assert_eq!(error, PlanError::NotMade { what: job.key.to_string(), needs: missing.clone() });
        }
        let only: BTreeMap<_, _> =
            all.iter().filter(|(key, _)| job.needs.contains(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert!(job_config(&valid, &job.key, &only, &folder).is_ok(), "{} needs no more than it says", job.key);
    }
    assert!(matches!(serving(&valid, &BTreeMap::new(), &digest), Err(PlanError::NotMade { .. })));
    let ranker = JobKey { kind: Kind::RankingModel, name: plan.jobs[0].key.name.clone() };
    assert_eq!(job_config(&valid, &ranker, &all, &folder), Err(PlanError::NoSuchJob(ranker.clone())));
}

/// Whatever the order in the files, needs come first, and every job is there once.
#[test]
fn order_follows_references_in_any_order_of_documents() {
    let documents: Vec<&str> = SHOP.split("---\n").collect();
    for turn in 0..documents.len() {
        let mut turned = documents.clone();
        turned.rotate_left(turn);
        let plan = plan(&valid(&turned.join("---\n")));
        assert_eq!(plan.jobs.len(), 9);
        for (i, job) in plan.jobs.iter().enumerate() {
            let before = |need: &JobKey| plan.jobs[..i].iter().any(|done| done.key == *need);
            assert!(job.needs.iter().all(before), "{} before what it needs: {plan:#?}", job.key);
        }
    }
}

/// Two pipelines share a pool where they serve the same; the same model beside two catalogs is two pools.
#[test]
fn pools_are_shared_where_they_can_be() {
    let twin = SHOP.split("---\n").nth(1).unwrap().replace("plain", "plain-too");
    let valid = valid(&format!("{SHOP}---\n{twin}"));
    let (pools, table) = serving(&valid, &made(&plan(&valid)), &digest).unwrap();
    let (plain, too, home) = (&table.routes["plain"], &table.routes["plain-too"], &table.routes["home"]);
    assert_eq!((&plain.retrieve, &plain.tokenize), (&too.retrieve, &too.tokenize));
    assert_ne!(Some(&plain.retrieve), home.fallback.as_ref(), "popular is served beside two catalogs");
    assert_ne!(plain.release.name, too.release.name);
    let mut names: Vec<_> = pools.iter().map(|pool| pool.name.as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!((names.len(), count), (count, 6));
}

/// Names as long as Kubernetes allows still give pools with names.
#[test]
fn long_names_fit() {
    // No manifest may have such a name; a cluster without the chart's admission policies takes it.
    let long = "m".repeat(63);
    let text = SHOP.replace("name: decoder}", &format!("name: {long}}}"));
    let text = text.replace(&format!("metadata: {{name: {long}}}"), "metadata: {name: decoder}");
    let mut stored = parse(&[("a.yaml".to_owned(), text)]).unwrap();
    stored.iter_mut().filter(|at| at.name == "decoder").for_each(|at| at.name.clone_from(&long));
    let valid = validate(stored).unwrap();
    let (pools, table) = serving(&valid, &made(&plan(&valid)), &digest).unwrap();
    let pool = &table.routes["home"].retrieve;
    assert!(pool.as_str().starts_with("retrieve-mmm") && pool.as_str().len() <= 63, "{pool}");
    assert!(pools.iter().any(|other| other.name == *pool));
}

/// The quickstart makes everything that its pipeline serves.
#[test]
fn examples_plan_and_serve() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for name in ["quickstart", "ml-100k", "amazon-sports", "census-income", "floors"] {
        let valid = valid(&fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap());
        let plan = plan(&valid);
        let made = made(&plan);
        for job in &plan.jobs {
            let config = job_config(&valid, &job.key, &made, &|_| "/data".into()).unwrap();
            let text = serde_json::to_string(&config).unwrap();
            let again: recmesh_contract::config::JobConfig = serde_json::from_str(&text).unwrap();
            assert_eq!(again, config, "{name}: {} survives JSON", job.key);
            let evaluates = matches!(config.work, JobWork::Evaluate { .. });
            assert_eq!(evaluates, job.key.kind == Kind::EvaluationJob);
        }
        let (pools, table) = serving(&valid, &made, &digest).unwrap();
        assert_eq!(table.routes.len(), valid.pipelines.len());
        assert_eq!(pools.is_empty(), valid.pipelines.is_empty(), "{name}");
    }
}
