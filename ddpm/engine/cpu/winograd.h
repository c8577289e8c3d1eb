// winograd.h: 3x3 convolution, stride 1, padding 1, by Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray
// 2015) with the points 0, +-5/8, +-3/2, infinity. An output tile of 4x4 pixels needs a 6x6 input tile; both become
// 36 numbers a channel, between which the convolution is a product over channels: 36 multiplications instead of 144.
//
//   y = At [ (G w Gt) . (Bt x B) ] A      forward; the data gradient is the same with flipped, transposed weights
//   dw = Gt [ (A dy At) . (Bt x B) ] G    weight gradient
//
// Activations are NHWC, weights [3][3][C][K]. Inside, channel counts are rounded up to multiples of 16 (Cp, Kp):
// partial loads fill up with zeros, partial stores drop what is beyond.

#define P1 0.625f
#define P2 1.5f
#define Q1 (P1 * P1)
#define Q2 (P2 * P2)
#define N0 (1.f / (Q1 * Q2))
#define N1 (1.f / (2 * Q1 * (Q1 - Q2)))
#define N2 (1.f / (2 * Q2 * (Q2 - Q1)))

enum { POSITIONS = 36 };

// The one-dimensional transforms; the result goes to o[0], o[s], o[2s], ...
INLINE void input_1d(vec d0, vec d1, vec d2, vec d3, vec d4, vec d5, vec *o, const int s) {  // Bt d
  vec e = d4 - Q2 * d2, f = P1 * (d3 - Q2 * d1), g = d4 - Q1 * d2, h = P2 * (d3 - Q1 * d1);
  o[0] = (Q1 * Q2) * d0 - (Q1 + Q2) * d2 + d4;
  o[s] = e + f;
  o[2 * s] = e - f;
  o[3 * s] = g + h;
  o[4 * s] = g - h;
  o[5 * s] = (Q1 * Q2) * d1 - (Q1 + Q2) * d3 + d5;
}
INLINE void output_1d(vec m0, vec m1, vec m2, vec m3, vec m4, vec m5, vec *o, const int s) {  // At m
  vec a = m1 + m2, b = m1 - m2, c = m3 + m4, d = m3 - m4;
  o[0] = m0 + a + c;
  o[s] = P1 * b + P2 * d;
  o[2 * s] = Q1 * a + Q2 * c;
  o[3 * s] = (P1 * Q1) * b + (P2 * Q2) * d + m5;
}
INLINE void output_grad_1d(vec y0, vec y1, vec y2, vec y3, vec *o, const int s) {  // A y
  vec e = y0 + Q1 * y2, f = P1 * (y1 + Q1 * y3), g = y0 + Q2 * y2, h = P2 * (y1 + Q2 * y3);
  o[0] = y0;
  o[s] = e + f;
  o[2 * s] = e - f;
  o[3 * s] = g + h;
  o[4 * s] = g - h;
  o[5 * s] = y3;
}
INLINE void weight_1d(vec w0, vec w1, vec w2, vec *o, const int s) {  // G w
  vec e = N1 * (w0 + Q1 * w2), f = (N1 * P1) * w1, g = N2 * (w0 + Q2 * w2), h = (N2 * P2) * w1;
  o[0] = N0 * w0;
  o[s] = e + f;
  o[2 * s] = e - f;
  o[3 * s] = g + h;
  o[4 * s] = g - h;
  o[5 * s] = w2;
}
INLINE void weight_grad_1d(vec u0, vec u1, vec u2, vec u3, vec u4, vec u5, vec *o, const int s) {  // Gt u
  vec a = N1 * (u1 + u2), b = (N1 * P1) * (u1 - u2), c = N2 * (u3 + u4), d = (N2 * P2) * (u3 - u4);
  o[0] = N0 * u0 + a + c;
  o[s] = b + d;
  o[2 * s] = Q1 * a + Q2 * c + u5;
}

