# What one needs to know to work on Decima: run, test, bench, lint. Each installs what is missing, by apt-get, npm and pip.

# Which cargo profile `make run` builds: `dev` is ready sooner, `release` is what figures are about.
PROFILE ?= dev

.PHONY: run build test bench lint ui charm image clean

run: build
	scripts/run $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

# The binary with the screen in it, and with jemalloc, which knows who holds the heap.
build: ui
	cargo build --profile $(PROFILE) --features jemalloc --locked -p decima

test:
	scripts/test

bench:
	scripts/bench

lint:
	scripts/lint

# The screen, which the binary embeds when it is built.
ui:
	scripts/need node
	scripts/ui build

# What is shipped: the Juju charm, and the container image that it runs.
charm:
	scripts/charm

image: ui
	scripts/image

clean:
	cargo clean
	rm -rf ui/dist ui/node_modules
