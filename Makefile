# What the README's two commands do not need.

.PHONY: test ci generate

test:
	go test ./...

ci:
	bash .ci/run

# The tables of what notebook cells can import.
generate:
	go generate ./...