// tiling numbers the 4x4 tiles of a batch of H x W images, row by row, image after image.
struct tiling { int64_t h, w, across, per_image, total; };
INLINE struct tiling tiling_of(int64_t n, int64_t h, int64_t w) {
  int64_t across = ceil_div(w, 4), per_image = across * ceil_div(h, 4);
  return (struct tiling){h, w, across, per_image, n * per_image};
}
struct tile { int64_t image, y, x; };  // the tile's first output pixel
INLINE struct tile tile_at(const struct tiling *t, int64_t i) {
  int64_t r = i % t->per_image;
  return (struct tile){i / t->per_image, r / t->across * 4, r % t->across * 4};
}

// odd_lines is the distance between two of the 36 positions of something: size rounded up to an odd number of cache
// lines, or all 36 would fall into a few sets of the caches.
INLINE int64_t odd_lines(int64_t size) { return size / 16 % 2 ? size : size + 16; }

// plane is that distance for `panels` transformed panels.
INLINE int64_t plane(int64_t panels, int64_t channels) { return odd_lines(panels * MR * channels); }

// find_pixels points at the size x size pixels from (tile.y + shift, tile.x + shift) on; at zeros outside the image.
INLINE void find_pixels(const float **pixel, const int size, const float *x, int64_t stride, const struct tiling *t,
                        struct tile at, const int shift) {
  const int64_t y0 = at.y + shift, x0 = at.x + shift;
  const int inside = x0 >= 0 && x0 + size <= t->w;
  const float *row = x + ((at.image * t->h + y0) * t->w + x0) * stride;
  for (int i = 0; i < size; i++, row += t->w * stride, pixel += size) {
    const int row_inside = y0 + i >= 0 && y0 + i < t->h;
    if (row_inside && inside) {
      UNROLL for (int j = 0; j < size; j++) pixel[j] = row + j * stride;
    } else {
      UNROLL for (int j = 0; j < size; j++)
        pixel[j] = row_inside && x0 + j >= 0 && x0 + j < t->w ? row + j * stride : zero_pixel;
    }
  }
}

INLINE void transform_input(const float *const pixel[36], int64_t c, const int64_t left, float *out, int64_t step) {
  vec rows[36], column[6];
  UNROLL for (int i = 0; i < 6; i++) {
    const float *const *p = pixel + i * 6;
    input_1d(load_n(p[0] + c, left), load_n(p[1] + c, left), load_n(p[2] + c, left), load_n(p[3] + c, left),
             load_n(p[4] + c, left), load_n(p[5] + c, left), rows + i * 6, 1);
  }
  UNROLL for (int j = 0; j < 6; j++) {
    input_1d(rows[j], rows[6 + j], rows[12 + j], rows[18 + j], rows[24 + j], rows[30 + j], column, 1);
    UNROLL for (int i = 0; i < 6; i++) store(out + (i * 6 + j) * step, column[i]);
  }
}

INLINE void transform_output_grad(const float *const pixel[16], int64_t c, const int64_t left, float *out,
                                  int64_t step) {
  vec rows[24], column[6];
  UNROLL for (int i = 0; i < 4; i++) {
    const float *const *p = pixel + i * 4;
    output_grad_1d(load_n(p[0] + c, left), load_n(p[1] + c, left), load_n(p[2] + c, left), load_n(p[3] + c, left),
                   rows + i * 6, 1);
  }
  UNROLL for (int j = 0; j < 6; j++) {
    output_grad_1d(rows[j], rows[6 + j], rows[12 + j], rows[18 + j], column, 1);
    UNROLL for (int i = 0; i < 6; i++) store(out + (i * 6 + j) * step, column[i]);
  }
}

INLINE void clear_tile(float *out, int64_t channels, int64_t step) {
  for (int64_t c = 0; c < channels; c += CB)
    for (int i = 0; i < POSITIONS; i++) memset(out + i * step + c * MR, 0, CB * sizeof(float));
}

