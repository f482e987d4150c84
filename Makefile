# The commands of this project. `make help` lists them.

GO      ?= go
BIN     := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION)

# Checks of package internal/invariant are made in every test run.
TEST_TAGS    := invariants
TEST_TIMEOUT ?= 20m
RACE_TIMEOUT ?= 25m
# Packages whose tests run everything on one thread: there are no races to detect.
ONE_THREAD := ^chainfire/(sim|raft/rafttest)$$

# Where the servers that are measured keep their data: a real disk.
BENCH_DIR   ?= .cache/bench
BENCH_FLAGS ?=
DEMO_FLAGS  ?=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/chainfire
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/chainfire ./cmd/chainfire

.PHONY: test
test: $(BIN)/etcdctl $(BIN)/etcdutl $(BIN)/etcd ## run all tests
	$(GO) test -tags $(TEST_TAGS) -timeout $(TEST_TIMEOUT) ./...
	$(GO) test -tags $(TEST_TAGS) -timeout $(TEST_TIMEOUT) -run 'TestS3' -parallel 2 ./test -s3
	cd bench && $(GO) test -timeout $(TEST_TIMEOUT) ./...

.PHONY: race
race: $(BIN)/etcdctl $(BIN)/etcdutl $(BIN)/etcd ## run the tests under the race detector, the heaviest of them shortened
	$(GO) test -race -short -tags $(TEST_TAGS) -timeout $(RACE_TIMEOUT) $$($(GO) list ./... | grep -v -E '$(ONE_THREAD)')

.PHONY: lint
lint: $(BIN)/golangci-lint ## check style, formatting (gofumpt) and go vet
	$(GO) vet ./...
	$(GO) vet -tags $(TEST_TAGS) ./...
	cd bench && $(GO) vet ./...
	cd test/kubernetes && $(GO) vet ./...
	$(BIN)/golangci-lint run ./...
	cd bench && ../$(BIN)/golangci-lint run --config ../.golangci.yml ./...

.PHONY: fmt
fmt: $(BIN)/gofumpt ## format all Go files
	$(BIN)/gofumpt -modpath chainfire -w .

.PHONY: demo
demo: build ## grow a cluster from one member to three on this machine, and kill its leader
	$(BIN)/chainfire demo $(DEMO_FLAGS)

# How long, and how much. Each prints its seeds; a failure prints how to replay it.
MINUTES ?= 10
ROUNDS  ?= 50
CUTS    ?= 200
REQUESTS ?= 1000000

.PHONY: schedules
schedules: ## random schedules of bare cores for MINUTES
	$(GO) test ./raft/rafttest -run 'TestRandomSchedules$$' -v -minutes=$(MINUTES) -timeout 0

.PHONY: differential
differential: ## the same workload and faults on our core, the reference engine, and mixed clusters
	$(GO) test ./raft/rafttest -run 'TestDifferential|TestRandomSchedulesOfEngines' -v -plans=3000 -seeds=10000 -timeout 60m

.PHONY: sim
sim: ## whole members on simulated time, disk and network for MINUTES
	$(GO) test -tags $(TEST_TAGS) ./sim -run 'TestSimulation$$' -v -minutes=$(MINUTES) -timeout 0

.PHONY: mutants
mutants: ## seed known faults into the core, one at a time; the simulator must find each
	$(GO) test -tags mutants ./raft/rafttest -run 'TestTheSimulatorFindsEveryMutant$$' -v -timeout 120m $(MUTANTS_FLAGS)

.PHONY: exhaustive
exhaustive: ## every interleaving of small clusters with one membership change, deeper than the tests go
	$(GO) test ./raft/rafttest -run 'TestEveryInterleaving' -v -explore-deeper=3 -timeout 120m

.PHONY: kill-loop
kill-loop: $(BIN)/etcdctl ## kill -9 of random members of real clusters, ROUNDS times on each engine and on both
	for engine in chainfire etcd mixed; do \
		$(GO) test ./test -run 'TestKillLoop$$' -engine=$$engine -rounds=$(ROUNDS) -v -timeout 60m || exit 1; \
	done

