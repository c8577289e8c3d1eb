// gemm.h: matrix products of any size, C = op(A) op(B) + bias + addend, in blocks that fit the cache.

struct matrix { const float *at; int64_t stride; int transposed; };  // element (i,j): at[i*stride+j], or [j*stride+i]
struct product {
  struct matrix a, b;
  float *c;
  int64_t c_stride, m, n, k;
  struct epilogue e;  // addend has the strides of c
  int accumulate;     // C += instead of C = ; without an epilogue
};

enum { GEMM_N = 128, GEMM_K = 384, OUTER_K = 128 };  // block sizes; multiples of NR and CB

// pack_a copies rows r0.. (at most MR; the rest is zero) and columns k0..k0+k of A into a panel, and calls for the rows
// of the next.
INLINE void pack_a(const struct product *g, int64_t r0, int64_t k0, int64_t k, float *panel) {
  const int64_t rows = min_i(MR, g->m - r0), s = g->a.stride;
  const float *from = g->a.at + r0 * s + k0;
  for (int64_t b = 0; b < k; b += CB, panel += MR * CB) {
    const int64_t width = min_i(CB, k - b);
    UNROLL for (int i = 0; i < MR; i++) __builtin_prefetch(from + (MR + i) * s + b, 0, 2);
    for (int64_t i = 0; i < rows; i++)
      if (width == CB)
        memcpy(panel + i * CB, from + i * s + b, CB * sizeof(float));
      else
        memcpy(panel + i * CB, from + i * s + b, width * sizeof(float));
    for (int64_t i = rows; i < MR; i++) memset(panel + i * CB, 0, CB * sizeof(float));
  }
}

// pack_b_transposed is pack_b for a B stored by columns: CB of its rows at a time, so that lines are used whole.
INLINE void pack_b_transposed(const struct product *g, int64_t k0, int64_t k, int64_t n0, int64_t n, float *strips) {
  for (int64_t j = 0; j < n;) {
    const int64_t width = strip_width(n - j), real = min_i(width, n - j);
    for (int64_t i = 0; i < k; i += CB) {
      const int64_t rows = min_i(CB, k - i);
      for (int64_t q = 0; q < width; q++) {
        const float *from = g->b.at + (n0 + j + q) * g->b.stride + k0 + i;
        float *to = strips + i * width + q;
        if (q < real && rows == CB)
          UNROLL for (int r = 0; r < CB; r++) to[r * width] = from[r];
        else
          for (int64_t r = 0; r < rows; r++) to[r * width] = q < real ? from[r] : 0;
      }
    }
    strips += k * width;
    j += width;
  }
}

// pack_b copies rows k0..k0+k and columns n0..n0+n of B into strips, the last filled up with zeros.
INLINE void pack_b(const struct product *g, int64_t k0, int64_t k, int64_t n0, int64_t n, float *strips) {
  const int64_t s = g->b.stride;
  if (g->b.transposed) {
    pack_b_transposed(g, k0, k, n0, n, strips);
    return;
  }
  for (int64_t j = 0; j < n;) {
    const int64_t width = strip_width(n - j), real = min_i(width, n - j);
    for (int64_t i = 0; i < k; i++, strips += width) {
      const float *from = g->b.at + (k0 + i) * s + n0 + j;
      for (int64_t q = 0; q < real; q += VL) store(strips + q, load_n(from + q, real - q));
      for (int64_t q = round_up(real, VL); q < width; q++) strips[q] = 0;
    }
    j += width;
  }
}

// start_rows writes what the product is added to.
INLINE void start_rows(const struct product *g, int64_t r0, int64_t rows, int64_t n0, int64_t n) {
  for (int64_t i = r0; i < r0 + rows; i++)
    for (int64_t j = n0; j < n0 + n; j += VL) {
      const int64_t left = n0 + n - j, at = i * g->c_stride + j;
      vec v = g->e.bias ? load_n(g->e.bias + j, left) : (vec){0};
      if (g->e.add) v += load_n(g->e.add + at, left);
      store_n(g->c + at, v, left);
    }
}

INLINE void add_edge(const float *tile, float *c, int64_t c_stride, int64_t rows, int64_t n, int add) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < n; j++) c[i * c_stride + j] = tile[i * NR + j] + (add ? c[i * c_stride + j] : 0);
}

