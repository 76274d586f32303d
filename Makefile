# demo   serve examples/love-cat at https://love.cat until Ctrl+C
# test   everything: check, then the real tests (nginx, browsers, users, namespaces)
# check  format, lint, types and unit tests, in under a minute
# bench  measure, as ratios within one run
# lock   pin the dependencies anew
#
# Each works alone from a fresh clone, installs what is missing, and says so. Another Python: make PYTHON=python3.13 demo

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
EXAMPLE := examples/love-cat/node_modules/.package-lock.json
CLIENTS := tests/clients/node_modules/.package-lock.json

# What each target runs that may be missing: PROGRAM=PACKAGE. Playwright brings its own node, which needs libatomic.
FOR_DEMO := node=nodejs npm=npm
FOR_TEST := $(FOR_DEMO) nginx=nginx chromium=chromium firefox-esr=firefox-esr certutil=libnss3-tools \
	keytool=default-jdk-headless sudo=sudo ip=iproute2 ss=iproute2 curl=curl openssl=openssl ps=procps \
	unshare=util-linux setpriv=util-linux update-ca-certificates=ca-certificates \
	wget=wget git=git gnutls-cli=gnutls-bin ruby=ruby go=golang-go javac=default-jdk-headless mkcert=mkcert caddy=caddy \
	libatomic.so.1=libatomic1 faketime=faketime strace=strace /usr/share/i18n/charmaps=locales \
	gsettings=libglib2.0-bin dbus-run-session=dbus-daemon /usr/libexec/dconf-service=dconf-gsettings-backend \
	/usr/share/glib-2.0/schemas/org.gnome.system.proxy.gschema.xml=gsettings-desktop-schemas
FOR_BENCH := $(FOR_TEST) caddy=caddy wrk=wrk h2load=nghttp2-client

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_LINK_MODE := copy
# As the browser and curl do: a company's own proxy is trusted where its machine trusts it.
export UV_SYSTEM_CERTS := 1
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

# Only root can make the private machines of the real tests. Nothing of root's is left behind in the clone.
AS_ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo --preserve-env --set-home PYTHONDONTWRITEBYTECODE=1 \
	PYTEST_ADDOPTS="-pno:cacheprovider")

.PHONY: demo test check bench lock

demo: $(VENV)/.runtime
	@scripts/install-missing $(FOR_DEMO)
	@$(MAKE) --silent --no-print-directory $(EXAMPLE)
	@scripts/demo

test: check
	@scripts/install-missing $(FOR_TEST)
	@$(MAKE) --silent --no-print-directory $(EXAMPLE) $(CLIENTS)
	$(AS_ROOT) $(BIN)/pytest tests/real

check: $(VENV)/.everything
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/pytest tests/unit

bench: $(VENV)/.everything
	@scripts/install-missing $(FOR_BENCH)
	@$(MAKE) --silent --no-print-directory $(EXAMPLE)
	$(AS_ROOT) $(BIN)/python tests/bench

lock: $(VENV)/.tools
	$(UV) compile --quiet --upgrade --universal --python-version 3.11 --group dev --extra nginx --generate-hashes \
		--no-header --no-annotate --output-file requirements.lock pyproject.toml

# The tools that install, as pinned and hashed as what they install.
$(VENV)/.tools:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("devtls needs Python 3.11 or newer and \
	$(PYTHON) is {}.{}; name another one: make PYTHON=python3.13 …".format(*v))'
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(BIN)/pip install --quiet --require-hashes --requirement /dev/stdin
	@$(UV) install --quiet --constraints requirements.lock hatchling editables
	@touch $@

# What a user of devtls has: the constraints pin the versions and carry the hashes.
$(VENV)/.runtime: pyproject.toml requirements.lock | $(VENV)/.tools
	@echo "installing devtls and nginx into $(VENV)"
	@$(UV) install --quiet --constraints requirements.lock --no-build-isolation --editable '.[nginx]'
	@touch $@

$(VENV)/.everything: pyproject.toml requirements.lock | $(VENV)/.tools
	@echo "installing devtls and the tools of its development into $(VENV)"
	@$(UV) install --quiet --require-hashes --requirements requirements.lock
	@$(UV) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(EXAMPLE): examples/love-cat/package-lock.json
	@echo "installing the example's packages: npm ci"
	@cd examples/love-cat && npm ci --no-audit --no-fund --no-progress --loglevel=error >/dev/null
	@touch $@

$(CLIENTS): tests/clients/package-lock.json
	@echo "installing TLS clients that Debian does not package: npm ci"
	@cd tests/clients && npm ci --no-audit --no-fund --no-progress --loglevel=error >/dev/null
	@touch $@
