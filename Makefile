# Two commands set everything up on a fresh machine:
#   make simulate   a tour of the plugin on a simulated TEE and a simulated kubelet
#   make test       style, types and the fast tests, on one Python
# and one builds what is installed:
#   make            pkg/tee-device-plugin, pkg/libteememca.so, pkg/tee-limit and, with SDK and
#                   certificate, pkg/<uuid>.sec

VENV := .venv
# The interpreter that makes the environment; the first that is new enough, unless named.
PYTHON ?=
CANDIDATES := python3 python3.14 python3.13 python3.12 python3.11

.PHONY: all executable library hook application image install uninstall help simulate test check bench \
	system-packages cluster-test clean
.DEFAULT_GOAL := all

# Each part is tried, so that one that can't be built here keeps nobody from the others.
all:
	@missing=; \
	for part in executable library hook application; do \
	  $(MAKE) --no-print-directory $$part || missing="$$missing $$part"; \
	done; \
	ls -l pkg; \
	if [ -n "$$missing" ]; then echo "error: not built:$$missing: see above" >&2; exit 1; fi

#   make executable | library | hook | application   one of them alone
executable: $(VENV)/nox
	@$(VENV)/bin/nox -s package

library:
	@$(MAKE) --no-print-directory -C ca library

hook:
	@$(MAKE) --no-print-directory -C ca hook

application:
	@$(MAKE) --no-print-directory -C ta sec

#   make image      the container image, by buildah, podman or docker; IMAGE=, BASE= and BUILDER=
image: executable
	@IMAGE='$(IMAGE)' BASE='$(BASE)' BUILDER='$(BUILDER)' deploy/docker/build.sh

#   make install    what is in pkg/, onto this host; DESTDIR= and PREFIX=
#   make uninstall  away with it
install uninstall:
	@DESTDIR='$(DESTDIR)' PREFIX='$(or $(PREFIX),/usr)' deploy/systemd/install.sh $@

help:
	@sed -n 's/^#   //p' $(MAKEFILE_LIST)

simulate: $(VENV)/plugin
	@$(VENV)/bin/tee-device-plugin simulate

#   make test TESTS=tests/unit/policy   style, types and these tests only
test: $(VENV)/nox
	@$(VENV)/bin/nox -s fast -- $(TESTS)

#   make check      after those of make test, all other tests that need no cluster, on every Python
check: test
	@$(VENV)/bin/nox -t check

#   make system-packages   Debian's packages that these and the cluster tests need (root)
system-packages: $(VENV)/bin/python
	@$(VENV)/bin/python -m tests.system_packages

#   make bench      what start, lists, flips and Allocate cost, beside the budgets
bench: $(VENV)/nox
	@$(VENV)/bin/nox -s bench

#   make cluster-test   the same plugin on a real one-node Kubernetes cluster (root, Go, Debian)
cluster-test: system-packages $(VENV)/nox
	@$(VENV)/bin/nox -s cluster

clean:
	rm -rf $(VENV) .nox build dist pkg

$(VENV)/plugin: $(VENV)/bin/python pyproject.toml Makefile
	@echo "Installing the plugin and what it needs from the Python package index ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[simulate]'
	@touch $@

$(VENV)/nox: $(VENV)/bin/python
	@echo "Installing nox from the Python package index ..."
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'nox>=2025.2.9'
	@touch $@

$(VENV)/bin/python:
	@for candidate in $${PYTHON:+"$$PYTHON"} $(if $(PYTHON),,$(CANDIDATES)); do \
	  command -v "$$candidate" >/dev/null 2>&1 || continue; \
	  "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { old="$$old $$candidate ($$("$$candidate" -V 2>&1))"; continue; }; \
	  "$$candidate" -c 'import venv, ensurepip' 2>/dev/null \
	    || { bare="$$bare $$candidate"; continue; }; \
	  echo "Making $(VENV) with $$("$$candidate" -V) ..."; \
	  exec "$$candidate" -m venv $(VENV); \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "error:$$bare has no venv module: install it (Debian: apt-get install python3-venv)," \
	    "or name another with PYTHON=..." >&2; \
	elif [ -n "$$old" ]; then \
	  echo "error: Python 3.11 or newer is needed, found only$$old:" \
	    "install one and name it with PYTHON=..." >&2; \
	else \
	  echo "error: no Python found ($${PYTHON:-$(CANDIDATES)}):" \
	    "install Python 3.11 or newer, or name it with PYTHON=..." >&2; \
	fi; exit 1
