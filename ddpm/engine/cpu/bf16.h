// bf16.h: products of bfloat16 numbers with float sums, for 1x1 and 3x3 convolutions and the gradients of their
// weights. Where the processor has tiles (AMX: 16 x 32 times 32 x 16 in one instruction) a direct convolution is faster
// than Winograd's, and loses nothing but the operands' rounding; elsewhere the tiles are imitated, for tests.
//
// Activations become bf16 in scratch, a few image rows at a time, as a strip of pixels: rows of `pitch` pixels of which
// one is zero, and a row of zeros between images. So the pixel that a tap reads is always the same distance away, and
// the strip's pixels can be multiplied 16 at a time wherever rows and images begin; what is computed at the zero pixels
// is thrown away. A product of matrices is the case of one tap, with no zeros.

enum {
  TILE = 16,   // rows of a tile
  DEEP = 32,   // bf16 in one of them
  WIDE = 32,   // rows and columns of a block of products
  NEAR = 256,  // pixels of a block's weight gradient that stay in the first cache for all taps
  NEAR_WEIGHTS = 18 << 10,  // weights that stay there for the pixels of so many blocks:
  BLOCKS = 4,
};

typedef uint16_t bf16;

#ifdef __AMX_BF16__
// BEGIN_TILES and END_TILES stand around all use of tiles by a part, USE_TILES in each function that uses them.
// GCC does not know that loading a tile reads memory: what was written before has to be there.
#define BEGIN_TILES() _tile_loadconfig(&tile_config)
#define END_TILES() _tile_release()
#define USE_TILES __asm__ volatile("" ::: "memory");
#define TILE_ZERO(t) _tile_zero(t)
#define TILE_LOAD(t, from, stride) _tile_loadd(t, from, (stride) * 2)
#define TILE_LOAD_SUMS(t, from, stride) _tile_loadd(t, from, (stride) * 4)
#define TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)
#define TILE_STORE(t, to, stride) _tile_stored(t, to, (stride) * 4)
static const struct {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
} tile_config = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
#else
#define BEGIN_TILES() (void)0
#define END_TILES() (void)0
#define USE_TILES struct imitated_tile imitated[8];
#define TILE_ZERO(t) memset(&imitated[t], 0, sizeof imitated[t])
#define TILE_LOAD_SUMS(t, from, stride) imitated_load_sums(&imitated[t], from, stride)
#define TILE_LOAD(t, from, stride) imitated_load(&imitated[t], from, stride)
#define TILE_DOT(c, a, b) imitated_dot(&imitated[c], &imitated[a], &imitated[b])
#define TILE_STORE(t, to, stride) imitated_store(&imitated[t], to, stride)
struct imitated_tile { union { float sums[TILE][TILE]; bf16 numbers[TILE][DEEP]; }; };
INLINE float float_of(bf16 b) {
  union { uint32_t bits; float f; } u = {(uint32_t)b << 16};
  return u.f;
}
INLINE void imitated_load(struct imitated_tile *t, const bf16 *from, int64_t stride) {
  for (int i = 0; i < TILE; i++) memcpy(t->numbers[i], from + i * stride, sizeof t->numbers[i]);
}
INLINE void imitated_load_sums(struct imitated_tile *t, const float *from, int64_t stride) {
  for (int i = 0; i < TILE; i++) memcpy(t->sums[i], from + i * stride, sizeof t->sums[i]);
}
NOINLINE void imitated_dot(struct imitated_tile *c, const struct imitated_tile *a, const struct imitated_tile *b) {
  for (int i = 0; i < TILE; i++)
    for (int k = 0; k < DEEP; k++) {
      const float x = float_of(a->numbers[i][k]);
      for (int j = 0; j < TILE; j++) c->sums[i][j] += x * float_of(b->numbers[k / 2][2 * j + k % 2]);
    }
}
INLINE void imitated_store(const struct imitated_tile *t, float *to, int64_t stride) {
  for (int i = 0; i < TILE; i++) memcpy(to + i * stride, t->sums[i], sizeof t->sums[i]);
}
#endif

