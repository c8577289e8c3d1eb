// The kernels for any machine: 128-bit vectors, SSE2 on x86-64 and NEON on arm64.
#include "optimize.h"
#define VL 4
#define MR 6
#if defined(__aarch64__)
#define NV 4
#else
#define NV 2
#endif
#define ISA_NAME "baseline"
#define ISA cpu_isa_baseline
#include "instance.h"
