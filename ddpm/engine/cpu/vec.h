// vec.h: the vector type of an instance and the few operations the kernels are written in. The instance defines
// VL (floats in a vector), MR (rows of a GEMM tile) and NV (vectors in a row of it). Nothing here is specific to
// a processor, but for max_v and min_v: GCC and clang lower the vector extensions to what the target has.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "kernels.h"

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")

typedef float vec __attribute__((vector_size(VL * 4)));
typedef int32_t ivec __attribute__((vector_size(VL * 4)));
typedef float vec_mem __attribute__((vector_size(VL * 4), aligned(4), may_alias));

INLINE vec load(const float *p) { return *(const vec_mem *)p; }
INLINE void store(float *p, vec v) { *(vec_mem *)p = v; }
INLINE vec splat(float f) { return (vec){0} + f; }

// load_n reads n floats (any n >= 1; at most VL count) and fills up with zeros; store_n writes n of v.
INLINE vec load_n(const float *p, int64_t n) {
  if (n >= VL) return load(p);
  vec v = {0};
  for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return v;
}
INLINE void store_n(float *p, vec v, int64_t n) {
  if (n >= VL) {
    store(p, v);
    return;
  }
  for (int64_t i = 0; i < n; i++) p[i] = v[i];
}

INLINE vec select_v(ivec mask, vec yes, vec no) { return (vec)(((ivec)yes & mask) | ((ivec)no & ~mask)); }

// b where either is NaN. GCC does not make x86's instructions, which do just this, of the comparison; a sigmoid is a
// fifth faster with them.
#if defined(__AVX512F__) && VL == 16
INLINE vec max_v(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE vec min_v(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
#elif defined(__AVX__) && VL == 8
INLINE vec max_v(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE vec min_v(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
#else
INLINE vec max_v(vec a, vec b) { return select_v(a > b, a, b); }
INLINE vec min_v(vec a, vec b) { return select_v(a < b, a, b); }
#endif

INLINE float sum_v(vec v) {
  float s[VL];
  store(s, v);
  for (int n = VL / 2; n > 0; n /= 2)
    for (int i = 0; i < n; i++) s[i] += s[i + n];
  return s[0];
}

INLINE float most_v(vec v) {
  float s[VL];
  store(s, v);
  for (int n = VL / 2; n > 0; n /= 2)
    UNROLL for (int i = 0; i < n; i++) s[i] = s[i + n] > s[i] ? s[i + n] : s[i];
  return s[0];
}

#define LOG2_E 1.44269504f

// exp_v is e^x to about 1e-7 relative for x in [-87.3, 88.3], the value at the bound beyond, NaN for NaN.
// x = n·ln2 + f, ln 2 in two parts (Cody and Waite 1980); e^f is 1 + f + f²·P(f), P the minimax polynomial of degree 4
// for |f| <= ln2/2, to 3e-9.
INLINE vec exp_v(vec x) {
  const vec magic = splat(12582912.f);  // 1.5 * 2^23
  x = max_v(splat(-87.33f), min_v(splat(88.36f), x));
  vec r = x * LOG2_E + magic;  // rounds to an integer
  ivec power = ((ivec)r << 23) + 0x3f800000;  // 2^n
  r = r - magic;
  vec f = x - r * 0.693359375f + r * 2.12194440e-4f;
  vec p = f * 1.3814540177e-3f + 8.3687451089e-3f;
  p = p * f + 4.1668390784e-2f;
  p = p * f + 1.6666520399e-1f;
  p = p * f + 4.9999993432e-1f;
  p = (p * f + 1.f) * f + 1.f;
  return p * (vec)power;
}

INLINE vec sigmoid_v(vec x) { return 1.f / (1.f + exp_v(-x)); }

// What is rounded to bf16 next is right to 2e-3 at best. These are right to 1e-4, relative, in half the time.
// rough_exp2_v is 2^x for x in [-126, 126], the value at the bound beyond, NaN for NaN.
INLINE vec rough_exp2_v(vec x) {
  const vec magic = splat(12582912.f);
  x = max_v(splat(-126.f), min_v(splat(126.f), x));
  vec r = x + magic;
  ivec power = ((ivec)r << 23) + 0x3f800000;
  vec f = x - (r - magic);
  vec p = f * 5.5008933e-2f + 2.4221097e-1f;
  p = (p * f + 6.9328290e-1f) * f + 1.f;
  return p * (vec)power;
}
INLINE vec rough_sigmoid_v(vec x) {
  const vec d = 1.f + rough_exp2_v(x * -LOG2_E);
#if defined(__AVX512F__) && VL == 16
  return (vec)_mm512_rcp14_ps((__m512)d);
#else
  return 1.f / d;
#endif
}

// only_first is the first n numbers of v, and other's beyond.
INLINE vec only_first(vec v, int64_t n, vec other) {
  ivec lane;
  UNROLL for (int i = 0; i < VL; i++) lane[i] = i;
  return n >= VL ? v : select_v(lane < (int32_t)n, v, other);
}

INLINE int64_t min_i(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t max_i(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// span_of gives part i of parts nearly equal pieces of 0..n.
struct span { int64_t lo, hi; };
INLINE struct span span_of(int64_t n, int64_t i, int64_t parts) {
  return (struct span){n * i / parts, n * (i + 1) / parts};
}

// A kernel over rows of n numbers is written once, as NAME_rows with a last argument `whole`, and compiled twice: for
// rows that are whole vectors, where LEFT is a constant and no load or store is partial, and for the others.
#define LEFT(n, i) (whole ? VL : (n) - (i))
#define WHOLE_OR_PARTIAL(name, n)                                               \
  static void name(const struct cpu_step *s, int64_t part, float *scratch) {    \
    if ((n) % VL == 0)                                                          \
      name##_rows(s, part, scratch, 1);                                         \
    else                                                                        \
      name##_rows(s, part, scratch, 0);                                         \
  }

// The same for kernels that also take arrays of bf16 (see bf16.h): a last argument says which, a bit for each array that
// is narrow, of 1, 2 and 4.
#define WHOLE_OR_NARROW(name, n, mask)                                          \
  static void name(const struct cpu_step *s, int64_t part, float *scratch) {    \
    if ((n) % VL != 0) {                                                        \
      name##_rows(s, part, scratch, 0, (int)(mask));                            \
      return;                                                                   \
    }                                                                           \
    switch (mask) {                                                             \
      case 0: name##_rows(s, part, scratch, 1, 0); break;                       \
      case 1: name##_rows(s, part, scratch, 1, 1); break;                       \
      case 2: name##_rows(s, part, scratch, 1, 2); break;                       \
      case 3: name##_rows(s, part, scratch, 1, 3); break;                       \
      case 4: name##_rows(s, part, scratch, 1, 4); break;                       \
      case 5: name##_rows(s, part, scratch, 1, 5); break;                       \
      case 6: name##_rows(s, part, scratch, 1, 6); break;                       \
      default: name##_rows(s, part, scratch, 1, 7);                             \
    }                                                                           \
  }