// A block of 32 x 32 sums in tiles 0 to 3: zero, or what out has if add; the product of 32 rows of a and 32 columns, 16 at
// b and 16 at c, added; and stored.
#define BEGIN_BLOCK(out, stride, add)                          \
  do {                                                         \
    if (add) {                                                 \
      TILE_LOAD_SUMS(0, out, stride);                          \
      TILE_LOAD_SUMS(1, out + TILE, stride);                   \
      TILE_LOAD_SUMS(2, out + TILE * (stride), stride);        \
      TILE_LOAD_SUMS(3, out + TILE * (stride) + TILE, stride); \
    } else {                                                   \
      TILE_ZERO(0);                                            \
      TILE_ZERO(1);                                            \
      TILE_ZERO(2);                                            \
      TILE_ZERO(3);                                            \
    }                                                          \
  } while (0)
#define BLOCK_DOT(a, a_stride, b, c, b_stride)     \
  do {                                             \
    TILE_LOAD(4, a, a_stride);                     \
    TILE_LOAD(6, b, b_stride);                     \
    TILE_LOAD(7, c, b_stride);                     \
    TILE_LOAD(5, a + TILE * (a_stride), a_stride); \
    TILE_DOT(0, 4, 6);                             \
    TILE_DOT(1, 4, 7);                             \
    TILE_DOT(2, 5, 6);                             \
    TILE_DOT(3, 5, 7);                             \
  } while (0)
#define END_BLOCK(out, stride)                           \
  do {                                                   \
    TILE_STORE(0, out, stride);                          \
    TILE_STORE(1, out + TILE, stride);                   \
    TILE_STORE(2, out + TILE * (stride), stride);        \
    TILE_STORE(3, out + TILE * (stride) + TILE, stride); \
  } while (0)

// bits_of are the bf16 nearest to v, in the low halves.
INLINE ivec bits_of(vec v) {
  ivec b = (ivec)v;
  return ((b + 0x7fff + ((b >> 16) & 1)) >> 16) & 0xffff;
}
// Arrays of bf16 in the place of floats (narrow ones): what a normalisation computes for products alone, or a product for
// normalisations, is rounded where it is written, and takes half the memory.
typedef uint16_t half_vec __attribute__((vector_size(VL * 2)));
typedef uint16_t half_mem __attribute__((vector_size(VL * 2), aligned(2), may_alias));

// widen fills the high halves with zeros, and halve takes the low ones.
#if defined(__AVX512F__) && VL == 16
INLINE ivec widen(half_vec v) { return (ivec)_mm512_cvtepu16_epi32((__m256i)v); }
INLINE half_vec halve(ivec v) { return (half_vec)_mm512_cvtepi32_epi16((__m512i)v); }
#else
INLINE ivec widen(half_vec v) { return __builtin_convertvector(v, ivec); }
INLINE half_vec halve(ivec v) { return __builtin_convertvector(v, half_vec); }
#endif

// load_bits reads n bf16 into the low halves, and fills up with zeros.
INLINE ivec load_bits(const bf16 *p, int64_t n) {
  half_vec v = {0};
  if (n >= VL)
    v = *(const half_mem *)p;
  else
    for (int64_t i = 0; i < n; i++) v[i] = p[i];
  return widen(v);
}

