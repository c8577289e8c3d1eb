// conv.h: convolutions of any kernel, stride and padding, as products with the matrix whose row i holds what the
// kernel sees at output pixel i, [kh][kw][C] numbers. Blocks of its rows are gathered into scratch as needed.
// Winograd is faster where it applies, except for very few channels.

struct geometry { int64_t n, h, w, c, out_h, out_w, k, kh, kw, stride, pad, pad_x; };

// The dimensions of a conv_cols step, in this order, followed by what is particular to the kernel.
enum { CONV_DIMS = 12, GATHER_ROWS = 112 };
INLINE struct geometry geometry_of(const struct cpu_step *s) {
  const int64_t *d = s->d;
  return (struct geometry){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11]};
}

// patch_at is the part of kernel row ky that lies inside the image for output pixel (oy, ox): columns kx.lo..kx.hi,
// with column 0 at pixel (y, x).
struct patch { struct span kx; int64_t y, x; };
INLINE struct patch patch_at(const struct geometry *g, int64_t oy, int64_t ox, int64_t ky) {
  const int64_t y = oy * g->stride + ky - g->pad, x = ox * g->stride - g->pad_x;
  if (y < 0 || y >= g->h) return (struct patch){{0, 0}, 0, 0};
  const int64_t lo = x < 0 ? -x : 0, hi = min_i(g->kw, g->w - x);
  return (struct patch){{lo, hi > lo ? hi : lo}, y, x};
}

// gather writes rows lo..hi of the matrix.
NOINLINE void gather(const struct geometry *g, const float *x, int64_t lo, int64_t hi, float *rows) {
  const int64_t row = g->kw * g->c;
  for (int64_t i = lo; i < hi; i++) {
    const int64_t image = i / (g->out_h * g->out_w), oy = i / g->out_w % g->out_h, ox = i % g->out_w;
    for (int64_t ky = 0; ky < g->kh; ky++, rows += row) {
      const struct patch p = patch_at(g, oy, ox, ky);
      const float *from = x + ((image * g->h + p.y) * g->w + p.x) * g->c;
      for (int64_t j = 0; j < p.kx.lo * g->c; j++) rows[j] = 0;
      for (int64_t j = p.kx.lo * g->c; j < p.kx.hi * g->c; j++) rows[j] = from[j];
      for (int64_t j = p.kx.hi * g->c; j < row; j++) rows[j] = 0;
    }
  }
}

// scatter adds rows lo..hi to the pixels that gather would read them from.
NOINLINE void scatter(const struct geometry *g, const float *rows, int64_t lo, int64_t hi, float *x) {
  for (int64_t i = lo; i < hi; i++) {
    const int64_t image = i / (g->out_h * g->out_w), oy = i / g->out_w % g->out_h, ox = i % g->out_w;
    for (int64_t ky = 0; ky < g->kh; ky++, rows += g->kw * g->c) {
      const struct patch p = patch_at(g, oy, ox, ky);
      float *to = x + ((image * g->h + p.y) * g->w + p.x) * g->c;
      for (int64_t j = p.kx.lo * g->c; j < p.kx.hi * g->c; j++) to[j] += rows[j];
    }
  }
}

// conv_cols: p = x, w, y, bias or NULL, addend or NULL; d = geometry, rows of a part.
static void conv_cols(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct geometry g = geometry_of(s);
  const int64_t patch = g.kh * g.kw * g.c, total = g.n * g.out_h * g.out_w;
  const int64_t lo = part * s->d[CONV_DIMS], hi = min_i(total, lo + s->d[CONV_DIMS]);
  float *rows = scratch + PRODUCT_SCRATCH;
  gather(&g, s->p[0], lo, hi, rows);
  struct product q = {
      .a = {rows, patch, 0},
      .b = {s->p[1], g.k, 0},
      .c = s->p[2] + lo * g.k,
      .c_stride = g.k,
      .m = hi - lo,
      .n = g.k,
      .k = patch,
      .e = {s->p[3], s->p[4] ? s->p[4] + lo * g.k : NULL, 0},
  };
  multiply(&q, scratch);
}

static int64_t conv_cols_scratch(const struct cpu_step *s) {
  const struct geometry g = geometry_of(s);
  return PRODUCT_SCRATCH + s->d[CONV_DIMS] * g.kh * g.kw * g.c;
}

// conv_cols_dx: p = dy, w, dx, bias or NULL, addend or NULL; d = geometry. A part is an image.
static void conv_cols_dx(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct geometry g = geometry_of(s);
  const int64_t patch = g.kh * g.kw * g.c, pixels = g.out_h * g.out_w, image = g.h * g.w * g.c;
  float *rows = scratch + PRODUCT_SCRATCH, *dx = s->p[2] + part * image;
  for (int64_t i = 0; i < g.h * g.w; i++)
    for (int64_t c = 0; c < g.c; c++)
      dx[i * g.c + c] = (s->p[3] ? s->p[3][c] : 0) + (s->p[4] ? s->p[4][part * image + i * g.c + c] : 0);
  for (int64_t lo = part * pixels; lo < (part + 1) * pixels; lo += GATHER_ROWS) {
    const int64_t hi = min_i(lo + GATHER_ROWS, (part + 1) * pixels);
    struct product q = {
        .a = {s->p[0] + lo * g.k, g.k, 0},
        .b = {s->p[1], g.k, 1},
        .c = rows,
        .c_stride = patch,
        .m = hi - lo,
        .n = patch,
        .k = g.k,
    };
    multiply(&q, scratch);
    scatter(&g, rows, lo, hi, s->p[2]);
  }
}

// conv_cols_dw: p = x, dy, dw slabs; d = geometry, slabs. A part sums one slab of the output pixels.
static void conv_cols_dw(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct geometry g = geometry_of(s);
  const int64_t patch = g.kh * g.kw * g.c;
  const struct span pixels = span_of(g.n * g.out_h * g.out_w, part, s->d[CONV_DIMS]);
  float *rows = scratch + PRODUCT_SCRATCH, *dw = s->p[2] + part * patch * g.k;
  memset(dw, 0, patch * g.k * sizeof(float));
  for (int64_t lo = pixels.lo; lo < pixels.hi; lo += GATHER_ROWS) {
    const int64_t hi = min_i(lo + GATHER_ROWS, pixels.hi);
    gather(&g, s->p[0], lo, hi, rows);
    struct product q = {
        .a = {rows, patch, 1},
        .b = {s->p[1] + lo * g.k, g.k, 0},
        .c = dw,
        .c_stride = g.k,
        .m = patch,
        .n = g.k,
        .k = hi - lo,
        .accumulate = 1,
    };
    multiply(&q, scratch);
  }
}

static int64_t conv_cols_block_scratch(const struct cpu_step *s) {
  const struct geometry g = geometry_of(s);
  return PRODUCT_SCRATCH + GATHER_ROWS * g.kh * g.kw * g.c;
}

// flip_weights: p = w [taps][C][K], out [taps][K][C]; d = taps, C, K. Turns the kernel by 180 degrees and swaps its
// channels: the data gradient of a stride-1 convolution is the convolution with the result.
static void flip_weights(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t taps = s->d[0], c = s->d[1], k = s->d[2];
  const float *w = s->p[0] + part * c * k;
  float *out = s->p[1] + (taps - 1 - part) * c * k;
  for (int64_t i = 0; i < c; i++)
    for (int64_t j = 0; j < k; j++) out[j * c + i] = w[i * k + j];
}