// load_input_tiles transforms input tiles lo..hi of x (pixels `stride` floats apart, of which `real` channels are
// used and rounded up to `channels`) into panels. Rows without a tile are zero. x has `border` pixels more on each side
// than the output that t divides: 0 with padding 1, 1 without padding.
NOINLINE void load_input_tiles(const float *x, int64_t stride, int64_t real, int64_t channels, const struct tiling *t,
                               const int border, int64_t lo, int64_t hi, int64_t panels, float *panel) {
  const int64_t step = plane(panels, channels);
  struct tiling in = *t;
  in.h += 2 * border;
  in.w += 2 * border;
  for (int64_t q = 0; q < panels * MR; q++) {
    float *out = panel + q / MR * channels * MR + q % MR * CB;
    if (lo + q >= hi) {
      clear_tile(out, channels, step);
      continue;
    }
    struct tile at = tile_at(t, lo + q);
    const float *pixel[36];
    find_pixels(pixel, 6, x, stride, &in, at, border - 1);
    // What the tile after the next will read and the next will not.
    for (int i = 0; i < 6; i++)
      for (int j = 2; j < 6; j++)
        for (int64_t c = 0; c < real; c += 16) __builtin_prefetch(pixel[i * 6 + j] + 8 * stride + c, 0, 2);
    int64_t c = 0;
    for (; c + VL <= real; c += VL) transform_input(pixel, c, VL, out + panel_column(c), step);
    for (; c < channels; c += VL) transform_input(pixel, c, real - c, out + panel_column(c), step);
  }
}

// load_output_grad_tiles is load_input_tiles for the 4x4 tiles of dy.
NOINLINE void load_output_grad_tiles(const float *dy, int64_t stride, int64_t real, int64_t channels,
                                     const struct tiling *t, int64_t lo, int64_t hi, int64_t panels, float *panel) {
  const int64_t step = plane(panels, channels);
  for (int64_t q = 0; q < panels * MR; q++) {
    float *out = panel + q / MR * channels * MR + q % MR * CB;
    if (lo + q >= hi) {
      clear_tile(out, channels, step);
      continue;
    }
    struct tile at = tile_at(t, lo + q);
    const float *pixel[16];
    find_pixels(pixel, 4, dy, stride, t, at, 0);
    int64_t c = 0;
    for (; c + VL <= real; c += VL) transform_output_grad(pixel, c, VL, out + panel_column(c), step);
    for (; c < channels; c += VL) transform_output_grad(pixel, c, real - c, out + panel_column(c), step);
  }
}

INLINE void store_tile(const vec y[16], float *out, struct epilogue e, int64_t c, const int64_t left, int64_t rows,
                       int64_t columns, int64_t w, int64_t k) {
  vec bias = e.bias ? load_n(e.bias + c, left) : (vec){0};
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      int64_t at = (i * w + j) * k + c;
      vec v = y[i * 4 + j] + bias;
      if (e.add) v += load_n(e.add + at, left);
      if (e.relu) v = max_v(v, (vec){0});
      store_n(out + at, v, left);
    }
}

// store_output_tiles transforms product panels back into output tiles lo..hi of y, which has k channels in pixels that
// are `apart` floats apart.
NOINLINE void store_output_tiles(const float *panel, const struct tiling *t, int64_t lo, int64_t hi, int64_t panels,
                                 int64_t k, int64_t apart, struct epilogue e, float *y) {
  const int64_t channels = round_up(k, CB), step = plane(panels, channels);
  for (int64_t q = 0; q < hi - lo; q++) {
    const float *in = panel + q / MR * channels * MR + q % MR * CB;
    struct tile at = tile_at(t, lo + q);
    int64_t first = ((at.image * t->h + at.y) * t->w + at.x) * apart;
    int64_t rows = min_i(4, t->h - at.y), columns = min_i(4, t->w - at.x);
    struct epilogue here = {e.bias, e.add ? e.add + first : NULL, e.relu};
    for (int64_t c = 0; c < k; c += VL) {
      const float *m = in + panel_column(c);
      vec half[24], out[16];
      UNROLL for (int j = 0; j < 6; j++) {
        const float *z = m + j * step;
        output_1d(load(z), load(z + 6 * step), load(z + 12 * step), load(z + 18 * step), load(z + 24 * step),
                  load(z + 30 * step), half + j, 6);
      }
      UNROLL for (int i = 0; i < 4; i++) {
        vec *z = half + i * 6;
        output_1d(z[0], z[1], z[2], z[3], z[4], z[5], out + i * 4, 1);
      }
      if (rows == 4 && columns == 4 && c + VL <= k)
        store_tile(out, y + first, here, c, VL, 4, 4, t->w, apart);
      else
        store_tile(out, y + first, here, c, k - c, rows, columns, t->w, apart);
    }
  }
}