// load_at reads n numbers of an array, from number i on, and store_at writes them: bf16 if narrow, else floats.
INLINE vec load_at(const float *x, int64_t i, int64_t n, const int narrow) {
  return narrow ? (vec)(load_bits((const bf16 *)x + i, n) << 16) : load_n(x + i, n);
}
INLINE void store_at(float *y, int64_t i, vec v, int64_t n, const int narrow) {
  if (!narrow) {
    store_n(y + i, v, n);
    return;
  }
#ifdef __AVX512BF16__
  const half_vec h = (half_vec)_mm512_cvtneps_pbh((__m512)v);
#else
  const half_vec h = halve(bits_of(v));
#endif
  bf16 *p = (bf16 *)y + i;
  if (n >= VL)
    *(half_mem *)p = h;
  else
    for (int64_t j = 0; j < n; j++) p[j] = h[j];
}

// turn exchanges rows and columns of VL x VL numbers.
INLINE void turn(ivec v[VL]) {
#if defined(__AVX512F__) && VL == 16
  __m512i a[16], b[16];
  UNROLL for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32((__m512i)v[i], (__m512i)v[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32((__m512i)v[i], (__m512i)v[i + 1]);
  }
  UNROLL for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
  UNROLL for (int i = 0; i < 4; i++) {
    a[i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0x88);
    a[4 + i] = _mm512_shuffle_i32x4(b[i], b[4 + i], 0xdd);
    a[8 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88);
    a[12 + i] = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xdd);
  }
  UNROLL for (int i = 0; i < 4; i++) {
    v[i] = (ivec)_mm512_shuffle_i32x4(a[i], a[8 + i], 0x88);
    v[8 + i] = (ivec)_mm512_shuffle_i32x4(a[i], a[8 + i], 0xdd);
    v[4 + i] = (ivec)_mm512_shuffle_i32x4(a[4 + i], a[12 + i], 0x88);
    v[12 + i] = (ivec)_mm512_shuffle_i32x4(a[4 + i], a[12 + i], 0xdd);
  }
#else
  for (int i = 0; i < VL; i++)
    for (int j = 0; j < i; j++) {
      const int32_t x = v[i][j];
      v[i][j] = v[j][i];
      v[j][i] = x;
    }
#endif
}

INLINE bf16 nearest(float f) {
  union { float f; uint32_t bits; } u = {f};
  return (bf16)((u.bits + 0x7fff + ((u.bits >> 16) & 1)) >> 16);
}

// to_bf16 rounds n numbers, and fills up with zeros to `wide`.
INLINE void to_bf16(const float *from, int64_t n, int64_t wide, bf16 *to) {
  int64_t i = 0;
#ifdef __AVX512BF16__
  for (; i + VL <= n; i += VL) _mm256_storeu_si256((void *)(to + i), (__m256i)_mm512_cvtneps_pbh((__m512)load(from + i)));
#endif
  for (; i < n; i++) to[i] = nearest(from[i]);
  memset(to + i, 0, (wide - i) * sizeof *to);
}

// pair_of is the bf16 of two vectors side by side, the first in the low half.
INLINE ivec pair_of(vec p, vec q) {
#ifdef __AVX512BF16__
  static const uint32_t order[VL] = {0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,
                                     0x180008, 0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f};
  return (ivec)_mm512_permutexvar_epi16(_mm512_loadu_si512(order), (__m512i)_mm512_cvtne2ps_pbh((__m512)q, (__m512)p));
#else
  return bits_of(p) | bits_of(q) << 16;
#endif
}

// pair is that of numbers c.. of two rows, which are bf16 if narrow, else floats.
INLINE ivec pair(const float *p, const float *q, int64_t c, int64_t left, const int narrow) {
  if (narrow) return load_bits((const bf16 *)p + c, left) | load_bits((const bf16 *)q + c, left) << 16;
  return pair_of(load_n(p + c, left), load_n(q + c, left));
}

// rows_to_pairs packs DEEP rows of TILE numbers, of which there are so many, as [row/2][number][2].
INLINE void rows_to_pairs(const float *w, int64_t stride, int64_t rows, int64_t columns, bf16 *to) {
  for (int64_t i = 0; i < DEEP; i += 2)
    for (int64_t j = 0; j < TILE; j += VL) {
      ivec v = {0};
      if (i < rows && j < columns)
        v = pair(w + i * stride + j, i + 1 < rows ? w + (i + 1) * stride + j : zero_pixel, 0, columns - j, 0);
      memcpy(to + i * TILE + 2 * j, &v, sizeof v);
    }
}