// panel_tile: one tile of C, of which `rows` rows and `n` columns exist. Its lines are called for before it is computed:
// with few columns of A the product would wait for the memory it is written to.
INLINE void panel_tile(const int nv, int64_t k, const float *panel, const float *strip, float *c, int64_t c_stride,
                       int64_t rows, int64_t n, const int add) {
  if (rows == MR && n >= nv * VL) {
    UNROLL for (int i = 0; i < MR; i++)
      for (int j = 0; j < nv * VL; j += 16) __builtin_prefetch(c + i * c_stride + j, 1, 2);
    tile_dot(nv, k, panel, strip, c, c_stride, CB, add);
  } else {
    float tile[MR * NR];
    tile_dot(nv, k, panel, strip, tile, NR, CB, 0);
    add_edge(tile, c, c_stride, rows, min_i(n, nv * VL), add);
  }
}

// multiply_panels: rows r0.. of C from one panel of A and the strips of B.
INLINE void multiply_panels(const struct product *g, int64_t r0, int64_t n0, int64_t n, int64_t k, const float *panel,
                            const float *strips, const int add) {
  const int64_t rows = min_i(MR, g->m - r0);
  float *c = g->c + r0 * g->c_stride + n0;
  for (int64_t j = 0; j < n;) {
    const int64_t width = strip_width(n - j);
    if (width == NR)
      panel_tile(NV, k, panel, strips, c + j, g->c_stride, rows, n - j, add);
    else
      panel_tile(NV_MIN, k, panel, strips, c + j, g->c_stride, rows, n - j, add);
    strips += k * width;
    j += width;
  }
}

// multiply_rows: A as stored. Scratch: GEMM_K * (GEMM_N + MR).
NOINLINE void multiply_rows(const struct product *g, float *scratch) {
  float *panel = scratch, *strips = scratch + GEMM_K * MR;
  const int started = g->accumulate || g->e.bias || g->e.add;
  for (int64_t n0 = 0; n0 < g->n; n0 += GEMM_N)
    for (int64_t k0 = 0; k0 < g->k; k0 += GEMM_K) {
      const int64_t n = min_i(GEMM_N, g->n - n0), k = min_i(GEMM_K, g->k - k0);
      pack_b(g, k0, k, n0, n, strips);
      for (int64_t r0 = 0; r0 < g->m; r0 += MR) {
        pack_a(g, r0, k0, k, panel);
        if (k0 == 0 && started && !g->accumulate) start_rows(g, r0, min_i(MR, g->m - r0), n0, n);
        if (k0 > 0 || started)
          multiply_panels(g, r0, n0, n, k, panel, strips, 1);
        else
          multiply_panels(g, r0, n0, n, k, panel, strips, 0);
      }
    }
}

// padded_rows returns rows k0..k0+k of a matrix, columns c0..c0+n rounded up to `multiple`, where the tiles may
// read them: in place where they fit, else copied into scratch.
INLINE struct matrix padded_rows(struct matrix x, int64_t k0, int64_t k, int64_t c0, int64_t n, int64_t multiple,
                                 float *scratch) {
  if (!x.transposed && n % multiple == 0) return (struct matrix){x.at + k0 * x.stride + c0, x.stride, 0};
  const int64_t wide = round_up(n, multiple);
  for (int64_t i = 0; i < k; i++) {
    float *row = scratch + i * wide;
    if (x.transposed)
      for (int64_t j = 0; j < n; j++) row[j] = x.at[(c0 + j) * x.stride + k0 + i];
    else
      memcpy(row, x.at + (k0 + i) * x.stride + c0, n * sizeof(float));
    memset(row + n, 0, (wide - n) * sizeof(float));
  }
  return (struct matrix){scratch, wide, 0};
}

// outer_tile: one tile of C += A'B, of which `rows` rows and `n` columns exist.
INLINE void outer_tile(const int nv, int64_t k, const float *a, int64_t a_stride, const float *b, int64_t b_stride,
                       float *c, int64_t c_stride, int64_t rows, int64_t n) {
  vec acc[OUTER_ROWS][NV];
  outer_clear(nv, acc);
  tile_outer(nv, k, a, a_stride, b, b_stride, CB, acc);
  if (rows >= OUTER_ROWS && n >= nv * VL) {
    outer_add(nv, acc, c, c_stride);
  } else {
    float tile[OUTER_ROWS * NR] = {0};
    outer_add(nv, acc, tile, NR);
    add_edge(tile, c, c_stride, min_i(rows, OUTER_ROWS), min_i(n, nv * VL), 1);
  }
}

