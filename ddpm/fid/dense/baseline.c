// The products for any machine, and the choice among the instances.
#include <string.h>

#include "optimize.h"
#define VL 2
#define MR 6
#define NV 2
#define ISA_NAME "baseline"
#define ISA dense_baseline
#include "kernel.h"

#if defined(__x86_64__)
extern const struct dense_isa dense_avx512, dense_avx2;
#endif

const struct dense_isa *dense_find(const char *name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && (!*name || !strcmp(name, "avx512"))) return &dense_avx512;
  if (avx2 && (!*name || !strcmp(name, "avx2"))) return &dense_avx2;
#endif
  if (!*name || !strcmp(name, "baseline")) return &dense_baseline;
  return 0;
}