// columns_to_pairs packs TILE rows of DEEP numbers, of which there are so many, as [number/2][row][2].
INLINE void columns_to_pairs(const float *w, int64_t stride, int64_t rows, int64_t columns, bf16 *to) {
  for (int64_t j = 0; j < TILE; j += VL)
    for (int64_t i = 0; i < DEEP; i += 2 * VL) {
      ivec pairs[VL];
      for (int r = 0; r < VL; r++) {
        bf16 bits[2 * VL] = {0};
        const int64_t left = min_i(2 * VL, columns - i);
        if (j + r < rows && left > 0) to_bf16(w + (j + r) * stride + i, left, 2 * VL, bits);
        memcpy(&pairs[r], bits, sizeof bits);
      }
      turn(pairs);
      for (int r = 0; r < VL; r++) memcpy(to + (i / 2 + r) * 2 * TILE + 2 * j, &pairs[r], sizeof pairs[r]);
    }
}

// bf16_weights: p = w, packed; d = taps, C, K, flip. Packed is [K/32][tap][C/32] blocks of two tiles, in each of which
// two inputs of an output follow each other. With flip, w is [taps][K][C], and what is packed is the weights of the
// convolution that is w's data gradient. A part packs 32 outputs.
static void bf16_weights(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t taps = s->d[0], c = s->d[1], k = s->d[2], flip = s->d[3];
  bf16 *to = (bf16 *)s->p[1] + part * taps * round_up(c, DEEP) * WIDE;
  for (int64_t tap = 0; tap < taps; tap++)
    for (int64_t c0 = 0; c0 < c; c0 += DEEP)
      for (int64_t k0 = part * WIDE; k0 < (part + 1) * WIDE; k0 += TILE, to += DEEP * TILE)
        if (flip)
          columns_to_pairs(s->p[0] + ((taps - 1 - tap) * k + k0) * c + c0, c, k - k0, c - c0, to);
        else
          rows_to_pairs(s->p[0] + (tap * c + c0) * k + k0, k, c - c0, k - k0, to);
}

// strip is how a batch of images, or the rows of a matrix, lie one after another.
struct strip { int64_t h, w, border, pitch, lines, reach; };  // reach: how far taps reach, in pixels
INLINE struct strip strip_of(int64_t n, int64_t h, int64_t w, int64_t border) {
  return (struct strip){h, w, border, w + border, n * (h + border) + border, border * (w + border + 1)};
}
// line_of is the first pixel of a line of the strip in the batch, or -1 for a line of zeros.
INLINE int64_t line_of(const struct strip *s, int64_t line) {
  if (!s->border) return line >= 0 && line < s->lines ? line * s->w : -1;
  const int64_t cycle = s->h + s->border, y = line % cycle - s->border;
  return line < 0 || line >= s->lines || y < 0 ? -1 : (line / cycle * s->h + y) * s->w;
}

// pixel_of is where a pixel of c numbers begins.
INLINE const float *pixel_of(const float *x, int64_t pixel, int64_t c, const int narrow) {
  return narrow ? (const float *)((const bf16 *)x + pixel * c) : x + pixel * c;
}

// fill_pixels writes n numbers of x, filled up to `wide`.
INLINE void fill_pixels(const float *x, int64_t n, int64_t wide, bf16 *to, const int narrow) {
  if (!narrow) {
    to_bf16(x, n, wide, to);
    return;
  }
  memcpy(to, x, n * sizeof *to);
  memset(to + n, 0, (wide - n) * sizeof *to);
}

