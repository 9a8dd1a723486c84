# A bare Debian needs Go, git and make; what else the tests run is installed by
# scripts/packages.sh. Works with GNU make; on FreeBSD, gmake.

GO ?= go
GOFMT ?= gofmt
TEST_TIMEOUT ?= 20m
FUZZ_COUNT ?= 5000
export GO

# nsd-checkzone and the servers live where a user's PATH on Debian does not look.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

PROGRAMS := $(foreach p,zonebuild acmehook,$(if $(wildcard cmd/$(p)),$(p)))
# The version comes from the build info, also where GOFLAGS says no; but not in
# a checkout that git refuses to read (another user's).
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
BUILDFLAGS := -trimpath -buildvcs=$(BUILDVCS) -tags urfave_cli_no_docs

.NOTPARALLEL:

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build the programs into bin/
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o bin/ $(addprefix ./cmd/,$(PROGRAMS))

.PHONY: demo
demo: build ## build and sign an example tree, step by step, in a few seconds
	@sh scripts/demo.sh bin/zonebuild

.PHONY: test
test: packages unit fuzz ## run all tests, after installing the tools they need

.PHONY: unit
unit: ## run the Go tests only
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout $(TEST_TIMEOUT) ./...

.PHONY: fuzz
fuzz: ## run each fuzz target FUZZ_COUNT times (without the race detector)
	@sh scripts/fuzz.sh $(FUZZ_COUNT)

.PHONY: packages
packages: ## install the packages that the tests need (Debian)
	@sh scripts/packages.sh

.PHONY: check check-fmt check-vet check-staticcheck check-tidy check-layers check-scripts
check: check-fmt check-vet check-staticcheck check-tidy check-layers check-scripts ## check format, vet, staticcheck, modules, layers, scripts

check-fmt:
	@files=$$($(GOFMT) -l .); [ -z "$$files" ] || { echo "gofmt: not formatted:"; echo "$$files"; exit 1; }

check-vet:
	GOOS=linux CGO_ENABLED=0 $(GO) vet ./...
	GOOS=freebsd CGO_ENABLED=0 $(GO) vet ./...

check-staticcheck:
	$(GO) tool staticcheck ./...

check-tidy:
	$(GO) mod tidy -diff

check-layers:
	$(GO) test .

check-scripts: packages
	shellcheck scripts/*.sh .ci/run

# The sizes that the bars of docs/scale.md are meant for. ONLY names sections,
# with commas; none means all. A million names: make bench SIZES=10000,1000000
N = 100000
RUNS = 3
ONLY =
SIZES = 10000,100000
COUNT = 1

# Built, not run by "go run": an interrupt then reaches it, and it cleans up.
.PHONY: bin/bench
bin/bench:
	$(GO) build -buildvcs=false -o bin/bench ./scripts/bench

.PHONY: bench
bench: build packages bin/bench ## compare with other signers, at length: N= RUNS= ONLY= SIZES=
	bin/bench -n $(N) -runs $(RUNS) -only "$(ONLY)" -sizes $(SIZES) -out bench/results.json bin/zonebuild

.PHONY: bench-smoke
bench-smoke: build packages bin/bench ## the same on small zones, in less than a minute
	@bin/bench -n 500 -runs 1 -sizes 200,400 -brief bin/zonebuild

.PHONY: gobench
gobench: ## run the Go benchmarks, COUNT times, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) -timeout 60m ./...

.PHONY: repro
repro: ## build the programs twice, apart, and compare them
	@sh scripts/repro.sh

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
