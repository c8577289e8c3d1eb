// move.h: copies, pooling, and broadcasts and sums over the axes of package op.

INLINE void copy_row(const float *from, float *to, int64_t n, const int whole) {
  for (int64_t j = 0; j < n; j += VL) store_n(to + j, load_n(from + j, LEFT(n, j)), LEFT(n, j));
}

enum { NARROW_FROM = 1, NARROW_TO = 2 };  // see bf16.h

// copy: p = src, dst; d = four outer sizes, length of a row, four strides of src, four of dst, and how many of the
// first axis make a part, and which of them are narrow. Concat, slice, pad, upsample, and splitting and merging heads are
// all this.
INLINE void copy_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  (void)scratch;
  const int64_t *size = s->d, n = s->d[4], *from = s->d + 5, *to = s->d + 9;
  const int64_t hi = min_i(size[0], (part + 1) * s->d[13]);
  for (int64_t a = part * s->d[13]; a < hi; a++)
    for (int64_t b = 0; b < size[1]; b++)
      for (int64_t c = 0; c < size[2]; c++)
        for (int64_t e = 0; e < size[3]; e++) {
          const int64_t x = a * from[0] + b * from[1] + c * from[2] + e * from[3];
          const int64_t y = a * to[0] + b * to[1] + c * to[2] + e * to[3];
          for (int64_t j = 0; j < n; j += VL)
            store_at(s->p[1], y + j, load_at(s->p[0], x + j, LEFT(n, j), narrow & NARROW_FROM), LEFT(n, j), narrow & NARROW_TO);
        }
}
WHOLE_OR_NARROW(copy, s->d[4], s->d[14])

// pool: p = x, y; d = output rows of all images, output width, C, rows of a part, which are narrow. Sums of 2x2 pixels.
INLINE void pool_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  (void)scratch;
  const int64_t w = s->d[1], c = s->d[2], hi = min_i(s->d[0], (part + 1) * s->d[3]);
  for (int64_t i = part * s->d[3]; i < hi; i++)
    for (int64_t j = 0; j < w; j++) {
      const int64_t top = (i * 2 * w + j) * 2 * c, bottom = top + 2 * w * c;
      for (int64_t k = 0; k < c; k += VL) {
        const int64_t left = LEFT(c, k);
        const int from = narrow & NARROW_FROM;
        vec v = load_at(s->p[0], top + k, left, from) + load_at(s->p[0], top + c + k, left, from);
        v += load_at(s->p[0], bottom + k, left, from) + load_at(s->p[0], bottom + c + k, left, from);
        store_at(s->p[1], (i * w + j) * c + k, v, left, narrow & NARROW_TO);
      }
    }
}
WHOLE_OR_NARROW(pool, s->d[2], s->d[4])

// A large tensor is [A][P][G][D], a small one [A][G]: see axes in lower_move.go. d = A, P, G, D, ...

// broadcast: p = small, large; d[4] = rows (of A*P) of a part.
INLINE void broadcast_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  (void)scratch;
  const int64_t pixels = s->d[1], groups = s->d[2], d = s->d[3];
  const int64_t hi = min_i(s->d[0] * pixels, (part + 1) * s->d[4]);
  for (int64_t r = part * s->d[4]; r < hi; r++) {
    const float *small = s->p[0] + r / pixels * groups;
    float *large = s->p[1] + r * groups * d;
    if (d == 1) {
      copy_row(small, large, groups, whole);
      continue;
    }
    for (int64_t g = 0; g < groups; g++)
      for (int64_t j = 0; j < d; j += VL) store_n(large + g * d + j, splat(small[g]), LEFT(d, j));
  }
}
WHOLE_OR_PARTIAL(broadcast, s->d[3] == 1 ? s->d[2] : s->d[3])

INLINE float sum_range(const float *x, int64_t n) {
  vec total[4] = {{0}, {0}, {0}, {0}};
  int64_t i = 0;
  for (; i + 4 * VL <= n; i += 4 * VL)
    UNROLL for (int j = 0; j < 4; j++) total[j] += load(x + i + j * VL);
  for (; i < n; i += VL) total[0] += load_n(x + i, n - i);
  return sum_v(total[0] + total[1] + (total[2] + total[3]));
}

// sum: p = large, small; d[4] = how many of A make a part, d[5] = slabs, d[6] = whether large is narrow (see bf16.h),
// where G is not 1. With slabs > 1, P (P*D where G is 1) is cut, and small is [slab][A][G].
INLINE void sum_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  const int64_t outer = s->d[0], pixels = s->d[1], groups = s->d[2], d = s->d[3], slabs = s->d[5], c = groups * d;
  const int64_t slab = part % slabs, lo = part / slabs * s->d[4], hi = min_i(outer, lo + s->d[4]);
  for (int64_t a = lo; a < hi; a++) {
    const float *large = s->p[0] + a * pixels * c;
    float *small = s->p[1] + (slab * outer + a) * groups;
    if (groups == 1) {
      const struct span range = span_of(pixels * d, slab, slabs);
      *small = sum_range(large + range.lo, range.hi - range.lo);
      continue;
    }
    const struct span range = span_of(pixels, slab, slabs);
    float *total = d == 1 ? small : scratch;
    for (int64_t k = 0; k < c; k += VL) {
      const int64_t left = LEFT(c, k);
      vec even = {0}, odd = {0};
      int64_t p = range.lo;
      if (s->d[6])
        for (; p < range.hi; p++) even += load_at(s->p[0], (a * pixels + p) * c + k, left, 1);
      for (; p + 2 <= range.hi; p += 2) {
        even += load_n(large + p * c + k, left);
        odd += load_n(large + (p + 1) * c + k, left);
      }
      if (p < range.hi) even += load_n(large + p * c + k, left);
      store_n(total + k, even + odd, left);
    }
    for (int64_t g = 0; d > 1 && g < groups; g++) small[g] = sum_range(total + g * d, d);
  }
}
WHOLE_OR_PARTIAL(sum, s->d[2] * s->d[3])

static int64_t sum_scratch(const struct cpu_step *s) { return s->d[2] * s->d[3]; }