// fill_strip writes lines lo..hi of x, c channels filled up to cp, each with its zero pixel first, and the zero pixel
// of line hi.
INLINE void fill_strip(const struct strip *s, const float *x, int64_t c, int64_t cp, int64_t lo, int64_t hi, bf16 *to,
                       const int narrow) {
  for (int64_t line = lo; line < hi; line++, to += s->pitch * cp) {
    const int64_t from = line_of(s, line);
    if (from < 0) {
      memset(to, 0, s->pitch * cp * sizeof *to);
      continue;
    }
    memset(to, 0, s->border * cp * sizeof *to);
    bf16 *at = to + s->border * cp;
    if (c == cp)
      fill_pixels(pixel_of(x, from, c, narrow), s->w * c, s->w * c, at, narrow);
    else
      for (int64_t i = 0; i < s->w; i++) fill_pixels(pixel_of(x, from + i, c, narrow), c, cp, at + i * cp, narrow);
  }
  memset(to, 0, s->border * cp * sizeof *to);
}

// conv is what bf16_conv has in d: N, H, W, C, K, kernel size (1 or 3; for 1, H x W is one line), lines and outputs
// of a part, distance of two pixels of y, whether x is narrow, and which of y (1) and the addend (2).
struct conv { struct strip s; int64_t c, k, cp, taps, lines, outputs, apart, narrow_x, narrow, across; };
INLINE struct conv conv_of(const int64_t *d) {
  return (struct conv){strip_of(d[0], d[1], d[2], d[5] / 2), d[3], d[4], round_up(d[3], DEEP), d[5] * d[5], d[6], d[7], d[8], d[9], d[10], ceil_div(d[4], d[7])};
}

// block_product: 32 pixels by 32 outputs of a convolution, over some of its channels, or that added to out; for pixels cp
// apart, taps at the given distances, and w packed for all channels.
INLINE void block_product(const bf16 *x, int64_t cp, const int64_t *tap, int64_t taps, const bf16 *w, int64_t channels,
                          float *out, int add) {
  USE_TILES
  BEGIN_BLOCK(out, WIDE, add);
  for (int64_t t = 0; t < taps; t++, w += cp * WIDE) {
    const bf16 *a = x + tap[t] * cp, *b = w;
    for (int64_t c = 0; c < channels; c += DEEP, a += DEEP, b += DEEP * WIDE) {
      BLOCK_DOT(a, cp, b, b + DEEP * TILE, DEEP);
    }
  }
  END_BLOCK(out, WIDE);
}

// taps_of are the distances of the taps in a strip.
INLINE void taps_of(const struct strip *s, int64_t taps, int64_t *tap) {
  for (int64_t t = 0; t < taps; t++) tap[t] = s->border ? (t / 3 - 1) * s->pitch + t % 3 - 1 : 0;
}

// store_pixels writes the outputs k0.. of the 32 pixels from number `at` of the strip on that are pixels.
enum { NARROW_OUT = 1, NARROW_ADDEND = 2 };
INLINE void store_pixels(const struct conv *g, const float *block, int64_t at, int64_t end, int64_t k0, struct epilogue e, float *y,
                         const int narrow) {
  const int64_t left = min_i(WIDE, g->k - k0);
  int64_t line = at / g->s.pitch, column = at % g->s.pitch - g->s.border, from = line_of(&g->s, line);
  for (int64_t i = 0; i < WIDE && at + i < end; i++) {
    if (from >= 0 && column >= 0) {
      const int64_t at_add = (from + column) * g->k + k0, to = (from + column) * g->apart + k0;
      for (int64_t j = 0; j < left; j += VL) {
        vec v = load(block + i * WIDE + j);
        if (e.bias) v += load_n(e.bias + k0 + j, left - j);
        if (e.add) v += load_at(e.add, at_add + j, left - j, narrow & NARROW_ADDEND);
        store_at(y, to + j, v, left - j, narrow & NARROW_OUT);
      }
    }
    if (++column == g->s.w) {
      column = -g->s.border;
      from = line_of(&g->s, ++line);
    }
  }
}