// position_product: panels of M = panels of V * U at one position; U packed in strips.
NOINLINE void position_product(int64_t panels, int64_t c, int64_t k, const float *v, const float *u, float *m) {
  for (int64_t p = 0; p < panels; p++) {
    const float *a = v + p * c * MR, *b = u;
    float *out = m + p * k * MR;
    for (int64_t k0 = 0; k0 < k;) {
      const int64_t width = k0 + NR <= k ? NR : STRIP_MIN;
      if (width == NR)
        tile_dot(NV, c, a, b, out + panel_column(k0), CB, MR * CB, 0);
      else
        tile_dot(NV_MIN, c, a, b, out + panel_column(k0), CB, MR * CB, 0);
      b += c * width;
      k0 += width;
    }
  }
}

// outer_strip: OUTER_ROWS rows of a strip of dU.
INLINE void outer_strip(const int nv, int64_t panels, int64_t c, int64_t k, const float *v, const float *m, float *du) {
  vec acc[OUTER_ROWS][NV];
  UNROLL for (int i = 0; i < OUTER_ROWS; i++) __builtin_prefetch(du + i * k, 1);
  outer_clear(nv, acc);
  for (int64_t p = 0; p < panels; p++) tile_outer(nv, MR, v + p * c * MR, CB, m + p * k * MR, CB, MR * CB, acc);
  outer_add(nv, acc, du, k);
}

// position_outer: dU[c][k] += V' M over all panels at one position.
NOINLINE void position_outer(int64_t panels, int64_t c, int64_t k, const float *v, const float *m, float *du) {
  for (int64_t k0 = 0; k0 < k;) {
    const int64_t width = k0 + NR <= k ? NR : STRIP_MIN;
    for (int64_t c0 = 0; c0 < c; c0 += OUTER_ROWS) {
      const float *a = v + panel_column(c0), *b = m + panel_column(k0);
      if (width == NR)
        outer_strip(NV, panels, c, k, a, b, du + c0 * k + k0);
      else
        outer_strip(NV_MIN, panels, c, k, a, b, du + c0 * k + k0);
    }
    k0 += width;
  }
}

// load_taps reads a 16 x 16 block of channels of the nine taps, filled up with zeros, as [tap][c][k]. With flip, w is
// [3][3][K][C], and what is read is the weights of the convolution that is w's data gradient.
INLINE void load_taps(const float *w, int64_t c, int64_t k, int64_t c0, int64_t k0, int flip, float block[9][CB][CB]) {
  const int64_t cs = min_i(CB, c - c0), ks = min_i(CB, k - k0);
  if (cs < CB || ks < CB) memset(block, 0, sizeof(float) * 9 * CB * CB);
  for (int tap = 0; tap < 9; tap++) {
    if (flip) {
      const float *from = w + ((8 - tap) * k + k0) * c + c0;
      for (int64_t j = 0; j < ks; j++, from += c)
        if (cs == CB)
          UNROLL for (int i = 0; i < CB; i++) block[tap][i][j] = from[i];
        else
          for (int64_t i = 0; i < cs; i++) block[tap][i][j] = from[i];
    } else {
      const float *from = w + (tap * c + c0) * k + k0;
      for (int64_t i = 0; i < cs; i++, from += k)
        for (int64_t j = 0; j < ks; j += VL) store_n(&block[tap][i][j], load_n(from + j, ks - j), ks - j);
    }
  }
}

// transform_taps writes the 36 positions of VL weights that follow one another in k, `step` apart.
INLINE void transform_taps(const float *tap, float *out, int64_t step) {
  vec rows[18], column[6];
  UNROLL for (int r = 0; r < 3; r++)
    weight_1d(load(tap + r * 3 * CB * CB), load(tap + (r * 3 + 1) * CB * CB), load(tap + (r * 3 + 2) * CB * CB),
              rows + r * 6, 1);
  UNROLL for (int x = 0; x < 6; x++) {
    weight_1d(rows[x], rows[6 + x], rows[12 + x], column, 1);
    UNROLL for (int y = 0; y < 6; y++) store(out + (y * 6 + x) * step, column[y]);
  }
}

