//! Every resource by kind and name, and the problems found so far.
//!
//! In: located resources. Out: what a reference points to, or a message that lists what there is.

use std::collections::BTreeMap;

use recmesh_contract::{
    Name,
    config::{DatasetParams, RankingParams},
};
use recmesh_crds::{
    Kind, Located, ManifestError, ModelKind, ModelRef, Resource, RetrievalModelSpec, TokenizerSpec, nearest,
};

use crate::{Model, Valid};

/// Every resource, and every problem so far.
pub(super) struct Scope<'a> {
    /// In the order of the files.
    pub(super) all: &'a [Located],
    names: BTreeMap<(Kind, &'a str), &'a Located>,
    errors: Vec<(usize, ManifestError)>,
}

impl<'a> Scope<'a> {
    /// A scope over resources; objects to names given twice and to a second namespace.
    pub(super) fn new(all: &'a [Located]) -> Self {
        let mut scope = Self { all, names: BTreeMap::new(), errors: Vec::new() };
        let namespace = |at: &'a Located| at.namespace.as_deref().unwrap_or("default");
        for at in all {
            let first = scope.names.get(&(at.kind(), at.name.as_str())).copied();
            match first {
                Some(other) => {
                    let message =
                        format!("already declared at {}:{}: give one of them another name", other.file, other.line);
                    scope.refuse(at, "/metadata/name", message);
                }
                None => {
                    scope.names.insert((at.kind(), &at.name), at);
                }
            }
            let common = all.first().map_or("default", namespace);
            if namespace(at) != common {
                let message = format!(
                    "another namespace than the first resource's ({common}): references do not cross namespaces"
                );
                scope.refuse(at, "/metadata/namespace", message);
            }
        }
        scope
    }

    /// Objects to the field of a JSON pointer.
    pub(super) fn refuse(&mut self, at: &Located, pointer: &str, message: impl Into<String>) {
        let order = self.all.iter().position(|other| other.file == at.file).unwrap_or(usize::MAX);
        self.errors.push((order, at.error(pointer, message)));
    }

    /// The name of a resource.
    pub(super) fn name(&mut self, at: &Located) -> Option<Name> {
        Name::new(at.name.as_str()).map_err(|error| self.refuse(at, "/metadata/name", error.to_string())).ok()
    }

    /// The meaning, when nothing was objected to.
    pub(super) fn finish(mut self, valid: Valid) -> Result<Valid, Vec<ManifestError>> {
        if self.errors.is_empty() {
            return Ok(valid);
        }
        self.errors.sort();
        self.errors.dedup();
        Err(self.errors.into_iter().map(|(_, error)| error).collect())
    }

    /// The resource of a kind and name, without objecting.
    pub(super) fn find(&self, kind: Kind, name: &str) -> Option<&'a Located> {
        self.names.get(&(kind, name)).copied()
    }

    /// The resource that a reference names.
    fn resolve(&mut self, from: &Located, pointer: &str, kind: Kind, name: &str) -> Option<(Name, &'a Located)> {
        if let Some(found) = self.find(kind, name) {
            return Name::new(name).ok().map(|name| (name, found));
        }
        let known: Vec<&str> = self.names.keys().filter(|(of, _)| *of == kind).map(|(_, name)| *name).collect();
        let other = Kind::ALL.into_iter().find(|other| self.find(*other, name).is_some());
        let message = match (other, nearest(name, known.iter().copied()), known.as_slice()) {
            (Some(other), _, _) => format!("{name} is a {other}, but a {kind} is needed here; {}", there_are(&known)),
            (None, Some(meant), _) => format!("there is no {kind} {name}; did you mean {meant}? {}", there_are(&known)),
            (None, None, []) => format!("there is no {kind} {name}, nor any other: declare it in one of the files"),
            (None, None, known) => format!("there is no {kind} {name}; {}", there_are(known)),
        };
        self.refuse(from, &format!("{pointer}/name"), message);
        None
    }

    /// The data set that a reference names.
    pub(super) fn dataset(&mut self, from: &Located, pointer: &str, name: &str) -> Option<(Name, &'a DatasetParams)> {
        let (name, at) = self.resolve(from, pointer, Kind::Dataset, name)?;
        let Resource::Dataset(dataset) = &at.resource else { return None };
        Some((name, &dataset.spec.params))
    }

    /// The tokenizer that a reference names.
    pub(super) fn tokenizer(&mut self, from: &Located, pointer: &str, name: &str) -> Option<(Name, &'a TokenizerSpec)> {
        let (name, at) = self.resolve(from, pointer, Kind::Tokenizer, name)?;
        let Resource::Tokenizer(tokenizer) = &at.resource else { return None };
        Some((name, &tokenizer.spec))
    }

    /// The retrieval model that a reference names.
    pub(super) fn retrieval(
        &mut self,
        from: &Located,
        pointer: &str,
        name: &str,
    ) -> Option<(Name, &'a RetrievalModelSpec)> {
        let (name, at) = self.resolve(from, pointer, Kind::RetrievalModel, name)?;
        let Resource::RetrievalModel(model) = &at.resource else { return None };
        Some((name, &model.spec))
    }

    /// The ranking model that a reference names: its data set's name and its parameters.
    pub(super) fn ranking(
        &mut self,
        from: &Located,
        pointer: &str,
        name: &str,
    ) -> Option<(Name, &'a str, &'a RankingParams)> {
        let (name, at) = self.resolve(from, pointer, Kind::RankingModel, name)?;
        let Resource::RankingModel(model) = &at.resource else { return None };
        Some((name, &model.spec.dataset_ref.name, &model.spec.ranking))
    }

    /// The model of either kind that a reference names, and the name of its data set.
    pub(super) fn model(&mut self, from: &Located, pointer: &str, model: &ModelRef) -> Option<(Model, &'a Resource)> {
        let kind = match model.kind {
            ModelKind::RetrievalModel => Kind::RetrievalModel,
            ModelKind::RankingModel => Kind::RankingModel,
        };
        let (name, at) = self.resolve(from, pointer, kind, &model.name)?;
        let model = match model.kind {
            ModelKind::RetrievalModel => Model::Retrieval(name),
            ModelKind::RankingModel => Model::Ranking(name),
        };
        Some((model, &at.resource))
    }

    /// The parameters of a data set, without objecting: whoever declares the reference does that.
    pub(super) fn params_of(&self, dataset: &str) -> Option<&'a DatasetParams> {
        match &self.find(Kind::Dataset, dataset)?.resource {
            Resource::Dataset(dataset) => Some(&dataset.spec.params),
            _ => None,
        }
    }
}

fn there_are(known: &[&str]) -> String {
    match known {
        [] => "there is none".to_owned(),
        known => format!("there are: {}", known.join(", ")),
    }
}