// bf16_conv: p = x, packed weights, y, bias or NULL, addend or NULL; d = see conv.
static void bf16_conv(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct conv g = conv_of(s->d);
  const int64_t lo = part / g.across * g.lines, hi = min_i(g.s.lines, lo + g.lines), k0 = part % g.across * g.outputs;
  bf16 *x = (bf16 *)scratch;
  if (g.narrow_x)
    fill_strip(&g.s, s->p[0], g.c, g.cp, lo - g.s.border, hi + g.s.border, x, 1);
  else
    fill_strip(&g.s, s->p[0], g.c, g.cp, lo - g.s.border, hi + g.s.border, x, 0);
  int64_t tap[9];
  taps_of(&g.s, g.taps, tap);
  BEGIN_TILES();
  float block[BLOCKS][WIDE * WIDE];
  const int64_t chunk = g.taps * g.cp * WIDE <= NEAR_WEIGHTS ? g.cp : max_i(DEEP, NEAR_WEIGHTS / (g.taps * WIDE) / DEEP * DEEP);
  const int64_t first = lo * g.s.pitch + g.s.border, end = hi * g.s.pitch, origin = (lo - g.s.border) * g.s.pitch;
  const struct epilogue e = {s->p[3], s->p[4], 0};
  for (int64_t k = k0; k < min_i(g.k, k0 + g.outputs); k += WIDE) {
    const bf16 *w = (const bf16 *)s->p[1] + k / WIDE * g.taps * g.cp * WIDE;
    const int64_t most = chunk < g.cp ? BLOCKS : 1;
    for (int64_t at = first; at < end; at += most * WIDE) {
      const int64_t blocks = min_i(most, ceil_div(end - at, WIDE));
      for (int64_t c = 0; c < g.cp; c += chunk)
        for (int64_t i = 0; i < blocks; i++) {
          const int64_t pixel = at + i * WIDE;
          block_product(x + (pixel - origin) * g.cp + c, g.cp, tap, g.taps, w + c * WIDE, min_i(chunk, g.cp - c), block[i], c > 0);
          if (c + chunk < g.cp) continue;
          switch (g.narrow) {
            case 0: store_pixels(&g, block[i], pixel, end, k, e, s->p[2], 0); break;
            case 1: store_pixels(&g, block[i], pixel, end, k, e, s->p[2], 1); break;
            case 2: store_pixels(&g, block[i], pixel, end, k, e, s->p[2], 2); break;
            default: store_pixels(&g, block[i], pixel, end, k, e, s->p[2], 3);
          }
        }
    }
  }
  END_TILES();
}

INLINE int64_t bf16_conv_scratch(const struct cpu_step *s) {
  const struct conv g = conv_of(s->d);
  return ((g.lines + 2 * g.s.border) * g.s.pitch + 2 * WIDE + g.s.reach) * g.cp / 2 + 16;
}

// grad is what bf16_conv_dw has in d: N, H, W, C, K, kernel size, sizes and counts of the chunks that C and K are cut
// into, slabs, lines at a time, whether x and dy are narrow.
struct grad {
  struct strip s;
  int64_t c, k, taps, c_size, c_count, k_size, k_count, slabs, lines, narrow_x, narrow_dy;
  int64_t deep, wide, pairs;  // pixels at a time, rounded up; distance of two channels of x turned; pairs of pixels of dy
};
INLINE struct grad grad_of(const int64_t *d) {
  struct grad g = {strip_of(d[0], d[1], d[2], d[5] / 2), d[3], d[4], d[5] * d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], 0, 0, 0};
  g.deep = round_up(g.lines * g.s.pitch, DEEP);
  g.wide = g.deep + (g.deep / DEEP % 2 ? 0 : DEEP);  // an odd number of cache lines, as for odd_lines
  g.pairs = (g.deep + 2 * round_up(g.s.reach, 2)) / 2;
  return g;
}

