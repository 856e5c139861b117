# make help lists what there is to make.

GO      ?= go
PKGS    := ./...
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATIC  := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION)"

# How long the tests of one package may take: on a busy machine, ten times as long as on
# a quiet one.
LIMIT ?= 30m

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help build run test check lint soak fuzz netns bench bench-peers bench-scale bench-hang bench-keep bench-report

help: ## list these targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the program, as one static binary in bin/
	$(STATIC) -o bin/internaldns ./cmd/internaldns

run: ## serve the embedded sample organisation on port 5300
	$(GO) run ./cmd/internaldns serve

test: ## all tests that need neither root nor other programs
	$(GO) test -timeout $(LIMIT) $(PKGS)

check: lint ## what CI asks of a change, but for root and Debian's clients
	$(GO) test -timeout $(LIMIT) -race -shuffle=on $(PKGS)

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "gofmt would change these files"; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) run $(STATICCHECK) $(PKGS)

netns: build ## as root: every question over a real 6PN, and dig, host, nslookup
	$(GO) test -count=1 ./test/netns

FUZZTIME ?= 60s

fuzz: ## each fuzz target for FUZZTIME
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's,/[^/]*:func , ,' | sort | while read -r package target; do \
		$(call step,$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$package) || exit; \
	done

# How many questions soak asks of random registries, how many random packets it
# sends over each transport, how many answers it looks at while the registry
# changes, and how often it repeats what begins from another seed each time. CONTRIBUTING.md says when to run it.
DRAWS   ?= 1000000
PACKETS ?= 2000000
ANSWERS ?= 10000000
ROUNDS  ?= 5

# How often soak kills the server, and how many times as many random changes of
# the registry, losses of power, failing disks and damaged files it tries as CI.
KILLS ?= 1000
TIMES ?= 10

soak: ## what takes too long for CI; write the result down in docs/soak.md
	@$(call step,$(GO) test -timeout 0 -count 1 -run TestAnswersEqualTheTwins ./zone -zone.draws $(DRAWS))
	@$(call step,$(GO) test -timeout 0 -count 1 -run Random ./resolver -packets $(PACKETS))
	@$(call step,$(GO) test -timeout 0 -count 1 -run NeverMixes -v ./test/e2e -e2e.answers $(ANSWERS))
	@$(call step,$(GO) test -timeout 0 -count $(ROUNDS) -race -shuffle on ./registry/... ./zone/... ./resolver/...)
	@$(call step,$(GO) test -timeout 0 -count 1 -v -run Killed ./test/crash -rounds $(KILLS))
	@$(call step,$(GO) test -timeout 0 -count 1 ./registry/disk -disk.soak $(TIMES))
	@$(call step,$(GO) test -timeout 0 -count 1 ./registry -registry.soak $(TIMES))
	@$(call step,$(GO) test -timeout 0 -count 1 ./registry/index -index.soak $(TIMES))
	@$(MAKE) --no-print-directory fuzz

bench: ## the benchmarks beside the code
	$(GO) test -run '^$$' -bench . $(PKGS)

bench-peers: ## other DNS servers side by side; writes bench/RESULTS.md
	@for server in knotd nsd named pdns_server unbound dnsdist dnsmasq; do command -v $$server >/dev/null || missing=1; done; \
		test -z "$$missing" || echo "missing servers come with: apt-get install knot nsd bind9 pdns-server pdns-backend-bind unbound dnsdist dnsmasq-base"
	$(GO) run ./bench/cmd/bench peers --install-coredns
	$(GO) run ./bench/cmd/bench report

bench-scale: ## a million machines: memory, updates, what updates cost queries
	$(GO) run ./bench/cmd/bench scale

bench-hang: ## local names while upstreams hang, and fail-over
	$(GO) run ./bench/cmd/bench hang

bench-keep: ## writes to a registry on disk and in etcd, and how soon answers show them
	$(GO) run ./bench/cmd/bench keep

bench-report: ## bench/RESULTS.md and its charts, from the newest saved figures
	$(GO) run ./bench/cmd/bench report

# step shows a command, runs it, and says how long it took.
step = printf '\n$$ %s\n' "$(subst ",\",$(1))"; begun=$$(date +%s); $(1) && echo "took $$(($$(date +%s) - begun)) s"
