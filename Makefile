# What the README's two commands do not need.

TORCH ?= $(HOME)/.cache/ddpmlab/torch-2.15.0

.PHONY: test ci generate bench-torch

test:
	go test ./...

ci:
	bash .ci/run

# The tables of what notebook cells can import.
generate:
	go generate ./...

# Training and sampling steps beside the same in PyTorch, installed on demand
# (several GB) into TORCH. Wants a quiet machine.
bench-torch: $(TORCH)/bin/python
	go run ./internal/bench -python $(TORCH)/bin/python

$(TORCH)/bin/python:
	python3 -m venv $(TORCH)
	$(TORCH)/bin/pip install --quiet torch==2.15.0 numpy || (rm -rf $(TORCH); false)
