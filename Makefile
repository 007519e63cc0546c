# Everything a contributor runs. `make test` needs only Rust; what needs more says so.
CARGO ?= cargo
.PHONY: up check test lint fmt crds licences bench bench-quality bench-serving clean

up: ## build, train the quickstart and serve it on 127.0.0.1:8080
	$(CARGO) run --bin recmesh -- up -f examples/quickstart.yaml

check:
	$(CARGO) check --workspace --all-targets

test: ## every test; real data is used where RECMESH_DATA names it
	$(CARGO) test --workspace

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all

crds: ## rewrite crds/yaml from the types
	UPDATE=1 $(CARGO) test -p recmesh-crds yaml

licences: ## check licences, sources and duplicate versions; needs cargo-deny
	$(CARGO) deny check licenses bans sources
