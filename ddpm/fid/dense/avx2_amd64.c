// The products for AVX2 and FMA.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#include "optimize.h"
#pragma GCC target("avx2,fma")
#endif
#define VL 4
#define MR 6
#define NV 2
#define ISA_NAME "avx2"
#define ISA dense_avx2
#include "kernel.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