// walk goes along a strip, one pixel after another.
struct walk { int64_t line, column, from; };
INLINE struct walk walk_from(const struct strip *s, int64_t at) {
  const int64_t line = at < 0 ? -1 : at / s->pitch;
  return (struct walk){line, (at < 0 ? at + s->pitch : at % s->pitch) - s->border, line_of(s, line)};
}
// next_pixel is where the channels of the pixel are, or zeros, and goes on.
INLINE const float *next_pixel(struct walk *w, const struct strip *s, const float *x, int64_t c, const int narrow) {
  const float *p = w->from >= 0 && w->column >= 0 ? pixel_of(x, w->from + w->column, c, narrow) : zero_pixel;
  if (++w->column == s->w) {
    w->column = -s->border;
    w->from = line_of(s, ++w->line);
  }
  return p;
}

// turn_pixels writes VL channels of 2*VL pixels as rows of a channel each.
INLINE void turn_pixels(const float *const *pixel, int64_t c, int64_t left, bf16 *to, int64_t wide, const int narrow) {
  ivec pairs[VL];
  UNROLL for (int i = 0; i < VL; i++) pairs[i] = pair(pixel[2 * i], pixel[2 * i + 1], c, left, narrow);
  turn(pairs);
  UNROLL for (int i = 0; i < VL; i++) memcpy(to + i * wide, &pairs[i], sizeof pairs[i]);
}

// fill_turned writes pixels at.. of x, `deep` of them, as [channel][pixel].
INLINE void fill_turned(const struct grad *g, const float *x, int64_t c0, int64_t at, int64_t end, bf16 *to, const int narrow) {
  const int64_t real = min_i(g->c_size, g->c - c0);
  struct walk w = walk_from(&g->s, at);
  for (int64_t f = 0; f < g->deep; f += 2 * VL, to += 2 * VL) {
    const float *pixel[2 * VL];
    for (int i = 0; i < 2 * VL; i++) {
      pixel[i] = next_pixel(&w, &g->s, x, g->c, narrow);
      if (at + f + i >= end) pixel[i] = zero_pixel;
    }
    int64_t c = 0;
    for (; c + VL <= real; c += VL) turn_pixels(pixel, c0 + c, VL, to + c * g->wide, g->wide, narrow);
    for (; c < g->c_size; c += VL) {
      if (c < real)
        turn_pixels(pixel, c0 + c, real - c, to + c * g->wide, g->wide, narrow);
      else
        for (int i = 0; i < VL; i++) memset(to + (c + i) * g->wide, 0, 2 * VL * sizeof *to);
    }
  }
}

// fill_pairs writes pixels at.. of dy as [channel/32][pair][32][2].
INLINE void fill_pairs(const struct grad *g, const float *dy, int64_t k0, int64_t at, bf16 *to, const int narrow) {
  const int64_t real = min_i(g->k_size, g->k - k0);
  struct walk w = walk_from(&g->s, at);
  for (int64_t f = 0; f < g->pairs; f++, to += 2 * WIDE) {
    const float *p = next_pixel(&w, &g->s, dy, g->k, narrow), *q = next_pixel(&w, &g->s, dy, g->k, narrow);
    for (int64_t k = 0; k < g->k_size; k += VL) {
      ivec v = {0};
      if (k < real) v = pair(p, q, k0 + k, real - k, narrow);
      memcpy(to + (k / WIDE * g->pairs * WIDE + k % WIDE) * 2, &v, sizeof v);
    }
  }
}

