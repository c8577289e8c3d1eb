// panels.h: convolutions of any kernel, stride and padding for networks that run forward only, as products with the
// matrix of conv.h: bias and ReLU at the tile, weights packed once, what the kernel sees copied from the image straight
// into the panels that the tiles read, and the result written with a stride of its own, into a concatenation.
// Channels out are multiples of CB, and so are channels in, unless the whole depth (kh·kw·C) is at most PANEL_K.
enum { PANEL_K = 384, PANEL_DIMS = CONV_DIMS };

// panel_source is where the kernel's first tap is for one row of the matrix: pixel (y, x) of the image at `image`.
struct panel_source { const float *image; int64_t y, x; };

INLINE void find_sources(const struct geometry *g, const float *x, int64_t lo, int64_t rows, struct panel_source *to) {
  int64_t image = lo / (g->out_h * g->out_w), oy = lo / g->out_w % g->out_h, ox = lo % g->out_w;
  for (int64_t i = 0; i < rows; i++) {
    to[i] = (struct panel_source){x + image * g->h * g->w * g->c, oy * g->stride - g->pad, ox * g->stride - g->pad_x};
    if (++ox < g->out_w) continue;
    ox = 0;
    if (++oy < g->out_h) continue;
    oy = 0;
    image++;
  }
}

// pack_patches writes columns k0..k0+k of the matrix for `rows` rows (at most MR; the rest is zero) into a panel.
INLINE void pack_patches(const struct geometry *g, const struct panel_source *from, int64_t rows, int64_t k0, int64_t k,
                         float *panel) {
  int64_t tap = k0 / g->c, c = k0 % g->c;
  while (k > 0) {
    const int64_t ky = tap / g->kw, kx = tap % g->kw, width = min_i(k, g->c - c);
    for (int64_t i = 0; i < MR; i++) {
      float *to = panel + i * CB;
      const int64_t y = i < rows ? from[i].y + ky : -1, x = i < rows ? from[i].x + kx : -1;
      if (y < 0 || y >= g->h || x < 0 || x >= g->w) {
        for (int64_t b = 0; b < width; b += CB) memset(to + b * MR, 0, CB * sizeof(float));
      } else {
        const float *at = from[i].image + (y * g->w + x) * g->c + c;
        if (g->kh * g->kw == 1)  // what the next panel reads
          for (int64_t b = 0; b < width; b += CB) __builtin_prefetch(at + MR * g->c + b, 0, 2);
        for (int64_t b = 0; b < width; b += CB) memcpy(to + b * MR, at + b, CB * sizeof(float));
      }
    }
    panel += width * MR;
    k -= width;
    tap++;
    c = 0;
  }
}

// pack_few is pack_patches for the whole depth and any number of channels; the rest of the last block is zero.
INLINE void pack_few(const struct geometry *g, const struct panel_source *from, int64_t rows, float *panel) {
  const int64_t depth = round_up(g->kh * g->kw * g->c, CB);
  for (int64_t i = 0; i < MR; i++) {
    float row[PANEL_K] = {0};
    for (int64_t ky = 0; ky < g->kh && i < rows; ky++) {
      const int64_t y = from[i].y + ky, x = from[i].x, lo = x < 0 ? -x : 0, hi = min_i(g->kw, g->w - x);
      if (y >= 0 && y < g->h && lo < hi)
        memcpy(row + (ky * g->kw + lo) * g->c, from[i].image + (y * g->w + x + lo) * g->c, (hi - lo) * g->c * sizeof(float));
    }
    for (int64_t b = 0; b < depth; b += CB) memcpy(panel + b * MR + i * CB, row + b, CB * sizeof(float));
  }
}

