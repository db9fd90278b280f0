# Everything here needs Go and make alone; what else a target needs it installs
# itself under bin/ or says so.

GO       ?= go
BIN      := bin
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT   := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
DATE     := $(shell git log -1 --format=%cI 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# Pinned tools; they are not in go.mod.
LINT     := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT := golang.org/x/perf/cmd/benchstat@latest
EXTERNAL_DNS := v0.20.0

FUZZTIME ?= 60s
FUZZ     := $(shell grep -rl --include='*_test.go' '^func Fuzz' . 2>/dev/null | xargs -n1 dirname 2>/dev/null | sort -u)

.PHONY: clients secondaries damage conformance conformance-short build run demo test check fmt vet lint race fuzz fuzz-short chaos chaos-mutants bench overload bench-go bench-compare cluster cross clean help
.DEFAULT_GOAL := build

build: ## build bin/eider
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/eider ./cmd/eider

run: build ## start three nodes on loopback and take ADD and REMOVE lines (Ctrl-C ends all)
	@sh examples/run.sh $(BIN)/eider

cluster: run ## the same as run

FOLDERS  ?= 1000
DAMAGESEED ?= 1

damage: ## start FOLDERS (1000) damaged data folders, drawn from DAMAGESEED, against running clusters
	$(GO) test -run TestDamagedFolders -v -parallel 6 -timeout 0 ./cmd/eidertest -folders $(FOLDERS) -folder-clusters 6 -folder-seed $(DAMAGESEED)

SECONDARIES ?= 10m

secondaries: ## NSD, Knot, BIND and PowerDNS as secondaries for SECONDARIES (10m) while zones change and leaders die
	$(GO) test -run 'TestSecondaries$$' -v -timeout 0 ./cmd/eidertest -secondaries $(SECONDARIES)

demo: build ## a story of three nodes that tells itself, in under 30 s
	@sh examples/demo.sh $(BIN)/eider

test: ## all tests, those through the real binary too
	$(GO) test -timeout 20m ./...

check: fmt vet lint race ## formatting, vet, lint, tests with the race detector

fmt: ## fail if a file is not gofmt-ed
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi

vet: ## go vet
	$(GO) vet ./...

lint: $(BIN)/golangci-lint ## golangci-lint, pinned
	$(BIN)/golangci-lint run ./...

$(BIN)/golangci-lint:
	@mkdir -p $(BIN)
	GOBIN=$(abspath $(BIN)) $(GO) install $(LINT)

# Those two start clusters and other servers for a minute each and share no memory
# with them; `make test` runs them.
UNRACED  := cmd/eider-chaos|cmd/eider-conformance$$

race: ## tests with the race detector, but for the longest
	$(GO) test -race -short -timeout 30m $$($(GO) list ./... | grep -vE '$(UNRACED)')

cross: ## build for the systems there is no test machine for
	GOOS=darwin GOARCH=arm64 $(GO) build -o /dev/null ./cmd/eider
	GOOS=freebsd GOARCH=amd64 $(GO) build -o /dev/null ./cmd/eider
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/eider

fuzz: ## every fuzz target for FUZZTIME (60s)
	@set -e; for dir in $(FUZZ); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | sed 's/^func //' | sort -u); do \
	    echo "== $$dir $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$dir; \
	  done; \
	done

# By count: a time that is over in the middle of an input makes Go's fuzzer fail
# now and then, with "context deadline exceeded" and nothing found.
fuzz-short: ## every fuzz target, 5,000 inputs each
	@$(MAKE) --no-print-directory fuzz FUZZTIME=5000x

CHAOS ?= 3m
MUTANT ?= 60s

chaos: build ## real clusters under faults for CHAOS (3m), every change accounted for; SEED=n repeats a schedule
	$(GO) run ./cmd/eider-chaos -eider $(BIN)/eider -duration $(CHAOS) -seed $(or $(SEED),0)

chaos-mutants: ## break the nodes on purpose, one way after another: every run must be red
	@set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	$(GO) build -o $$dir/eider-chaos ./cmd/eider-chaos; \
	for m in $$($$dir/eider-chaos -kinds | sed -n 's/^-mutant \([a-z-]*\) .*/\1/p'); do \
	  echo "== $$m"; \
	  $$dir/eider-chaos -dir $$dir/$$m -mutant $$m -nodes 3 -duration $(MUTANT) -seed $(or $(SEED),0) > $$dir/out || { cat $$dir/out; exit 1; }; \
	  tail -1 $$dir/out; rm -rf $$dir/$$m; \
	done

bench: build ## measure real nodes, and queries beside NSD, Knot and BIND; about 35 minutes
	$(GO) run ./cmd/eider-bench -eider $(BIN)/eider

overload: build ## attack three nodes for two minutes while another client asks
	$(GO) run ./cmd/eider-bench -eider $(BIN)/eider -only overload

conformance: build ## ask Eider, NSD, Knot and BIND 300,000 random questions about 3,000 random zones (5 to 10 min)
	$(GO) run ./cmd/eider-conformance -eider $(BIN)/eider -v $(CONFORMANCE)

conformance-short: build ## the same with 200 zones and 8,000 questions, under a minute
	$(GO) run ./cmd/eider-conformance -eider $(BIN)/eider -zones 200 -questions 8000 -batch 100 $(CONFORMANCE)

bench-go: ## the benchmarks of single functions, ten runs
	$(GO) test -run '^$$' -bench . -benchmem -count 10 ./store/... ./nameserver/... ./zonefile/... ./cluster/...

bench-compare: $(BIN)/benchstat ## bench-go here against BASE=ref
	@test -n "$(BASE)" || { echo "bench-compare: say what to compare with: make bench-compare BASE=ref"; exit 2; }
	@set -e; tmp=$$(mktemp -d); git worktree add -q --detach $$tmp/base $(BASE); \
	(cd $$tmp/base && $(MAKE) -s bench-go) > $$tmp/old.txt; $(MAKE) -s bench-go > $$tmp/new.txt; \
	git worktree remove --force $$tmp/base; $(BIN)/benchstat $$tmp/old.txt $$tmp/new.txt

$(BIN)/benchstat:
	@mkdir -p $(BIN)
	GOBIN=$(abspath $(BIN)) $(GO) install $(BENCHSTAT)

# Programs that tests point at a node and that Debian does not have; lego's module takes
# no `go install`, so it is built as a requirement of an empty one.
clients: $(BIN)/pebble $(BIN)/lego $(BIN)/external-dns ## build ACME and Kubernetes clients for their tests (some minutes, 1 GB of modules)

$(BIN)/pebble:
	@mkdir -p $(BIN)
	GOBIN=$(abspath $(BIN)) $(GO) install github.com/letsencrypt/pebble/v2/cmd/pebble@v2.10.1

$(BIN)/external-dns:
	@mkdir -p $(BIN)
	GOBIN=$(abspath $(BIN)) $(GO) install sigs.k8s.io/external-dns@$(EXTERNAL_DNS)

$(BIN)/lego:
	@mkdir -p $(BIN)
	@set -e; tmp=$$(mktemp -d); printf 'module clients\n\ngo 1.26\n\nrequire github.com/go-acme/lego/v4 v4.26.0\n' > $$tmp/go.mod; \
	(cd $$tmp && GOFLAGS=-mod=mod $(GO) build -o $(abspath $(BIN))/lego github.com/go-acme/lego/v4/cmd/lego); rm -rf $$tmp

clean: ## remove what was built; data folders stay
	rm -rf $(BIN)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16
