# Every target sets up what it needs and is safe to repeat; nothing is downloaded once it is set up.
#   make run    serve on 127.0.0.1:5353 from a built-in example cluster, no root needed
#   make test   all tests, linters included; ARGS goes to pytest: make test ARGS="tests/unit -x"
#   make test-node  drills on a booted Debian root with real systemd (root only, not part of make test)
#   make test-ansible  those of them that run the playbooks of ansible/
#   make lint   ruff and mypy alone      make native  the C extension alone
#   make deb    dist/nodedns_*.deb of what is committed
#   make rpm    dist/nodedns-*.rpm of the same; make rpm-wheels downloads the libraries that go into it
#   make bench  against the peers found  make fuzz    RUNS inputs per parser     make clean

# The distribution's Python: its build is optimised, and it is the one the packages run on.
PYTHON ?= /usr/bin/python3
VENV := .venv
PY := $(VENV)/bin/python
# Another version of Python does not see what is in .venv. Asked anew in the recipe: the first run installs it.
VERSION = $(shell "$(PYTHON)" -c "import sys; print(*sys.version_info[:2], sep='.')" 2>/dev/null)
SET_UP = $(VENV)/python$(VERSION).stamp
ANSIBLE := build/ansible-venv
NATIVE := nodedns/native/__init__.abi3.so
SOURCES := $(wildcard nodedns/native/*.c nodedns/native/*.h)
RUNS ?= 1000000
export PIP_DISABLE_PIP_VERSION_CHECK := 1
.PHONY: run test test-node test-ansible lint bench fuzz native deb rpm rpm-wheels clean system-run system-test \
    system-node system-bench system-deb system-rpm

# A Debian package is named here with the command that succeeds once what it is for is there.
RUN := python3 python3-venv python3-dev gcc libc6-dev
TEST := $(RUN) bind9-dnsutils dnsperf clang libclang-rt-dev nftables iptables iproute2 knot knot-dnsutils ldnsutils musl-tools \
	prometheus zsh fish groff-base tmux fstrm-bin dnstap-ldns
BENCH := $(TEST) unbound
DEB := git debhelper dh-python pybuild-plugin-pyproject python3-all-dev python3-setuptools lintian
RPM := git gcc libc6-dev python3 python3-dev python3-setuptools rpm rpmlint
NODE := $(TEST) $(DEB) $(RPM) mmdebstrap man-db
has-python3 = test -x "$(PYTHON)"
has-python3-venv = "$(PYTHON)" -c "import venv, ensurepip"
has-python3-dev = test -f "$$("$(PYTHON)" -c "import sysconfig; print(sysconfig.get_path('include'))")/Python.h"
has-gcc = command -v gcc
has-libc6-dev = test -f /usr/include/stdio.h
has-bind9-dnsutils = command -v dig
has-nftables = test -x /usr/sbin/nft
has-iptables = test -x /usr/sbin/iptables-legacy && test -x /usr/sbin/iptables-nft
has-iproute2 = command -v ip
has-dnsperf = command -v dnsperf
has-clang = command -v clang
has-libclang-rt-dev = ls "$$(clang -print-resource-dir)"/lib/linux/libclang_rt.fuzzer-*.a
has-git = command -v git
has-debhelper = command -v dh
has-dh-python = command -v dh_python3
has-pybuild-plugin-pyproject = test -d /usr/share/doc/pybuild-plugin-pyproject
has-python3-all-dev = test -d /usr/share/doc/python3-all-dev
has-python3-setuptools = /usr/bin/python3 -c "import setuptools"
has-rpm = command -v rpmbuild
has-rpmlint = command -v rpmlint
has-lintian = command -v lintian
has-mmdebstrap = command -v mmdebstrap
has-man-db = command -v man
has-knot = command -v knotd
has-knot-dnsutils = command -v kdig
has-ldnsutils = command -v drill
has-musl-tools = command -v musl-gcc
has-tmux = command -v tmux
has-fstrm-bin = command -v fstrm_capture
has-dnstap-ldns = command -v dnstap-ldns
has-prometheus = command -v prometheus && command -v promtool
has-zsh = command -v zsh
has-fish = command -v fish
has-groff-base = command -v groff
has-unbound = test -x /usr/sbin/unbound

# Root installs what is missing; anyone else is told how. A fresh image has no package lists, an old one stale lists.
define system
@missing=""; $(foreach package,$(1),{ $(has-$(package)); } >/dev/null 2>&1 || missing="$$missing $(package)";) \
if [ -z "$$missing" ]; then exit 0; fi; \
if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
    echo "nodedns: this machine lacks$$missing; as root: apt-get update && apt-get install$$missing" >&2; exit 1; fi; \
export DEBIAN_FRONTEND=noninteractive; install="apt-get -qq install -y --no-install-recommends$$missing"; \
echo "installing$$missing"; ls /var/lib/apt/lists/*Packages* >/dev/null 2>&1 || apt-get -qq update; \
$$install >/dev/null || { apt-get -qq update && $$install >/dev/null; }
endef

run: system-run native
	@exec $(PY) -m nodedns run --example

test: system-test native
	@$(PY) -m pytest $(ARGS)

test-node: system-node native rpm-wheels $(ANSIBLE)/stamp
	@$(PY) -m pytest tests/node -s $(ARGS)

test-ansible: system-node native $(ANSIBLE)/stamp
	@$(PY) -m pytest tests/node/test_ansible*.py -s $(ARGS)

lint: system-run native
	@$(PY) -m ruff check && $(PY) -m ruff format --check && $(PY) -m mypy

bench: system-bench native $(VENV)/bench.stamp
	@$(PY) -m tests.bench.run $(ARGS)

# Builds what is committed.
deb: system-deb
	@packaging/deb/build

rpm: system-rpm
	@packaging/rpm/build

# The one step that needs a network; what it fetched is kept until a lock changes.
rpm-wheels: build/wheels.stamp

fuzz: system-test native
	@$(PY) -m tests.fuzz.run --runs $(RUNS)

native: $(NATIVE)

system-run: ; $(call system,$(RUN))
system-test: ; $(call system,$(TEST))
system-node: ; $(call system,$(NODE))
system-deb: ; $(call system,$(DEB))
system-rpm: ; $(call system,$(RPM))
system-bench: ; $(call system,$(BENCH))

# editable_mode=compat: a path entry instead of an import hook, which every process would load. Build isolation is off so that
# a change in C compiles without a network. -W ignore: Debian 12's setuptools warns of its own beta.
$(SET_UP): pyproject.toml setup.py | system-run
	@echo "setting up $(VENV)"; rm -rf $(VENV) && "$(PYTHON)" -m venv $(VENV) && $(PY) -m pip -q install "setuptools>=65.5" wheel && \
	$(PY) -m pip -q install --no-build-isolation --config-settings editable_mode=compat -e ".[dev]" && touch $(SET_UP)

$(NATIVE): $(SET_UP) $(SOURCES)
	@$(PY) -W ignore setup.py -q build_ext --inplace && touch $@

build/wheels.stamp: packaging/rpm/wheels packaging/rpm/wheels.lock packaging/rpm/cffi.lock | $(SET_UP)
	@PYTHON=$(PY) packaging/rpm/wheels && touch $@

$(VENV)/bench.stamp: $(SET_UP)
	@$(PY) -m pip -q install --no-build-isolation --config-settings editable_mode=compat -e ".[dev,bench]" && touch $@

$(ANSIBLE)/stamp: ansible/requirements.txt | system-run
	@echo "setting up $(ANSIBLE)"; rm -rf $(ANSIBLE) && "$(PYTHON)" -m venv $(ANSIBLE) && \
	$(ANSIBLE)/bin/pip -q install -r ansible/requirements.txt && touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache nodedns/native/*.so
	find nodedns tests -name __pycache__ -prune -exec rm -rf {} +
