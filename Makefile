# Everything a contributor runs. `make test` needs only Rust; what needs more says so.
CARGO ?= cargo
.PHONY: up check test test-cluster test-otlp test-object-store test-isa lint fmt crds licences bench bench-quality bench-counts bench-serving cuda test-cuda gpu-suite chart image bundle

up: ## build, train the quickstart and serve it on 127.0.0.1:8080
	$(CARGO) run --bin recmesh -- up -f examples/quickstart.yaml

check:
	$(CARGO) check --workspace --all-targets

test: ## every test that needs only Rust; real data is used where RECMESH_DATA names it
	$(CARGO) test --workspace
	@echo "The cluster suites are not part of this: make test-cluster"

test-cluster: ## suites on a real Kubernetes, which it builds (once) and starts; needs Go, and root for a real node
	tests/cluster/run.sh

test-otlp: ## tests of trace export, which is a feature of its own because it brings tonic
	$(CARGO) test -p recmesh-gateway -p recmesh-pool -p recmesh-telemetry -p recmesh-wire --lib \
		--features recmesh-gateway/otlp,recmesh-pool/otlp,recmesh-telemetry/otlp,recmesh-wire/otlp

test-object-store: ## tests of artifacts in an object store, a feature of its own because it brings an HTTP client
	$(CARGO) test -p recmesh-store --lib --features recmesh-store/object-store

test-isa: ## AMX and AVX512-BF16 on an emulated CPU, where none is at hand; needs Debian, g++ and python3: tests/isa/README.md
	tests/isa/run.py --probe
	tests/isa/run.py "$$(RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) test -p recmesh-kernels --lib --no-run \
		--target x86_64-unknown-linux-gnu --message-format=json \
		| sed -n 's/.*"executable":"\([^"]*recmesh_kernels-[^"]*\)".*/\1/p' | tail -n 1)" $(ISA_TESTS) --include-ignored --test-threads=1

ISA_TESTS ?= bf16 int8 coded quantised

lint: ## formats, lints, and floors that the documentation tells; needs python3
	$(CARGO) fmt --all --check
	python3 benches/floors.py --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p recmesh-store --all-targets --features object-store -- -D warnings
	$(CARGO) clippy -p recmesh-kernels -p recmesh-models -p recmesh-pool --all-targets \
		--features recmesh-kernels/cuda,recmesh-models/cuda,recmesh-pool/cuda -- -D warnings
	$(CARGO) clippy --test cluster -- -D warnings

fmt:
	$(CARGO) fmt --all

crds: ## rewrite crds/yaml from the types
	UPDATE=1 $(CARGO) test -p recmesh-crds yaml

licences: ## check licences, sources and duplicate versions; needs cargo-deny
	$(CARGO) deny check licenses bans sources

cuda: ## compile the CUDA kernels for sm_90a and run them on a CPU emulator; needs python3 and g++, no GPU
	python3 workers/kernels/cuda/compile.py
	python3 workers/kernels/cuda/emulate.py

# Absolute, since tests run in the folders of their crates.
EMULATED = $(abspath $(TARGET))/emulated-driver

test-cuda: ## the CUDA side on an emulated driver: no device; needs python3 and g++
	$(CARGO) test -p recmesh-kernels --features cuda --lib --bin recmesh-gpu-suite -- cuda:: date::
	$(CARGO) build -p recmesh-kernels --features cuda --bin recmesh-gpu-suite
	python3 workers/kernels/cuda/emulate.py --driver $(EMULATED) --suite $(TARGET)/debug/recmesh-gpu-suite
	RECMESH_NEEDS_DEVICE=1 LD_LIBRARY_PATH=$(EMULATED) $(CARGO) test -p recmesh-models -p recmesh-pool \
		--features recmesh-models/cuda,recmesh-pool/cuda --lib -- device

# It is copied to machines by hand: less than 50 MiB.
SUITE_BYTES = 52428800

gpu-suite: ## one program that checks and measures the CUDA kernels where there is a device: docs/gpu.md
	$(CARGO) build --release -p recmesh-kernels --features cuda --bin recmesh-gpu-suite
	strip -o $(TARGET)/recmesh-gpu-suite $(TARGET)/release/recmesh-gpu-suite
	@bytes=$$(wc -c < $(TARGET)/recmesh-gpu-suite); echo "$(TARGET)/recmesh-gpu-suite: $$bytes bytes"; \
		test $$bytes -lt $(SUITE_BYTES) || { echo "larger than $(SUITE_BYTES) bytes"; exit 1; }

bench: ## building blocks beside plain ways of doing the same; `make bench ONLY=decode` runs a part
	$(CARGO) bench --bench micro -- $(ONLY)

bench-serving: ## latency and throughput over HTTP on two cores; needs python3 and wrk
	$(CARGO) build --release --bin recmesh
	python3 benches/serving.py target/release/recmesh benches/manifests/serving-*.yaml

bench-counts: ## instructions of hot loops against what is recorded; needs python3 and valgrind
	python3 benches/counts.py --check --ours "$$($(CARGO) bench --bench micro --no-run --message-format=json \
		| sed -n 's/.*"executable":"\([^"]*micro-[^"]*\)".*/\1/p' | tail -n 1) --beside"

SUITES ?= floors sasrec lazy muon precision census

bench-quality: ## quality on real data, hours: `make bench-quality RECMESH_DATA=FOLDER SUITES=floors`; needs python3
	@test -n "$(RECMESH_DATA)" || { echo "set RECMESH_DATA to the folder with the data sets; see benches/README.md"; exit 1; }
	$(CARGO) build --release --bin recmesh
	python3 benches/quality.py --data "$(RECMESH_DATA)" $(if $(PEER),--peer "$(PEER)") $(SUITES)

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
TARGET := $(or $(CARGO_TARGET_DIR),target)
DIST ?= $(TARGET)/dist
CLUSTER_HOME ?= $(HOME)/.cache/recmesh-cluster
HELM ?= $(or $(shell command -v helm),$(CLUSTER_HOME)/bin/helm)
# Paths of this machine stay out of the program, so that the same sources give the same image.
MAP_PATHS = --remap-path-prefix=$(CURDIR)=/recmesh --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo

chart: ## check the Helm chart and pack it; needs helm
	$(HELM) lint --strict charts/recmesh
	mkdir -p $(DIST)
	$(HELM) package charts/recmesh --destination $(DIST)

# What the image has beyond a plain build.
FEATURES ?= object-store

image: ## the image as an OCI archive, without a base image or a builder; needs python3
	RUSTFLAGS="$(RUSTFLAGS) $(MAP_PATHS)" $(CARGO) build --locked --profile image --bin recmesh $(if $(FEATURES),--features $(FEATURES))
	charts/image/image.sh $(TARGET)/image/recmesh $(DIST)/recmesh-image-$(VERSION).tar localhost/recmesh:$(VERSION)

bundle: chart image ## everything an installation without a network needs, as one file; trains the quickstart once
	$(TARGET)/image/recmesh train -f examples/quickstart.yaml --state $(DIST)/samples
	charts/image/bundle.sh $(VERSION) $(DIST)/recmesh-$(VERSION).tgz $(DIST)/recmesh-image-$(VERSION).tar \
		$(DIST)/samples $(DIST)/recmesh-bundle-$(VERSION).tar.gz