// tile_into: out[MR][nv*VL] = relu?(start + panel[MR][depth] * strip[depth][nv*VL]), where start is the bias (zero
// if NULL) in the first block of the depth, and out in the others.
INLINE void tile_into(const int nv, int64_t depth, const float *a, const float *b, float *out, const int64_t stride,
                      const float *bias, int first, int relu) {
  vec acc[MR][NV];
  if (first) {
    UNROLL for (int i = 0; i < MR; i++)
      for (int j = 0; j < nv * VL; j += 16) __builtin_prefetch(out + i * stride + j, 1, 2);
    UNROLL for (int j = 0; j < nv; j++) {
      const vec v = bias ? load(bias + j * VL) : (vec){0};
      UNROLL for (int i = 0; i < MR; i++) acc[i][j] = v;
    }
  } else {
    UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < nv; j++) acc[i][j] = load(out + i * stride + j * VL);
  }
  for (int64_t block = depth / CB; block > 0; block--, a += MR * CB) {
    _Pragma("GCC unroll 2") for (int k = 0; k < CB; k++, b += nv * VL) tile_step(nv, a + k, b, acc);
  }
  if (relu) UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < nv; j++) acc[i][j] = max_v(acc[i][j], (vec){0});
  UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < nv; j++) store(out + i * stride + j * VL, acc[i][j]);
}

// edge_into is tile_into for a last panel of fewer rows.
NOINLINE void edge_into(const int width, int64_t depth, const float *a, const float *b, float *out, int64_t stride,
                        const float *bias, int first, int relu, int64_t rows) {
  float tile[MR * NR] = {0};
  for (int64_t i = 0; i < rows && !first; i++) memcpy(tile + i * NR, out + i * stride, width * sizeof(float));
  if (width == NR)
    tile_into(NV, depth, a, b, tile, NR, bias, first, relu);
  else
    tile_into(NV_MIN, depth, a, b, tile, NR, bias, first, relu);
  for (int64_t i = 0; i < rows; i++) memcpy(out + i * stride, tile + i * NR, width * sizeof(float));
}

// conv_panels: p = x, packed weights, y, bias or NULL; d = geometry, rows of a part, columns of a part (a multiple of
// NR), distance of two pixels of y, ReLU.
static void conv_panels(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct geometry g = geometry_of(s);
  const int64_t depth = round_up(g.kh * g.kw * g.c, CB), total = g.n * g.out_h * g.out_w, stride = s->d[PANEL_DIMS + 2];
  const int64_t across = ceil_div(g.k, s->d[PANEL_DIMS + 1]);
  const int64_t n0 = part % across * s->d[PANEL_DIMS + 1], n1 = min_i(g.k, n0 + s->d[PANEL_DIMS + 1]);
  const int64_t lo = part / across * s->d[PANEL_DIMS], hi = min_i(total, lo + s->d[PANEL_DIMS]);
  const float *strips = s->p[1] + n0 * depth;
  struct panel_source from[MR];
  for (int64_t k0 = 0; k0 < depth; k0 += PANEL_K) {
    const int64_t k = min_i(PANEL_K, depth - k0);
    const int first = k0 == 0, relu = s->d[PANEL_DIMS + 3] && k0 + k == depth;
    for (int64_t r = lo; r < hi; r += MR) {
      const int64_t rows = min_i(MR, hi - r);
      find_sources(&g, s->p[0], r, rows, from);
      if (g.c % CB == 0)
        pack_patches(&g, from, rows, k0, k, scratch);
      else
        pack_few(&g, from, rows, scratch);
      const float *strip = strips;
      for (int64_t j = n0; j < n1;) {
        const int64_t width = strip_width(n1 - j);
        const float *b = strip + k0 * width, *bias = s->p[3] ? s->p[3] + j : NULL;
        float *out = s->p[2] + r * stride + j;
        if (rows < MR)
          edge_into(width, k, scratch, b, out, stride, bias, first, relu, rows);
        else if (width == NR)
          tile_into(NV, k, scratch, b, out, stride, bias, first, relu);
        else
          tile_into(NV_MIN, k, scratch, b, out, stride, bias, first, relu);
        strip += depth * width;
        j += width;
      }
    }
  }
}

static int64_t conv_panels_scratch(const struct cpu_step *s) {
  (void)s;
  return PANEL_K * MR;
}

// pack_weights: p = w [depth][k], packed; d = depth, k. The strips of conv_panels, the depth filled up with zeros to
// whole blocks; a part is one of them.
static void pack_weights(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t depth = s->d[0], k = s->d[1], j = part * NR, width = strip_width(k - j), filled = round_up(depth, CB);
  float *to = s->p[1] + j * filled;
  for (int64_t i = 0; i < depth; i++, to += width) memcpy(to, s->p[0] + i * k + j, width * sizeof(float));
  memset(to, 0, (filled - depth) * width * sizeof(float));
}
