# What one needs to know to work on Decima: run, test, bench, lint. Each installs what is missing, by apt-get, npm and pip.

# Which cargo profile `make run` builds: `dev` is ready sooner, `release` is what figures are about.
PROFILE ?= dev

.PHONY: run test bench lint ui clean

# With jemalloc, which knows who holds the heap.
run: ui
	cargo build --profile $(PROFILE) --features jemalloc -p decima
	scripts/run $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

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

clean:
	cargo clean
	rm -rf ui/dist ui/node_modules