// wino_weights: p = w, U; d = C, K, flip. U is [36][Cp*Kp] in strips. A part transforms one 16 x 16 block of
// channels.
static void wino_weights(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t c = s->d[0], k = s->d[1], cp = round_up(c, CB), kp = round_up(k, CB), step = odd_lines(cp * kp);
  const int64_t c0 = part / (kp / CB) * CB, k0 = part % (kp / CB) * CB;
  float block[9][CB][CB];
  load_taps(s->p[0], c, k, c0, k0, (int)s->d[2], block);
  for (int64_t j = 0; j < CB; j += VL) {
    const int64_t strip = (k0 + j) / NR * NR, width = strip + NR <= kp ? NR : STRIP_MIN;
    float *out = s->p[1] + strip * cp + c0 * width + (k0 + j - strip);
    for (int64_t i = 0; i < CB; i++) transform_taps(&block[0][i][j], out + i * width, step);
  }
}

// wino_forward: p = x, U, y, bias or NULL, addend or NULL; d = N, H, W (of y), C, K, panels of a part, border (see
// load_input_tiles), distance of two pixels of y, ReLU.
static void wino_forward(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct tiling t = tiling_of(s->d[0], s->d[1], s->d[2]);
  const int64_t c = s->d[3], k = s->d[4], cp = round_up(c, CB), kp = round_up(k, CB);
  const int64_t lo = part * s->d[5] * MR, hi = min_i(t.total, lo + s->d[5] * MR), panels = ceil_div(hi - lo, MR);
  const int64_t v_step = plane(panels, cp), m_step = plane(panels, kp);
  float *v = scratch, *m = scratch + POSITIONS * v_step;
  load_input_tiles(s->p[0], c, c, cp, &t, (int)s->d[6], lo, hi, panels, v);
  for (int i = 0; i < POSITIONS; i++)
    position_product(panels, cp, kp, v + i * v_step, s->p[1] + i * odd_lines(cp * kp), m + i * m_step);
  store_output_tiles(m, &t, lo, hi, panels, k, s->d[7], (struct epilogue){s->p[3], s->p[4], (int)s->d[8]}, s->p[2]);
}

static int64_t wino_forward_scratch(const struct cpu_step *s) {
  return POSITIONS * (plane(s->d[5], round_up(s->d[3], CB)) + plane(s->d[5], round_up(s->d[4], CB)));
}

// What both weight gradients have in d: N, H, W, C, K, panels at a time, size and count of the chunks that C and K are
// cut into, so that what is accumulated stays in the cache.
struct dw { struct tiling t; int64_t c, k, panels, c_size, c_count, k_size, k_count, position; };
INLINE struct dw dw_of(const struct cpu_step *s) {
  const int64_t *d = s->d;
  return (struct dw){tiling_of(d[0], d[1], d[2]), d[3], d[4], d[5], d[6], d[7], d[8], d[9], odd_lines(d[6] * d[8])};
}
INLINE int64_t dw_block_scratch(const struct dw *g) {
  return POSITIONS * (plane(g->panels, g->c_size) + plane(g->panels, g->k_size));
}

// dw_accumulate makes dU[36][c_size][k_size] of one pair of chunks the sum over the given panels of tiles.
INLINE void dw_accumulate(const struct dw *g, const float *x, const float *dy, int64_t c0, int64_t k0,
                          struct span all, float *du, float *scratch) {
  memset(du, 0, sizeof(float) * POSITIONS * g->position);
  for (int64_t p = all.lo; p < all.hi; p += g->panels) {
    const int64_t panels = min_i(g->panels, all.hi - p), lo = p * MR, hi = min_i(g->t.total, lo + panels * MR);
    const int64_t v_step = plane(panels, g->c_size), m_step = plane(panels, g->k_size);
    float *v = scratch, *m = scratch + POSITIONS * v_step;
    load_input_tiles(x + c0, g->c, min_i(g->c_size, g->c - c0), g->c_size, &g->t, 0, lo, hi, panels, v);
    load_output_grad_tiles(dy + k0, g->k, min_i(g->k_size, g->k - k0), g->k_size, &g->t, lo, hi, panels, m);
    for (int i = 0; i < POSITIONS; i++)
      position_outer(panels, g->c_size, g->k_size, v + i * v_step, m + i * m_step, du + i * g->position);
  }
}

