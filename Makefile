# SPDX-License-Identifier: Apache-2.0
# Each target calls what it needs before it; `make setup` done twice does nothing the second time.

PYTHON := .venv/bin/python
HOLDFAST := .venv/bin/holdfast

# Real objects, none written here. Debian's suites; on Ubuntu the same packages of its own release.
CORPUS := sid:udev-hid-bpf sid:libbpftune0 trixie:libbpf-tools trixie:xdp-tools trixie:qemu-system-x86 \
          trixie:systemd trixie:systemd-container trixie:libsystemd-shared

# Kernels that tests boot and read: the newest of each series, as its distribution ships it. The archive drops a
# backported series soon after the next one; it is no failure when one of the second list is gone. On Ubuntu: its own.
KERNELS := bullseye-security:linux-image-5.10.*-cloud-amd64 bookworm:linux-image-6.1.*-cloud-amd64 \
           trixie:linux-image-6.12.*-cloud-amd64 trixie-backports:linux-image-7.*-cloud-amd64
KERNELS_IF_LISTED := trixie-backports:linux-image-6.18.*-cloud-amd64

.PHONY: setup run test test-slow corpus kernels bench bench-rss score truth lint format types floors docs wheel clean

setup:
	@scripts/setup-packages
	@scripts/setup-venv
	@$(PYTHON) scripts/build-libbpf || echo "setup: no libbpf of our own; the system's is used, older rules apply" >&2
	@$(PYTHON) scripts/build-bpf

run: setup
	@$(HOLDFAST) rss demo

# Without a network the tests of the corpus are skipped, except in CI.
corpus: setup
	@$(PYTHON) scripts/fetch-corpus $(CORPUS) || [ "$$CI" != true ]

# As corpus.
kernels: setup
	@$(PYTHON) scripts/fetch-kernels $(KERNELS:%='%') --if-listed $(KERNELS_IF_LISTED:%='%') || [ "$$CI" != true ]

# Boots every one of the kernels once with a small set of objects; tests of guests use the oldest and the newest.
test: corpus kernels
	@$(PYTHON) -m pytest $(PYTEST_ARGS)

# What takes long, with every kernel; and every RSS program on 200,000 frames.
test-slow: corpus kernels
	@HOLDFAST_KERNELS=$$(ls build/kernels/linux-image-*.deb | paste -sd:) $(PYTHON) -m pytest -m slow $(PYTEST_ARGS)
	@HOLDFAST_RSS_FRAMES=200000 $(PYTHON) -m pytest -k many_frames tests/unit/rss tests/live/rss $(PYTEST_ARGS)

bench: corpus kernels
	@$(PYTHON) -m bench
	@$(PYTHON) -m bench.check_all
	@$(PYTHON) -m bench.catalogue --ready 'debian/*' --rounds 5
	@$(PYTHON) -m bench.add
	@$(PYTHON) -m bench.turn

bench-rss: setup
	@$(PYTHON) -m bench.rss
	@$(PYTHON) -m bench.rss_keys
	@$(PYTHON) -m bench.rss_batch
	@$(PYTHON) -m bench.rss_tap

# What is predicted against the rows that guests gave before (tests/truth/rows.tsv). Boots nothing; seconds.
score: corpus
	@$(HOLDFAST) verify --score build/corpus

# What is predicted against what really loads: here, and in every kernel of the catalogue, booted. Their packages
# are those of HOLDFAST_KERNELS (folders) and those that were fetched before; the others are fetched, where the
# archive still has them. What guests say goes into the rows, then comes the score. Without KVM it takes hours;
# interrupted, it goes on where it was. Of verify's status, 4 and 8 (something fails, or was not tried) are no error.
# TRUTH_KERNELS names fewer: globs of ids, or packages.
TRUTH_KERNELS := all
truth: corpus
	@env -u HOLDFAST_KERNELS $(PYTHON) -m pytest -m "corpus and (live or oracle)" $(PYTEST_ARGS)
	@$(HOLDFAST) verify build/corpus $(patsubst %/holdfast.toml,%,$(wildcard bundles/*/*/holdfast.toml)) $(TRUTH_KERNELS:%=--kernel '%') --probe --rows tests/truth/rows.tsv > build/truth.txt \
	 || [ $$(($$? & 3)) = 0 ]
	@tail -n 40 build/truth.txt
	@$(HOLDFAST) verify --score build/corpus

lint: setup
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

format: setup
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

types: setup
	@.venv/bin/mypy

floors: setup
	@.venv/bin/lint-imports

docs: setup
	@$(PYTHON) scripts/check-docs

# Carries the libbpf and the BPF objects that setup built, so it is for this platform.
wheel: setup
	@$(PYTHON) -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf build dist .venv src/holdfast/_bundled .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find bundles -name '*.bpf.o' -delete
