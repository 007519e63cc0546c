# Everything a contributor runs. `make test` needs only Rust; what needs more says so.
CARGO ?= cargo
.PHONY: up check test test-otlp lint fmt crds licences bench bench-quality bench-serving

up: ## build, train the quickstart and serve it on 127.0.0.1:8080
	$(CARGO) run --bin recmesh -- up -f examples/quickstart.yaml

check:
	$(CARGO) check --workspace --all-targets

test: ## every test; real data is used where RECMESH_DATA names it
	$(CARGO) test --workspace

test-otlp: ## tests of trace export, which is a feature of its own because it brings tonic
	$(CARGO) test -p recmesh-gateway -p recmesh-pool -p recmesh-telemetry --lib \
		--features recmesh-gateway/otlp,recmesh-pool/otlp,recmesh-telemetry/otlp

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all

crds: ## rewrite crds/yaml from the types
	UPDATE=1 $(CARGO) test -p recmesh-crds yaml

licences: ## check licences, sources and duplicate versions; needs cargo-deny
	$(CARGO) deny check licenses bans sources

bench: ## building blocks beside plain ways of doing the same; `make bench ONLY=decode` runs a part
	$(CARGO) bench --bench micro -- $(ONLY)

bench-serving: ## latency and throughput over HTTP on two cores; needs python3 and wrk
	$(CARGO) build --release --bin recmesh
	python3 benches/serving.py target/release/recmesh benches/manifests/serving-*.yaml

SUITES ?= floors sasrec lazy muon census

bench-quality: ## quality on real data, hours: `make bench-quality RECMESH_DATA=FOLDER SUITES=floors`; needs python3
	@test -n "$(RECMESH_DATA)" || { echo "set RECMESH_DATA to the folder with the data sets; see benches/README.md"; exit 1; }
	$(CARGO) build --release --bin recmesh
	python3 benches/quality.py --data "$(RECMESH_DATA)" $(if $(PEER),--peer "$(PEER)") $(SUITES)
