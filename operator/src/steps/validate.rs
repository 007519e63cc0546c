//! A closure to its meaning, or what stands in the way, told to its subject.
//!
//! In: the closure. Out: the plan's `Valid`; or one objection that says whether the subject itself, something that it
//! refers to, or something that is not there is to blame. The rules are local mode's: none is written here.

use recmesh_crds::{Kind, ManifestError, nearest};
use recmesh_plan::Valid;

use crate::{
    here::Here,
    reason,
    terms::{Closure, Key, Missing, Objection},
};

/// Most problems that one message tells.
const TOLD: usize = 5;

/// The meaning of a closure.
///
/// # Errors
/// The subject's own problems first, then what is missing, then problems of what it refers to.
pub fn validate(here: &Here<'_>, subject: &Key, closure: Closure) -> Result<Valid, Objection> {
    let Closure { resources, missing } = closure;
    let errors = match recmesh_plan::validate(resources) {
        Ok(valid) if missing.is_empty() => return Ok(valid),
        Ok(_) => Vec::new(),
        Err(errors) => errors,
    };
    // A reference that leads nowhere is told once, and better than by whoever knows only this closure.
    let told = |error: &ManifestError| {
        missing.iter().any(|gap| {
            let from = error.resource.as_deref() == Some(gap.from.to_string().as_str());
            let trained = gap.to.name.is_empty() && error.path.starts_with(&gap.path);
            from && (trained || error.path == gap.path)
        })
    };
    let (own, others): (Vec<&ManifestError>, Vec<&ManifestError>) = errors
        .iter()
        .filter(|error| !told(error))
        .partition(|error| error.resource.as_deref() == Some(subject.to_string().as_str()));
    if !own.is_empty() {
        return Err(Objection::new(reason::INVALID, list(&own, field)));
    }
    if let Some(gap) = missing.first() {
        return Err(lacking(here, subject, gap));
    }
    let whose = |error: &ManifestError| format!("{}: {}", error.resource.as_deref().unwrap_or_default(), field(error));
    Err(Objection::new(reason::REFERENCE_INVALID, list(&others, whose)))
}

fn field(error: &ManifestError) -> String {
    if error.path.is_empty() { error.message.clone() } else { format!("{}: {}", error.path, error.message) }
}

fn list(errors: &[&ManifestError], tell: impl Fn(&ManifestError) -> String) -> String {
    let mut told: Vec<String> = errors.iter().take(TOLD).map(|error| tell(error)).collect();
    if errors.len() > TOLD {
        told.push(format!("and {} more", errors.len() - TOLD));
    }
    told.join("; ")
}

fn lacking(here: &Here<'_>, subject: &Key, gap: &Missing) -> Objection {
    let Missing { from, path, to } = gap;
    let whose = if from == subject { String::new() } else { format!("{from}: ") };
    if to.kind == Kind::TrainingJob && to.name.is_empty() {
        let (kind, name) = (from.kind, &from.name);
        let message =
            format!("{whose}nothing trains it: make a TrainingJob with modelRef: {{kind: {kind}, name: {name}}}");
        return Objection::new(reason::waiting_for(Kind::TrainingJob), message);
    }
    let known = here.names(to.kind);
    let meant = nearest(&to.name, known.iter().map(String::as_str));
    let hint = match (meant, known.as_slice()) {
        (Some(meant), _) => format!("did you mean {meant}? Otherwise make it"),
        (None, []) => "make it".to_owned(),
        (None, known) if known.len() <= TOLD => format!("make it, or name one of {}", known.join(", ")),
        (None, _) => "make it, or name another".to_owned(),
    };
    let (kind, name, namespace) = (to.kind, &to.name, here.namespace);
    let message = format!("{whose}{path}: there is no {kind} {name} in namespace {namespace}: {hint}");
    Objection::new(reason::REFERENCE_MISSING, message)
}