// block_sum: 32 x 32 numbers of out, or of out added to = a b, with a as [32][deep] and b as [deep/2][columns][2].
INLINE void block_sum(const bf16 *a, int64_t a_stride, const bf16 *b, int64_t columns, int64_t deep, float *out,
                      int64_t stride, int add) {
  USE_TILES
  BEGIN_BLOCK(out, stride, add);
  for (int64_t k = 0; k < deep; k += DEEP, a += DEEP, b += DEEP * columns) {
    BLOCK_DOT(a, a_stride, b, b + 2 * TILE, 2 * columns);
  }
  END_BLOCK(out, stride);
}

// add_block adds a block to the numbers of dw that it is of, or sets them.
INLINE void add_block(const float *block, float *dw, int64_t stride, int64_t rows, int64_t columns, int add) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j += VL) {
      float *at = dw + i * stride + j;
      vec v = load(block + i * WIDE + j);
      if (add) v += load_n(at, columns - j);
      store_n(at, v, columns - j);
    }
}

// bf16_conv_dw: p = x, dy, dw; d = see grad. dw is [slab][taps][C][K]; a part sums one slab of the lines of x for one
// pair of chunks. Pixels of dy are paired from even ones and from odd ones, so that the pairs that go with a tap always
// begin a row of a tile: one that lies across cache lines takes twice as long to load.
static void bf16_conv_dw(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct grad g = grad_of(s->d);
  const int64_t chunks = part % (g.c_count * g.k_count), slab = part / (g.c_count * g.k_count);
  const int64_t c0 = chunks / g.k_count * g.c_size, k0 = chunks % g.k_count * g.k_size;
  const struct span all = span_of(g.s.lines, slab, g.slabs);
  const int64_t before = round_up(g.s.reach, 2);  // pixels of dy before the first of x
  bf16 *x = (bf16 *)scratch, *dy[2] = {x + g.c_size * g.wide, x + g.c_size * g.wide + 2 * g.k_size * g.pairs};
  float *dw = s->p[2] + slab * g.taps * g.c * g.k;
  int64_t tap[9];
  taps_of(&g.s, g.taps, tap);
  float block[9][WIDE * WIDE];
  for (int64_t lo = all.lo; lo < all.hi; lo += g.lines) {
    const int64_t at = lo * g.s.pitch, end = min_i(all.hi, lo + g.lines) * g.s.pitch;
    if (g.narrow_x)
      fill_turned(&g, s->p[0], c0, at, end, x, 1);
    else
      fill_turned(&g, s->p[0], c0, at, end, x, 0);
    for (int odd = 0; odd < (g.taps > 1 ? 2 : 1); odd++)
      if (g.narrow_dy)
        fill_pairs(&g, s->p[1], k0, at - before + odd, dy[odd], 1);
      else
        fill_pairs(&g, s->p[1], k0, at - before + odd, dy[odd], 0);
    BEGIN_TILES();
    for (int64_t c = 0; c < min_i(g.c_size, g.c - c0); c += WIDE)
      for (int64_t k = 0; k < min_i(g.k_size, g.k - k0); k += WIDE) {
        // A few pixels at a time, which stay in the first cache for all taps.
        for (int64_t f = 0; f < g.deep; f += NEAR)
          for (int64_t t = 0; t < g.taps; t++) {
            const int64_t pixel = before + f - tap[t];
            block_sum(x + c * g.wide + f, g.wide, dy[pixel % 2] + 2 * (k * g.pairs + pixel / 2 * WIDE), WIDE,
                      min_i(NEAR, g.deep - f), block[t], WIDE, f > 0);
          }
        for (int64_t t = 0; t < g.taps; t++)
          add_block(block[t], dw + (t * g.c + c0 + c) * g.k + k0 + k, g.k, min_i(WIDE, g.c - c0 - c),
                    min_i(WIDE, g.k - k0 - k), lo > all.lo);
      }
    END_TILES();
  }
}

INLINE int64_t bf16_conv_dw_scratch(const struct cpu_step *s) {
  const struct grad g = grad_of(s->d);
  return (g.c_size * g.wide + 4 * g.k_size * g.pairs) / 2 + DEEP;
}
