# What the README's two commands do not need.

.PHONY: test ci cuda gpu-kit kernels test-cuda test-cudnn generate test-clients test-jupyter test-neon test-mlflow torture

test:
	go test ./...

ci:
	bash .ci/run

# The binary with the GPU, bin/ddpmlab. It needs nothing of NVIDIA's to build or to start: cgo finds a header and an empty
# library of our own, and the driver is looked for when the program starts.
CUDRV := $(CURDIR)/ddpm/engine/cuda/cudrv
CUDA := CGO_CFLAGS="-O2 -g -I$(CUDRV)/include" CGO_LDFLAGS="-L$(CUDRV)/lib"

cuda:
	$(CUDA) go build -tags ddpmcuda -o bin/ ./cmd/ddpmlab

# The folder gpukit: the acceptance test for a machine with a GPU and without Go. It needs the C library of 2022 or newer
# (glibc 2.35) and nothing else.
gpu-kit:
	rm -rf gpukit
	mkdir gpukit
	$(CUDA) go build -tags ddpmcuda -ldflags '-s -w' -o gpukit/ ./cmd/ddpmlab
	cp internal/gpukit/kit/* gpukit/
	! readelf -d gpukit/ddpmlab | grep NEEDED | grep -Ev '\[(libc|libm|libdl|libpthread|ld-linux-x86-64)\.so\.[0-9]\]'
	! readelf -V gpukit/ddpmlab | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | grep -E '_2\.(3[6-9]|[4-9][0-9])$$'
	xz -1 -T0 gpukit/ddpmlab
	test $$(du -sm gpukit | cut -f1) -lt 30 # MiB

# The GPU's kernels, compiled with nvcc from PyPI, to be checked in with their sources.
kernels:
	ddpm/engine/cuda/kernels/build

# The GPU path without a GPU: on a test double of the driver, which runs the same kernels compiled by g++.
# cuDNN has one too, which computes on the driver's.
FAKE := $(or $(TMPDIR),/tmp)/ddpmlab-fakecuda
DOUBLES := DDPMLAB_LIBCUDA=$(FAKE)/libcuda.so.1 FAKE_CUDNN=$(FAKE)/libcudnn.so.9

test-cuda: gpu-kit
	@mkdir -p $(FAKE)
	g++ -std=c++17 -O2 -fPIC -mtls-dialect=gnu2 -shared -pthread -Wall -Wextra -Werror -o $(FAKE)/libcuda.so.1 \
		ddpm/engine/cuda/fake/*.cc -x c++ ddpm/engine/cuda/kernels/all.cu
	g++ -std=c++17 -O2 -fPIC -shared -Wall -Wextra -Werror -o $(FAKE)/libcudnn.so.9 ddpm/engine/cuda/fake/cudnn/cudnn.cc
	gcc -shared -x c /dev/null -o $(FAKE)/libcublasLt.so.99
	$(CUDA) go vet -tags ddpmcuda ./ddpm ./ddpm/engine/cuda/... ./ddpm/engine/device ./cmd/ddpmlab
	$(CUDA) $(DOUBLES) DDPMLAB_CUDNN=off go test -tags ddpmcuda ./ddpm/engine/cuda/... ./ddpm/engine/device
	$(CUDA) $(DOUBLES) DDPMLAB_CUDNN=off go test -tags ddpmcuda -run CUDA ./ddpm ./cmd/ddpmlab
	rm -rf $(FAKE)/kit
	$(DOUBLES) DDPMLAB_CUDNN=$(FAKE)/libcudnn.so.9 OUT=$(FAKE)/kit gpukit/correctness --small
	$(DOUBLES) DDPMLAB_CUDNN=$(FAKE)/libcudnn.so.9 OUT=$(FAKE)/kit gpukit/speed --small
	gpukit/ddpmlab gpu report $(FAKE)/kit/report.json

# What cuDNN plans for our convolutions, on a GPU that is described to it. Installs cuDNN and cuBLAS from PyPI (1 GB, kept in the
# user's cache). `make test-cuda` builds the driver's double first.
CUDNN := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/ddpmlab/cudnn-9.19.0.56

test-cudnn: $(CUDNN)
	$(CUDA) DDPMLAB_CUDNN=$(CUDNN)/nvidia/cudnn/lib/libcudnn.so.9 DDPMLAB_LIBCUDA=$(FAKE)/libcuda.so.1 \
		go test -tags ddpmcuda -count=1 -v -run CUDNN ./ddpm ./ddpm/engine/cuda ./ddpm/engine/cuda/cudnn

$(CUDNN):
	rm -rf $@.part
	python3 -m venv $@.venv
	$@.venv/bin/pip install --quiet --no-deps --target $@.part nvidia-cudnn-cu13==9.19.0.56 nvidia-cublas==13.1.0.3
	rm -rf $@.venv
	mv $@.part $@

# Tests that install programs of their own, as root with apt-get. CI runs them last.
test-clients: test-jupyter test-neon test-mlflow

# The kernels' NEON instance, built for 64-bit ARM and run by an emulator, with traps for
# undefined behaviour. Without the sanitizer's library: it needs none of ARM's.
NEON := $(or $(TMPDIR),/tmp)/ddpmlab-kernels-neon

test-neon:
	.ci/debian aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu /usr/aarch64-linux-gnu/include/stdio.h=libc6-dev-arm64-cross qemu-aarch64=qemu-user
	aarch64-linux-gnu-gcc -O2 -Wall -Wextra -Werror -Wno-psabi -fsanitize=undefined -fsanitize-undefined-trap-on-error \
		-static -o $(NEON) ddpm/engine/cpu/*.c ddpm/engine/cpu/testdata/kernels_test.c -lm
	qemu-aarch64 $(NEON)
	@rm -f $(NEON)

# JupyterLab in a browser, jupyter console, nbconvert and papermill. Screenshots stay in
# artifacts/clients.
test-jupyter:
	go test -tags clients -count=1 -timeout 20m ./kernel/clienttest

# MLflow's client and server, TensorBoard and pyarrow on exported runs, in an environment of
# their own (1 GB, kept in the user's cache).
test-mlflow:
	go test -tags clients -count=1 -timeout 20m -run TestClient ./experiments

# The tables of what notebook cells can import.
generate:
	go generate ./...

# Kills a process that writes to a database at 1,000 random moments.
torture:
	go test ./experiments -run 'TestKill$$' -kills 1000 -v