// multiply_columns: A transposed, as in every weight gradient: rows of A and B are read as they lie, without packing.
// Scratch: OUTER_K * 2 * GEMM_N.
NOINLINE void multiply_columns(const struct product *g, float *scratch) {
  if (!g->accumulate) start_rows(g, 0, g->m, 0, g->n);
  const struct matrix all_rows = {g->a.at, g->a.stride, 0};
  for (int64_t k0 = 0; k0 < g->k; k0 += OUTER_K)
    for (int64_t n0 = 0; n0 < g->n; n0 += GEMM_N)
      for (int64_t m0 = 0; m0 < g->m; m0 += GEMM_N) {
        const int64_t k = min_i(OUTER_K, g->k - k0), n = min_i(GEMM_N, g->n - n0), m = min_i(GEMM_N, g->m - m0);
        const struct matrix a = padded_rows(all_rows, k0, k, m0, m, OUTER_ROWS, scratch);
        const struct matrix b = padded_rows(g->b, k0, k, n0, n, STRIP_MIN, scratch + OUTER_K * GEMM_N);
        float *c = g->c + m0 * g->c_stride + n0;
        // While these rows are multiplied, the next are fetched, a few for each tile.
        const int64_t next = k0 + k, left = min_i(OUTER_K, g->k - next);
        const int64_t each = ceil_div(left, ceil_div(m, OUTER_ROWS) * ceil_div(n, NR));
        int64_t fetched = 0;
        for (int64_t j = 0; j < n;) {
          const int64_t width = round_up(n, STRIP_MIN) - j >= NR ? NR : STRIP_MIN;
          for (int64_t i = 0; i < m; i += OUTER_ROWS) {
            for (const int64_t hi = min_i(left, fetched + each); fetched < hi; fetched++) {
              const float *ar = g->a.at + (next + fetched) * g->a.stride + m0;
              const float *br = g->b.at + (next + fetched) * g->b.stride + n0;
              for (int64_t q = 0; q < m; q += 16) __builtin_prefetch(ar + q, 0, 2);
              for (int64_t q = 0; q < n; q += 16) __builtin_prefetch(br + q, 0, 2);
            }
            float *at = c + i * g->c_stride + j;
            if (width == NR)
              outer_tile(NV, k, a.at + i, a.stride, b.at + j, b.stride, at, g->c_stride, m - i, n - j);
            else
              outer_tile(NV_MIN, k, a.at + i, a.stride, b.at + j, b.stride, at, g->c_stride, m - i, n - j);
          }
          j += width;
        }
      }
}

enum { PRODUCT_SCRATCH = GEMM_K * (GEMM_N + MR) > 2 * OUTER_K * GEMM_N ? GEMM_K * (GEMM_N + MR) : 2 * OUTER_K * GEMM_N };

INLINE void multiply(const struct product *g, float *scratch) {
  if (g->a.transposed)
    multiply_columns(g, scratch);
  else
    multiply_rows(g, scratch);
}

// gemm: p = A, B, C, bias [N] or NULL, addend (like C) or NULL; d = batch, M, N, K, A transposed, B transposed,
// rows of a part, columns of a part, slabs. With slabs > 1, K is cut, and C is [slab][batch][M][N].
static void gemm(const struct cpu_step *s, int64_t part, float *scratch) {
  const int64_t batch = s->d[0], m = s->d[1], n = s->d[2], k = s->d[3], ta = s->d[4], tb = s->d[5];
  const int64_t rows = s->d[6], columns = s->d[7], slabs = s->d[8];
  const int64_t across = ceil_div(n, columns), down = ceil_div(m, rows);
  const int64_t n0 = part % across * columns, m0 = part / across % down * rows;
  const int64_t b = part / across / down % batch, slab = part / across / down / batch;
  const struct span depth = span_of(k, slab, slabs);
  struct product g = {
      .a = {s->p[0] + b * m * k + (ta ? depth.lo * m + m0 : m0 * k + depth.lo), ta ? m : k, (int)ta},
      .b = {s->p[1] + b * k * n + (tb ? n0 * k + depth.lo : depth.lo * n + n0), tb ? k : n, (int)tb},
      .c = s->p[2] + (slab * batch + b) * m * n + m0 * n + n0,
      .c_stride = n,
      .m = min_i(rows, m - m0),
      .n = min_i(columns, n - n0),
      .k = depth.hi - depth.lo,
      .e = {s->p[3] ? s->p[3] + n0 : NULL, s->p[4] ? s->p[4] + b * m * n + m0 * n + n0 : NULL, 0},
  };
  multiply(&g, scratch);
}

static int64_t gemm_scratch(const struct cpu_step *s) {
  (void)s;
  return PRODUCT_SCRATCH;
}

// sum_slabs: p = slabs, out; d = size, slabs, entries of a part. Adds the slabs in order.
static void sum_slabs(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t size = s->d[0], slabs = s->d[1], hi = min_i(size, (part + 1) * s->d[2]);
  for (int64_t i = part * s->d[2]; i < hi; i += VL) {
    vec v = load_n(s->p[0] + i, hi - i);
    for (int64_t b = 1; b < slabs; b++) v += load_n(s->p[0] + b * size + i, hi - i);
    store_n(s->p[1] + i, v, hi - i);
  }
}
