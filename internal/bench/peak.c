// What the processor can do at most: the arithmetic of registers alone, and a stream from and to memory.
#pragma GCC optimize("O3")
#include "peak.h"

// Twelve chains of dependent operations are enough to hide the latency of one.
#define EACH(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define CHAINS 12

#define BEGIN(i) x##i = half + half,
#define NEXT(i)                                                            \
  x##i = x##i * half + half;                                               \
  __asm__("" : "+" REGISTER(x##i)); /* it may be the result of anything */
#define ADD(i) +x##i[0]

// FMA defines a loop over vectors of so many bytes. All numbers stay 1: none is denormal or infinite.
#define FMA(name, bytes, ...)                                                        \
  typedef float name##_v __attribute__((vector_size(bytes)));                        \
  __VA_ARGS__ static double name(long n) {                                           \
    const name##_v half = (name##_v){0} + 0.5f;                                      \
    name##_v EACH(BEGIN) unused = half;                                              \
    for (long k = 0; k < n; k++) { EACH(NEXT) }                                      \
    return (EACH(ADD) + unused[0]) > 0 ? 2.0 * CHAINS * (bytes / 4) * (double)n : 0; \
  }

#if defined(__x86_64__)
#define REGISTER(x) "x"(x)
FMA(fma_sse, 16)
FMA(fma_avx2, 32, __attribute__((target("avx2,fma"))))
#undef REGISTER
#define REGISTER(x) "v"(x)
FMA(fma_avx512, 64, __attribute__((target("avx512f,prefer-vector-width=512"))))

double peak_fma(long n) {
  if (__builtin_cpu_supports("avx512f")) return fma_avx512(n);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return fma_avx2(n);
  return fma_sse(n);
}
#else
#define REGISTER(x) "w"(x)
FMA(fma_16, 16)

double peak_fma(long n) { return fma_16(n); }
#endif

void peak_triad(float *restrict a, const float *restrict b, const float *restrict c, long n) {
  for (long i = 0; i < n; i++) a[i] = b[i] + 3 * c[i];
}
