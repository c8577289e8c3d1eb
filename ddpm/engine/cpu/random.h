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

// high_product is the upper halves of the 64-bit products, of the even lanes and of the odd ones.
INLINE uvec high_product(uvec a, uint32_t m) {
  const uvec64 pairs = (uvec64)a, even = (pairs & 0xFFFFFFFFu) * m, odd = (pairs >> 32) * m;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  return (uvec)(even >> 32 | (odd & ~(uint64_t)0xFFFFFFFFu));
#else
#error "lanes are counted from the low end"
#endif
}

// philox is Philox4x32-10 (Salmon et al. 2011, section 3.3) on VL counters; package philox has the plain one.
INLINE void philox(uint32_t k0, uint32_t k1, uvec c[4]) {
  const uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;
  for (int round = 0; round < 10; round++) {
    const uvec low0 = c[0] * m0, low1 = c[2] * m1, high0 = high_product(c[0], m0), high1 = high_product(c[2], m1);
    c[0] = high1 ^ c[1] ^ k0;
    c[1] = low1;
    c[2] = high0 ^ c[3] ^ k1;
    c[3] = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// dropout: p = x, counters [N][4], y; d = entries of a sample, two key words; f = probability, scale. A part is a
// sample. The counter of a block of four numbers is {index/4, image, step}, as in package philox.
static void dropout(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t n = s->d[0];
  const float *x = s->p[0] + part * n, *counter = s->p[1] + part * 4, drop = s->f[0], scale = s->f[1];
  float *y = s->p[2] + part * n;
  const uint32_t step = (uint32_t)counter[0] | (uint32_t)counter[1] << 16;
  const uint32_t image = (uint32_t)counter[2] | (uint32_t)counter[3] << 16;
  uvec lane;
  for (int i = 0; i < VL; i++) lane[i] = (uint32_t)i;
  for (int64_t i = 0; i < n; i += 4 * VL) {
    uvec c[4] = {lane + (uint32_t)(i / 4), (uvec){0} + image, (uvec){0} + step, {0}};
    philox((uint32_t)s->d[1], (uint32_t)s->d[2], c);
    float word[4][VL], u[4 * VL];
    for (int w = 0; w < 4; w++) store(word[w], __builtin_convertvector((ivec)(c[w] >> 8), vec) * (1.f / (1 << 24)));
    for (int l = 0; l < VL; l++)
      for (int w = 0; w < 4; w++) u[4 * l + w] = word[w][l];
    for (int64_t j = 0; j < 4 * VL && i + j < n; j += VL) {
      const int64_t left = n - i - j;
      vec v = load_n(x + i + j, left) * scale;
      store_n(y + i + j, select_v(load(u + j) >= drop, v, (vec){0}), left);
    }
  }
}