// store_weight_grads transforms k numbers at each of the 36 positions, `step` apart, back to the nine taps, `tap` apart.
INLINE void store_weight_grads(const float *du, int64_t step, int64_t k, float *dw, int64_t tap) {
  for (int64_t j = 0; j < k; j += VL) {
    vec half[18], w[3];
    UNROLL for (int x = 0; x < 6; x++) {
      const float *u = du + x * step + j;
      weight_grad_1d(load(u), load(u + 6 * step), load(u + 12 * step), load(u + 18 * step), load(u + 24 * step),
                     load(u + 30 * step), half + x, 6);
    }
    UNROLL for (int y = 0; y < 3; y++) {
      vec *z = half + y * 6;
      weight_grad_1d(z[0], z[1], z[2], z[3], z[4], z[5], w, 1);
      UNROLL for (int x = 0; x < 3; x++) store_n(dw + (y * 3 + x) * tap + j, w[x], k - j);
    }
  }
}

// wino_dw: p = x, dy, dU; d = see dw, slabs. dU is [slab][C chunk][K chunk][36][c][k]; a part sums one slab of the
// panels for one pair of chunks.
static void wino_dw(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct dw g = dw_of(s);
  const int64_t pair = part % (g.c_count * g.k_count), slab = part / (g.c_count * g.k_count);
  const struct span all = span_of(ceil_div(g.t.total, MR), slab, s->d[10]);
  dw_accumulate(&g, s->p[0], s->p[1], pair / g.k_count * g.c_size, pair % g.k_count * g.k_size, all,
                s->p[2] + part * POSITIONS * g.position, scratch);
}

static int64_t wino_dw_scratch(const struct cpu_step *s) {
  const struct dw g = dw_of(s);
  return dw_block_scratch(&g);
}

// wino_dw_out: p = dU, dw; d = as of the wino_dw before. Sums the slabs in order and transforms back; a part is one
// input channel.
static void wino_dw_out(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct dw g = dw_of(s);
  const int64_t pair = POSITIONS * g.position, slab = g.c_count * g.k_count * pair;
  for (int64_t chunk = 0; chunk < g.k_count; chunk++) {
    const float *du = s->p[0] + (part / g.c_size * g.k_count + chunk) * pair + part % g.c_size * g.k_size;
    for (int i = 0; i < POSITIONS; i++)
      for (int64_t j = 0; j < g.k_size; j += VL) {
        vec v = load(du + i * g.position + j);
        for (int64_t b = 1; b < s->d[10]; b++) v += load(du + b * slab + i * g.position + j);
        store(scratch + i * g.k_size + j, v);
      }
    const int64_t k0 = chunk * g.k_size;
    store_weight_grads(scratch, g.k_size, min_i(g.k_size, g.k - k0), s->p[1] + part * g.k + k0, g.c * g.k);
  }
}

static int64_t wino_dw_out_scratch(const struct cpu_step *s) { return POSITIONS * dw_of(s).k_size; }

// wino_dw_small: p = x, dy, dw; d = see dw. For few tiles and many channels: a part sums all tiles for one pair of
// chunks in scratch, and dU never reaches the memory, where it would be larger than all else.
static void wino_dw_small(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct dw g = dw_of(s);
  const int64_t c0 = part / g.k_count * g.c_size, k0 = part % g.k_count * g.k_size;
  float *du = scratch + dw_block_scratch(&g);
  dw_accumulate(&g, s->p[0], s->p[1], c0, k0, (struct span){0, ceil_div(g.t.total, MR)}, du, scratch);
  for (int64_t i = 0; i < g.c_size && c0 + i < g.c; i++)
    store_weight_grads(du + i * g.k_size, g.position, min_i(g.k_size, g.k - k0), s->p[2] + (c0 + i) * g.k + k0,
                       g.c * g.k);
}

static int64_t wino_dw_small_scratch(const struct cpu_step *s) {
  const struct dw g = dw_of(s);
  return dw_block_scratch(&g) + POSITIONS * g.position;
}

#undef P1
#undef P2
#undef Q1
#undef Q2
#undef N0
#undef N1
#undef N2
