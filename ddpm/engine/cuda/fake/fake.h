// fake.h: a test double of libcuda.so.1. It has no GPU and makes none up: memory is the host's, kernels are those of
// ../kernels compiled by g++, and what a driver would refuse or a GPU get wrong is told on standard error.
#pragma once
#include "../kernels/portable.h"

#include <functional>

enum result {
  ok = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialised = 3,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  invalid_handle = 400,
  not_found = 500,
  not_ready = 600,
  launch_failed = 719,
  capture_unsupported = 900,
  capture_implicit = 906,
};

// run_grid runs all blocks of a kernel; shared is the size of its dynamic shared memory.
result run_grid(const fake_kernel &k, void **args, fake_dim blocks, fake_dim threads, unsigned shared);

const fake_kernel *find_kernel(const char *name);

// fault says what went wrong, and returns r.
__attribute__((format(printf, 2, 3))) result fault(result r, const char *format, ...);
