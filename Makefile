# The commands of this repository. `make` alone lists them; each line's comment is its description there.
# ARGS passes arguments on: make demo ARGS=--hands-on, make test ARGS=alerting.

.DEFAULT_GOAL := help
.PHONY: demo test test-integrations test-crash test-archive test-full-disk test-detector lint bench bench-ingest bench-stats bench-detection assets sqlx help

demo: ## Live through a year of a real model in a few minutes, then stay up to look around
	@scripts/setup demo
	cargo run --release -- demo $(ARGS)

test: ## Run every test, the browser's included, beside a throw-away Postgres
	@scripts/test $(ARGS)

test-integrations: ## Run real clients against the real program (OpenTelemetry, BentoML; installed from PyPI)
	@scripts/test-integrations

test-crash: ## Kill the service a thousand times (ROUNDS=8, half an hour) and check what is stored
	@scripts/setup test
	BELLWETHER_CRASH_ROUNDS=$(or $(ROUNDS),8) cargo test --test crash killed -- --nocapture
	BELLWETHER_STREAMS=$(or $(STREAMS),400) scripts/with-postgres cargo test --test it exactly_once

test-archive: ## Try the archive against a server that speaks S3 (moto, from PyPI)
	@scripts/setup test
	@scripts/test-archive-s3

test-full-disk: ## Fill a small file system in memory and have retention free it; needs root
	@scripts/setup test
	scripts/with-postgres cargo test --test it full_disk -- --ignored --nocapture

test-detector: ## Hold 100,800 states of the drift detector against a computation in Python (SciPy, from PyPI)
	@scripts/test-detector

lint: ## Check the format and run clippy, with warnings as errors
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

bench: ## Measure everything, and print each figure with its goal; about a quarter of an hour
	@scripts/setup bench
	cargo bench --bench '*' $(ARGS)

bench-ingest: ## Measure the intake beside COPY by hand; ARGS=--help lists the parts
	@scripts/setup bench
	cargo bench --bench ingest -- $(ARGS)

bench-stats: ## Compare two files beside the peers installed by scripts/peers; ARGS=--help lists the parts
	cargo bench --bench stats -- $(ARGS)

bench-detection: ## Measure how quiet and how early the drift detector is; ARGS=--help lists the parts
	cargo bench --bench detection -- $(ARGS)

assets: ## Fetch the pinned third-party scripts into assets/vendor anew
	@scripts/assets

sqlx: ## Write the data of the checked SQL queries (.sqlx) anew
	@scripts/setup test
	@scripts/sqlx

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