.PHONY: seen
seen: ## all that clients and watches see under kills, cuts and compaction, held together, for MINUTES on each engine and on both
	@mkdir -p .cache
	for engine in chainfire etcd mixed; do \
		$(GO) test ./test -run 'TestAllThatIsSeenFits$$' -engine=$$engine -seen=$(MINUTES)m -v -artifacts -outputdir $(CURDIR)/.cache -timeout 0 || exit 1; \
	done

.PHONY: clients
clients: ## install what the tests with clients in other languages need; Debian's packages by its own tool, as root
	./test/testdata/install-clients

.PHONY: etcd-differential
etcd-differential: $(BIN)/etcd ## REQUESTS random requests to etcd and to a member here, and twice as many of users, answers compared
	$(GO) test ./test -run 'TestRandomRequests' -requests=$(REQUESTS) -v -timeout 0

.PHONY: kubernetes
kubernetes: ## Kubernetes' own tests of its storage layer on members here; -server=etcd in KUBERNETES_FLAGS runs them on etcd
	cd test/kubernetes && $(GO) test -timeout 60m -v . $(KUBERNETES_FLAGS)

.PHONY: soak
soak: ## clients that list and watch, under kills and compaction, for MINUTES
	$(GO) test ./test -run 'TestListAndWatch$$' -v -soak=$(MINUTES)m -watchers=50 -timeout 0

.PHONY: cut-joins
cut-joins: ## CUTS joins of real members in network namespaces, each cut at a random point; needs root and ip
	$(GO) test ./test -run 'TestJoinCutAtAnyPointEndsWholeOrOut$$' -cuts=$(CUTS) -v -timeout 180m

.PHONY: coverage
coverage: ## statement coverage of raft/ by its scripts, tests and schedules
	@mkdir -p .cache
	$(GO) test -coverprofile .cache/raft.cover -coverpkg ./raft,./raft/confchange,./raft/progress,./raft/quorum \
		./raft ./raft/confchange ./raft/progress ./raft/quorum ./raft/rafttest
	$(GO) tool cover -func .cache/raft.cover | tail -n 1

.PHONY: bench
bench: bench-tools ## the chief rows of the table beside etcd, small, in ten minutes; see bench/README.md
	@mkdir -p $(BENCH_DIR)
	$(BIN)/bench table --rounds 3 --duration 1500ms --dir $(BENCH_DIR) --json $(BENCH_DIR)/table.json \
		--markdown $(BENCH_DIR)/table.md --chart $(BENCH_DIR)/table.svg $(BENCH_FLAGS)

.PHONY: bench-full
bench-full: bench-tools ## the whole table beside etcd, with a million keys, in some hours
	@mkdir -p $(BENCH_DIR)
	$(BIN)/bench table --full --rounds 5 --duration 10s --warm-up 2s --pause 2s --settle 5s --timeout 12h --dir $(BENCH_DIR) \
		--json $(BENCH_DIR)/table-full.json --markdown $(BENCH_DIR)/table-full.md --chart $(BENCH_DIR)/table-full.svg $(BENCH_FLAGS)

