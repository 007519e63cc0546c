//! The manifests that the tests run: small worlds that train in a fraction of a second.

/// A world, and everything that recommends from it in one pipeline.
pub const WHOLE: &str = "\
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec:
  source: {planted: {users: 60, items: 40, length: 8, buckets: 4, seed: 7}}
---
apiVersion: recmesh.dev/v1alpha1
kind: Tokenizer
metadata: {name: ids}
spec:
  datasetRef: {name: world}
  algorithm: {rqKMeans: {levels: 2, codebookSize: 8, vectors: {collaborative: {dims: 8}}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: retriever}
spec:
  datasetRef: {name: world}
  tokenizerRef: {name: ids}
  algorithm: {lazyDecoder: {dModel: 16, layers: 1, heads: 2, contextLength: 8, decode: {beams: 40}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: train-retriever}
spec:
  modelRef: {kind: RetrievalModel, name: retriever}
  epochs: 2
  batchSize: 16
  checkpoint: {everySteps: 3}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: popular}
spec: {datasetRef: {name: world}, algorithm: {popularity: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RankingModel
metadata: {name: ranker}
spec:
  datasetRef: {name: world}
  algorithm: {mmoe: {experts: 2, expertUnits: 8, towerUnits: 4, embedding: 4}}
  tasks:
    - {name: click, when: {column: click, atLeast: 1}}
    - {name: like, when: {column: like, atLeast: 1}}
---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: train-ranker}
spec:
  modelRef: {kind: RankingModel, name: ranker}
  epochs: 1
  batchSize: 64
---
apiVersion: recmesh.dev/v1alpha1
kind: EvaluationJob
metadata: {name: retriever-test}
spec:
  modelRef: {kind: RetrievalModel, name: retriever}
  k: [5, 10]
  bootstrap: 50
  shuffledControl: true
---
apiVersion: recmesh.dev/v1alpha1
kind: EvaluationJob
metadata: {name: ranker-test}
spec:
  modelRef: {kind: RankingModel, name: ranker}
  bootstrap: 50
---
apiVersion: recmesh.dev/v1alpha1
kind: Pipeline
metadata: {name: home}
spec:
  tokenizerRef: {name: ids}
  retrieve: {modelRef: {name: retriever}}
  rank: {modelRef: {name: ranker}}
  fallback: {modelRef: {name: popular}}
  candidates: 40
  maxK: 40
  weights: {click: 1, like: 2}
  deadline: 20s
";

/// A second pipeline for [`WHOLE`]: retrieval alone.
pub const PLAIN: &str = "\
---
apiVersion: recmesh.dev/v1alpha1
kind: Pipeline
metadata: {name: plain}
spec:
  tokenizerRef: {name: ids}
  retrieve: {modelRef: {name: retriever}}
  deadline: 20s
";

/// A world and a counted model: nothing is trained.
pub const COUNTED: &str = "\
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec:
  source: {planted: {users: 60, items: 40, length: 8, buckets: 4, seed: 7}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: popular}
spec: {datasetRef: {name: world}, algorithm: {popularity: {}}}
---
apiVersion: recmesh.dev/v1alpha1
kind: EvaluationJob
metadata: {name: popular-test}
spec:
  modelRef: {kind: RetrievalModel, name: popular}
  bootstrap: 20
";

/// A training of some hundred steps with a checkpoint every fifth: long enough to be stopped on its way.
pub const LONG: &str = "\
apiVersion: recmesh.dev/v1alpha1
kind: Dataset
metadata: {name: world}
spec:
  source: {planted: {users: 60, items: 40, length: 8, buckets: 4, seed: 7}}
---
apiVersion: recmesh.dev/v1alpha1
kind: RetrievalModel
metadata: {name: model}
spec:
  datasetRef: {name: world}
  algorithm: {sasRec: {dim: 96, blocks: 2, maxLength: 16}}
---
apiVersion: recmesh.dev/v1alpha1
kind: TrainingJob
metadata: {name: train-model}
spec:
  modelRef: {kind: RetrievalModel, name: model}
  epochs: 16
  batchSize: 4
  earlyStopping: {patience: 0}
  checkpoint: {everySteps: 5}
";

/// `COUNTED` with its data set replaced.
pub fn counted_over(dataset: &str) -> String {
    let rest = COUNTED.split_once("---\n").unwrap().1;
    format!("apiVersion: recmesh.dev/v1alpha1\nkind: Dataset\nmetadata: {{name: world}}\nspec:\n{dataset}---\n{rest}")
}
