FUZZTIME ?= 20s
TESTFLAGS ?=
# Tests that run at the same time in each package: most wait for servers and timers, so more than there are cores.
PARALLEL ?= 6
DURATION ?= 2m
SEED ?= 0
CHAOSFLAGS ?=
PEERS ?=
ROUNDS ?= 9

# Modules of their own, for what the library must not depend on.
MODULES := redisstreamprom redisstreamotel cmd/redisstream adminui/browsertest examples/outbox benchmarks

LINT_VERSION := v2.15.0
LINT_DIR := $(CURDIR)/bin/golangci-lint-$(LINT_VERSION)
LINT := $(LINT_DIR)/golangci-lint

.PHONY: test monitoring browser vet lint bench bench-partitions fuzz chaos redis

## test: all tests, with the race detector; installs redis-server if there is none
test: redis
	go build -race ./... # first: the compiler would keep the cores busy while tests look at times
	go test -race -parallel $(PARALLEL) $(TESTFLAGS) ./...
	cd redisstreamprom && go test -race -parallel $(PARALLEL) $(TESTFLAGS) .
	cd redisstreamotel && go test -race -parallel $(PARALLEL) $(TESTFLAGS) ./...
	cd cmd/redisstream && go test -race -parallel $(PARALLEL) $(TESTFLAGS) ./...
	go test $(TESTFLAGS) -run '^TestPubSub_reconnect$$' . # Watermill's own test races with itself

## monitoring: alerts and dashboard with a real Prometheus; apt-get install prometheus
monitoring: redis
	cd redisstreamprom && go test $(TESTFLAGS) ./monitoringtest

## browser: the web page in a real Chromium; apt-get install chromium
browser: redis
	cd adminui/browsertest && go test $(TESTFLAGS) ./...

## vet: go vet and go mod tidy, in all modules
vet:
	@set -e; for module in . $(MODULES); do echo "vet $$module"; (cd $$module && go vet ./... && go mod tidy -diff); done

## lint: golangci-lint, of the one version that .golangci.yml is written for, in all modules
lint: $(LINT)
	@set -e; for module in . $(MODULES); do echo "lint $$module"; (cd $$module && $(LINT) run); done

$(LINT):
	GOBIN=$(LINT_DIR) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

## bench: the comparison with peers; writes benchmarks/RESULTS.md. PEERS=all: with those on other servers; writes benchmarks/PEERS.md
bench: redis
	cd benchmarks && go run . $(if $(PEERS),-peers $(PEERS))

## bench-partitions: topics with partitions in a cluster, with the servers on one core and the measured process on the other; writes benchmarks/PARTITIONS.md
bench-partitions: redis
	cd benchmarks && go build -o ../bin/benchmarks . && REDIS_SERVER=$(CURDIR)/benchmarks/pinned-redis-server taskset -c 1 ../bin/benchmarks -partitions -rounds $(ROUNDS)

## fuzz: each fuzz target for FUZZTIME
fuzz: redis
	@set -e; \
	for package in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n 1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$package/*_test.go | cut -d ' ' -f 2); do \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

## chaos: everything goes wrong at random for DURATION; with the printed SEED, by the same schedule again; CHAOSFLAGS=-cluster, -partitions
chaos: redis
	go run ./internal/chaos -duration $(DURATION) -seed $(SEED) $(CHAOSFLAGS)

redis:
	@scripts/install-redis