.PHONY: bench-life
bench-life: bench-tools ## what clients feel, beside etcd, when the leader goes and when a member joins
	@mkdir -p $(BENCH_DIR)
	$(BIN)/bench gap --how kill --times 200 --timeout 2h --dir $(BENCH_DIR) --json $(BENCH_DIR)/gap-kill.json $(BENCH_FLAGS)
	$(BIN)/bench gap --how kill --etcd-timing --times 200 --timeout 2h --dir $(BENCH_DIR) --json $(BENCH_DIR)/gap-kill-etcd-timing.json $(BENCH_FLAGS)
	$(BIN)/bench gap --how freeze --times 200 --timeout 2h --dir $(BENCH_DIR) --json $(BENCH_DIR)/gap-freeze.json $(BENCH_FLAGS)
	$(BIN)/bench gap --how stop --times 200 --timeout 2h --dir $(BENCH_DIR) --json $(BENCH_DIR)/gap-stop.json $(BENCH_FLAGS)
	$(BIN)/bench join --keys 1000000 --rate 2000 --rounds 3 --dir $(BENCH_DIR) --json $(BENCH_DIR)/join.json $(BENCH_FLAGS)
	$(BIN)/bench join --keys 1000000 --rate 0 --rounds 3 --dir $(BENCH_DIR) --json $(BENCH_DIR)/join-idle.json $(BENCH_FLAGS)

.PHONY: bench-s3
bench-s3: bench-tools $(BIN)/minio ## S3 beside MinIO, and what small writes feel of uploads
	@mkdir -p $(BENCH_DIR)
	$(BIN)/bench s3 --members 1 --dir $(BENCH_DIR) --json $(BENCH_DIR)/s3-1.json $(BENCH_FLAGS)
	$(BIN)/bench s3 --members 3 --dir $(BENCH_DIR) --json $(BENCH_DIR)/s3-3.json $(BENCH_FLAGS)
	$(BIN)/bench isolation --members 3 --dir $(BENCH_DIR) --json $(BENCH_DIR)/isolation.json $(BENCH_FLAGS)

.PHONY: bench-tools
bench-tools: build $(BIN)/etcd
	cd bench && $(GO) build -trimpath -o ../$(BIN)/bench .

.PHONY: generate
generate: $(BIN)/protoc-gen-go $(BIN)/protoc-gen-go-grpc ## regenerate generated code; needs protoc on the path
	PATH="$(CURDIR)/$(BIN):$$PATH" $(GO) generate ./...

.PHONY: tools
tools: $(BIN)/golangci-lint $(BIN)/gofumpt $(BIN)/etcd $(BIN)/etcdctl $(BIN)/etcdutl ## build the tools of the pinned versions into bin/

.PHONY: clean
clean: ## remove what was built and measured
	rm -rf $(BIN) .cache

# MinIO (AGPL) is a program to measure beside; nothing links it.
$(BIN)/minio: tools/minio/go.mod tools/minio/go.sum
	$(call build-tool,minio,github.com/minio/minio)

# Tools are built from their Go modules at the versions that tools/*/go.mod pin,
# and again only when those files change. etcd is a module of its own, so
# that it is built with the very dependencies that its release names.
$(BIN)/golangci-lint: tools/lint/go.mod tools/lint/go.sum
	$(call build-tool,lint,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(BIN)/gofumpt: tools/lint/go.mod tools/lint/go.sum
	$(call build-tool,lint,mvdan.cc/gofumpt)

$(BIN)/etcd: tools/etcd/go.mod tools/etcd/go.sum
	$(call build-tool,etcd,go.etcd.io/etcd/server/v3)

$(BIN)/etcdutl: tools/etcd/go.mod tools/etcd/go.sum
	$(call build-tool,etcd,go.etcd.io/etcd/etcdutl/v3)

$(BIN)/etcdctl: tools/etcd/go.mod tools/etcd/go.sum
	$(call build-tool,etcd,go.etcd.io/etcd/etcdctl/v3)

$(BIN)/protoc-gen-go: tools/proto/go.mod tools/proto/go.sum
	$(call build-tool,proto,google.golang.org/protobuf/cmd/protoc-gen-go)

$(BIN)/protoc-gen-go-grpc: tools/proto/go.mod tools/proto/go.sum
	$(call build-tool,proto,google.golang.org/grpc/cmd/protoc-gen-go-grpc)

# The touch is for go build, which leaves a binary that is up to date as it is.
define build-tool
	cd tools/$(1) && $(GO) build -trimpath -o ../../$@ $(2)
	@touch $@
endef
