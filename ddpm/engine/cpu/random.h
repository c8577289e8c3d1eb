// random.h: sinusoidal time embedding, and dropout by counter-based random numbers.

// time_embedding: p = t, y; d = dim. A part is a sample. In double: t*f reaches 1000 radians.
static void time_embedding(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t dim = s->d[0], half = dim / 2;
  const double t = s->p[0][part];
  float *y = s->p[1] + part * dim;
  for (int64_t j = 0; j < half; j++) {
    const double angle = t * exp(-log(10000) * (double)j / (double)half);
    y[j] = (float)cos(angle);
    y[half + j] = (float)sin(angle);
  }
}

typedef uint32_t uvec __attribute__((vector_size(VL * 4)));
typedef uint64_t uvec64 __attribute__((vector_size(VL * 4)));

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "lanes are counted from the low end"
#endif

// product_of_even is the 64-bit products of the even lanes. GCC would multiply all 64 bits, which takes three times as long.
INLINE uvec64 product_of_even(uvec64 a, uint32_t m) {
#if defined(__AVX512F__) && VL == 16
  return (uvec64)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi32((int)m));
#elif defined(__AVX2__) && VL == 8
  return (uvec64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi32((int)m));
#else
  return (a & 0xFFFFFFFFu) * m;
#endif
}

// whole_products takes the upper and lower halves of the products of all lanes.
INLINE void whole_products(uvec a, uint32_t m, uvec *high, uvec *low) {
  const uint64_t lower = 0xFFFFFFFFu;
  const uvec64 even = product_of_even((uvec64)a, m), odd = product_of_even((uvec64)a >> 32, m);
  *high = (uvec)(even >> 32 | (odd & ~lower));
  *low = (uvec)((even & lower) | odd << 32);
}

// philox is Philox4x32-10 (Salmon et al. 2011, section 3.3) on VL counters; package philox has the plain one.
INLINE void philox(uint32_t k0, uint32_t k1, uvec c[4]) {
  const uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; round++) {
    uvec low0, low1, high0, high1;
    whole_products(c[0], m0, &high0, &low0);
    whole_products(c[2], m1, &high1, &low1);
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

#if defined(__AVX512F__) && VL == 16
// interleaved_counter is the counter of each lane for which interleave puts what four counters make side by side.
static const uint32_t interleaved_counter[VL] = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
INLINE void interleave(uvec c[4]) {
  const __m512i a = _mm512_unpacklo_epi32((__m512i)c[0], (__m512i)c[1]), b = _mm512_unpacklo_epi32((__m512i)c[2], (__m512i)c[3]);
  const __m512i d = _mm512_unpackhi_epi32((__m512i)c[0], (__m512i)c[1]), e = _mm512_unpackhi_epi32((__m512i)c[2], (__m512i)c[3]);
  c[0] = (uvec)_mm512_unpacklo_epi64(a, b);
  c[1] = (uvec)_mm512_unpackhi_epi64(a, b);
  c[2] = (uvec)_mm512_unpacklo_epi64(d, e);
  c[3] = (uvec)_mm512_unpackhi_epi64(d, e);
}
#else
static const uint32_t interleaved_counter[] = {0, 1, 2, 3, 4, 5, 6, 7};
INLINE void interleave(uvec c[4]) {
  uint32_t all[4 * VL];
  for (int lane = 0; lane < VL; lane++)
    for (int w = 0; w < 4; w++) all[4 * lane + w] = c[w][lane];
  memcpy(c, all, sizeof all);
}
#endif

// dropout: p = x, counters [N][4], y; d = entries of a sample, two key words, which of x (1) and y (2) are narrow (see
// bf16.h); f = probability, scale. A part is a sample. The counter of a block of four numbers is {index/4, image, step},
// as in package philox.
INLINE void dropout_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  (void)scratch;
  const int64_t n = s->d[0];
  const float *counter = s->p[1] + part * 4, drop = s->f[0], scale = s->f[1];
  const uint32_t step = (uint32_t)counter[0] | (uint32_t)counter[1] << 16;
  const uint32_t image = (uint32_t)counter[2] | (uint32_t)counter[3] << 16;
  uvec lane;
  memcpy(&lane, interleaved_counter, sizeof lane);
  for (int64_t i = 0; i < n; i += 4 * VL) {
    uvec c[4] = {lane + (uint32_t)(i / 4), (uvec){0} + image, (uvec){0} + step, {0}};
    philox((uint32_t)s->d[1], (uint32_t)s->d[2], c);
    interleave(c);
    UNROLL for (int w = 0; w < 4; w++) {
      const int64_t at = i + w * VL;
      if (at >= n) continue;
      const vec u = __builtin_convertvector((ivec)(c[w] >> 8), vec) * (1.f / (1 << 24));
      const vec v = load_at(s->p[0], part * n + at, LEFT(n, at), narrow & 1) * scale;
      store_at(s->p[2], part * n + at, select_v(u >= drop, v, (vec){0}), LEFT(n, at), narrow & 2);
    }
  }
}
WHOLE_OR_NARROW(dropout, s->d[0], s->d[3])
