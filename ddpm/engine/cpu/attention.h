// attention.h: softmax(Q K'/sqrt(d)) V for each image and head, and its derivatives.
//
// One pass over the rows of the tokens x tokens matrices, MR rows (a panel) or a few panels at a time: a panel of
// scores is made in scratch by tile_dot, softmax and its derivatives work on it row by row, and it is the left operand
// of the products that follow. No matrix of tokens x tokens numbers exists; scratch grows with tokens x d.
//
// Every kernel: p = qkv, further operands, out; d = tokens, C, heads, panels of a part, parts of a head; f = 1/sqrt(d).
// qkv, h and gradients for qkv have rows of 3C numbers, Q, K and V side by side, each with its heads side by side;
// g and the attention itself have rows of C.

INLINE int64_t head_floats(const struct head *h) { return h->padded * h->wide; }    // strips, or sums, of a head
INLINE int64_t input_floats(const struct head *h) { return MR * h->wide; }          // a panel of Q or G
INLINE int64_t score_floats(const struct head *h) { return MR * h->padded; }        // a panel of scores

// panel_group is how many panels, of so many matrices, the backward kernels take at a time: about 256 KB.
INLINE int64_t panel_group(const struct head *h, int64_t matrices) {
  const int64_t fit = (1 << 16) / (matrices * score_floats(h)), most = 112 / MR;
  return fit < 1 ? 1 : min_i(fit, most);
}

// pack_strips: the rows of x (tokens x d), times a factor, as strips.
NOINLINE void pack_strips(const struct head *h, const float *x, float factor, float *strips) {
  for (int64_t j = 0; j < h->width;) {
    const int64_t width = strip_width(h->width - j);
    const float *row = x + j;
    for (int64_t i = 0; i < h->tokens; i++, strips += width, row += 3 * h->c)
      for (int64_t q = 0; q < width; q += VL)
        store(strips + q, j + q < h->width ? load_n(row + q, h->width - j - q) * factor : (vec){0});
    j += width;
  }
}

// pack_transposed: x' (d x tokens) as strips.
NOINLINE void pack_transposed(const struct head *h, const float *x, float *strips) {
  for (int64_t j = 0; j < h->tokens;) {
    const int64_t width = strip_width(h->tokens - j), real = min_i(width, h->tokens - j);
    for (int64_t q = 0; q < real; q++, x += 3 * h->c)
      for (int64_t k = 0; k < h->width; k++) strips[k * width + q] = x[k];
    for (int64_t k = 0; real < width && k < h->width; k++)
      memset(strips + k * width + real, 0, (width - real) * sizeof(float));
    strips += h->width * width;
    j += width;
  }
}

// pack_panel: some rows of x, stride apart, times a factor, as a panel filled up with zeros.
NOINLINE void pack_panel(const struct head *h, const float *x, int64_t stride, int64_t rows, float factor, float *panel) {
  for (int64_t b = 0; b < h->wide; b += CB, panel += MR * CB)
    for (int64_t i = 0; i < MR; i++)
      for (int64_t q = 0; q < CB; q += VL) {
        const int64_t left = h->width - b - q;
        store(panel + i * CB + q, i < rows && left > 0 ? load_n(x + i * stride + b + q, left) * factor : (vec){0});
      }
}

// make_scores: a panel of scores = (add ? scores : 0) + a panel of Q or G times strips.
NOINLINE void make_scores(const struct head *h, const float *panel, const float *strips, float *scores, int add) {
  for (int64_t j = 0; j < h->tokens;) {
    const int64_t width = strip_width(h->tokens - j);
    float *to = scores + panel_column(j);
    if (width == NR)
      tile_dot(NV, h->width, panel, strips, to, CB, MR * CB, add);
    else
      tile_dot(NV_MIN, h->width, panel, strips, to, CB, MR * CB, add);
    strips += h->width * width;
    j += width;
  }
}

// mix_rows: rows of out = (add ? out : 0) + a panel of scores times strips.
NOINLINE void mix_rows(const struct head *h, const float *scores, const float *strips, float *out, int64_t stride,
                       int64_t rows, int add) {
  for (int64_t j = 0; j < h->width;) {
    const int64_t width = strip_width(h->width - j);
    if (width == NR)
      panel_tile(NV, h->tokens, scores, strips, out + j, stride, rows, h->width - j, add);
    else
      panel_tile(NV_MIN, h->tokens, scores, strips, out + j, stride, rows, h->width - j, add);
    strips += h->tokens * width;
    j += width;
  }
}

INLINE void spread_tile(const int nv, const struct head *h, int64_t rows, const float *scores, const float *inputs,
                        float *sums) {
  vec acc[OUTER_ROWS][NV];
  outer_clear(nv, acc);
  for (int64_t r = 0; r < rows; r += MR, scores += score_floats(h), inputs += input_floats(h))
    tile_outer(nv, min_i(MR, rows - r), scores, CB, inputs, CB, MR * CB, acc);
  outer_add(nv, acc, sums, h->wide);
}

// spread_rows: sums (tokens x d) += scores' times the panels of inputs, over a group of panels.
NOINLINE void spread_rows(const struct head *h, int64_t rows, const float *scores, const float *inputs, float *sums) {
  for (int64_t j = 0; j < h->width;) {
    const int64_t width = strip_width(h->width - j);
    for (int64_t i = 0; i < h->tokens; i += OUTER_ROWS) {
      const float *a = scores + panel_column(i), *b = inputs + panel_column(j);
      float *to = sums + i * h->wide + j;
      if (width == NR)
        spread_tile(NV, h, rows, a, b, to);
      else
        spread_tile(NV_MIN, h, rows, a, b, to);
    }
    j += width;
  }
}

NOINLINE void copy_sums(const struct head *h, const float *sums, float *out) {
  for (int64_t i = 0; i < h->tokens; i++) memcpy(out + i * 3 * h->c, sums + i * h->wide, h->width * sizeof(float));
}

// A row of a panel: entries k..k+VL are at panel_column(k). Vectors are whole; what lies beyond the last token is
// finite in a panel of scores, and 0 after exp_scores.
#define EACH_VECTOR(h, k, at) \
  for (int64_t k = 0, at = 0; k < (h)->tokens; k += VL, at = panel_column(k))

// exp_scores replaces a row by exp(x - max) and returns its sum.
INLINE float exp_scores(const struct head *h, float *row) {
  vec top = splat(-INFINITY), total = {0};
  EACH_VECTOR(h, k, at) top = max_v(only_first(load(row + at), h->tokens - k, splat(-INFINITY)), top);
  float lanes[VL], most = -INFINITY;
  store(lanes, top);
  for (int i = 0; i < VL; i++) most = lanes[i] > most ? lanes[i] : most;
  EACH_VECTOR(h, k, at) {
    const vec e = only_first(exp_v(load(row + at) - most), h->tokens - k, (vec){0});
    store(row + at, e);
    total += e;
  }
  return sum_v(total);
}

INLINE float dot_rows(const struct head *h, const float *x, const float *y) {
  vec total = {0};
  EACH_VECTOR(h, k, at) total += load(x + at) * load(y + at);
  return sum_v(total);
}

INLINE void scale_row(const struct head *h, float *row, float factor) {
  EACH_VECTOR(h, k, at) store(row + at, load(row + at) * factor);
}

// softmax_row replaces a row of scores by its softmax w.
INLINE void softmax_row(const struct head *h, float *row) { scale_row(h, row, 1 / exp_scores(h, row)); }

// softmax_along replaces v by w*(v - sum(w*v)), the derivative of softmax along v.
INLINE void softmax_along(const struct head *h, const float *w, float *v) {
  const float mean = dot_rows(h, w, v);
  EACH_VECTOR(h, k, at) store(v + at, load(w + at) * (load(v + at) - mean));
}

// attention: p = qkv, out.
static void attention(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct head h = head_of(s, part / s->d[4]);
  const int64_t first = part % s->d[4] * s->d[3] * MR, end = min_i(h.tokens, first + s->d[3] * MR);
  const float *q = s->p[0] + h.at3;
  float *k_strips = take(&scratch, head_floats(&h)), *v_strips = take(&scratch, head_floats(&h));
  float *panel = take(&scratch, input_floats(&h)), *scores = take(&scratch, score_floats(&h));
  pack_transposed(&h, q + h.c, k_strips);
  pack_strips(&h, q + 2 * h.c, 1, v_strips);
  for (int64_t r = first; r < end; r += MR) {
    const int64_t rows = min_i(MR, end - r);
    float *out = s->p[1] + h.at + r * h.c, sums[MR];
    pack_panel(&h, q + r * 3 * h.c, 3 * h.c, rows, h.scale, panel);
    make_scores(&h, panel, k_strips, scores, 0);
    for (int64_t i = 0; i < rows; i++) sums[i] = exp_scores(&h, scores + i * CB);
    mix_rows(&h, scores, v_strips, out, h.c, rows, 0);
    for (int64_t i = 0; i < rows; i++, out += h.c) {
      const float factor = 1 / sums[i];
      for (int64_t j = 0; j < h.width; j += VL)
        store_n(out + j, load_n(out + j, h.width - j) * factor, h.width - j);
    }
  }
}

static int64_t attention_scratch(const struct cpu_step *s) {
  const struct head h = head_of(s, 0);
  return 2 * head_floats(&h) + input_floats(&h) + score_floats(&h);
}

// attention_jvp: p = qkv, h, out: the derivative of attention along h.
static void attention_jvp(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct head h = head_of(s, part / s->d[4]);
  const int64_t first = part % s->d[4] * s->d[3] * MR, end = min_i(h.tokens, first + s->d[3] * MR);
  const float *q = s->p[0] + h.at3, *hq = s->p[1] + h.at3;
  float *strips[4];
  for (int i = 0; i < 4; i++) strips[i] = take(&scratch, head_floats(&h));
  float *panel = take(&scratch, input_floats(&h)), *h_panel = take(&scratch, input_floats(&h));
  float *w = take(&scratch, score_floats(&h)), *along = take(&scratch, score_floats(&h));
  pack_transposed(&h, q + h.c, strips[0]);
  pack_transposed(&h, hq + h.c, strips[1]);
  pack_strips(&h, q + 2 * h.c, 1, strips[2]);
  pack_strips(&h, hq + 2 * h.c, 1, strips[3]);
  for (int64_t r = first; r < end; r += MR) {
    const int64_t rows = min_i(MR, end - r);
    float *out = s->p[2] + h.at + r * h.c;
    pack_panel(&h, q + r * 3 * h.c, 3 * h.c, rows, h.scale, panel);
    pack_panel(&h, hq + r * 3 * h.c, 3 * h.c, rows, h.scale, h_panel);
    make_scores(&h, panel, strips[0], w, 0);
    make_scores(&h, h_panel, strips[0], along, 0);
    make_scores(&h, panel, strips[1], along, 1);
    for (int64_t i = 0; i < rows; i++) {
      softmax_row(&h, w + i * CB);
      softmax_along(&h, w + i * CB, along + i * CB);
    }
    mix_rows(&h, along, strips[2], out, h.c, rows, 0);
    mix_rows(&h, w, strips[3], out, h.c, rows, 1);
  }
}

static int64_t attention_jvp_scratch(const struct cpu_step *s) {
  const struct head h = head_of(s, 0);
  return 4 * head_floats(&h) + 2 * input_floats(&h) + 2 * score_floats(&h);
}

// attention_dx: p = qkv, g, out. With weights W and B = G V': dS = W*(B - rowsum(W*B)), dQ = dS K, dK = dS' Q, dV = W' G.
static void attention_dx(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct head h = head_of(s, part);
  const int64_t group = panel_group(&h, 2), one = score_floats(&h), in = input_floats(&h);
  const float *q = s->p[0] + h.at3, *g = s->p[1] + h.at;
  float *out = s->p[2] + h.at3;
  float *k_t = take(&scratch, head_floats(&h)), *v_t = take(&scratch, head_floats(&h)), *k = take(&scratch, head_floats(&h));
  float *dk = take(&scratch, head_floats(&h)), *dv = take(&scratch, head_floats(&h));
  float *q_panels = take(&scratch, group * in), *g_panels = take(&scratch, group * in);
  float *w = take(&scratch, group * one), *b = take(&scratch, group * one);
  pack_transposed(&h, q + h.c, k_t);
  pack_transposed(&h, q + 2 * h.c, v_t);
  pack_strips(&h, q + h.c, h.scale, k);
  memset(dk, 0, head_floats(&h) * sizeof(float));
  memset(dv, 0, head_floats(&h) * sizeof(float));
  for (int64_t r = 0; r < h.tokens; r += group * MR) {
    const int64_t rows = min_i(group * MR, h.tokens - r);
    for (int64_t p = 0; p * MR < rows; p++) {
      const int64_t row = r + p * MR, real = min_i(MR, rows - p * MR);
      float *wp = w + p * one, *bp = b + p * one;
      pack_panel(&h, q + row * 3 * h.c, 3 * h.c, real, h.scale, q_panels + p * in);
      pack_panel(&h, g + row * h.c, h.c, real, 1, g_panels + p * in);
      make_scores(&h, q_panels + p * in, k_t, wp, 0);
      make_scores(&h, g_panels + p * in, v_t, bp, 0);
      for (int64_t i = 0; i < real; i++) {
        softmax_row(&h, wp + i * CB);
        softmax_along(&h, wp + i * CB, bp + i * CB);
      }
      mix_rows(&h, bp, k, out + row * 3 * h.c, 3 * h.c, real, 0);
    }
    spread_rows(&h, rows, b, q_panels, dk);
    spread_rows(&h, rows, w, g_panels, dv);
  }
  copy_sums(&h, dk, out + h.c);
  copy_sums(&h, dv, out + 2 * h.c);
}

static int64_t attention_dx_scratch(const struct cpu_step *s) {
  const struct head h = head_of(s, 0);
  return 5 * head_floats(&h) + panel_group(&h, 2) * (2 * input_floats(&h) + 2 * score_floats(&h));
}

// attention_dx2_row: w are scores, a their derivative along h, b = g V', c = g Vh'. They become the gradients for the
// scores (in c), for a (in b) and for b (in a) of sum(w*(a - sum(w*a))*b + w*c), w being the softmax of the scores.
INLINE void attention_dx2_row(const struct head *h, float *w, float *a, float *b, float *c) {
  softmax_row(h, w);
  const float wa = dot_rows(h, w, a), wb = dot_rows(h, w, b);
  EACH_VECTOR(h, k, at) {
    const vec wv = load(w + at), av = load(a + at), bv = load(b + at);
    store(c + at, load(c + at) + av * (bv - wb) - wa * bv);
    store(a + at, wv * (av - wa));
    store(b + at, wv * (bv - wb));
  }
  softmax_along(h, w, c);
}

// attention_dx2: p = qkv, g, h, out: the gradient of <h, attention_dx(qkv, g)> for qkv.
static void attention_dx2(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct head h = head_of(s, part);
  const int64_t group = panel_group(&h, 4), one = score_floats(&h), in = input_floats(&h);
  const float *q = s->p[0] + h.at3, *g = s->p[1] + h.at, *hq = s->p[2] + h.at3;
  float *out = s->p[3] + h.at3, *strips[8], *inputs[3], *m[4];
  for (int i = 0; i < 8; i++) strips[i] = take(&scratch, head_floats(&h));
  for (int i = 0; i < 3; i++) inputs[i] = take(&scratch, group * in);
  for (int i = 0; i < 4; i++) m[i] = take(&scratch, group * one);
  float *const dk = strips[6], *const dv = strips[7];
  pack_transposed(&h, q + h.c, strips[0]);
  pack_transposed(&h, hq + h.c, strips[1]);
  pack_transposed(&h, q + 2 * h.c, strips[2]);
  pack_transposed(&h, hq + 2 * h.c, strips[3]);
  pack_strips(&h, q + h.c, h.scale, strips[4]);
  pack_strips(&h, hq + h.c, h.scale, strips[5]);
  memset(dk, 0, head_floats(&h) * sizeof(float));
  memset(dv, 0, head_floats(&h) * sizeof(float));
  for (int64_t r = 0; r < h.tokens; r += group * MR) {
    const int64_t rows = min_i(group * MR, h.tokens - r);
    for (int64_t p = 0; p * MR < rows; p++) {
      const int64_t row = r + p * MR, real = min_i(MR, rows - p * MR);
      float *qp = inputs[0] + p * in, *hp = inputs[1] + p * in, *gp = inputs[2] + p * in;
      float *w = m[0] + p * one, *a = m[1] + p * one, *b = m[2] + p * one, *c = m[3] + p * one;
      pack_panel(&h, q + row * 3 * h.c, 3 * h.c, real, h.scale, qp);
      pack_panel(&h, hq + row * 3 * h.c, 3 * h.c, real, h.scale, hp);
      pack_panel(&h, g + row * h.c, h.c, real, 1, gp);
      make_scores(&h, qp, strips[0], w, 0);
      make_scores(&h, hp, strips[0], a, 0);
      make_scores(&h, qp, strips[1], a, 1);
      make_scores(&h, gp, strips[2], b, 0);
      make_scores(&h, gp, strips[3], c, 0);
      for (int64_t i = 0; i < real; i++) attention_dx2_row(&h, w + i * CB, a + i * CB, b + i * CB, c + i * CB);
      mix_rows(&h, c, strips[4], out + row * 3 * h.c, 3 * h.c, real, 0);
      mix_rows(&h, b, strips[5], out + row * 3 * h.c, 3 * h.c, real, 1);
    }
    spread_rows(&h, rows, m[3], inputs[0], dk);
    spread_rows(&h, rows, m[2], inputs[1], dk);
    spread_rows(&h, rows, m[1], inputs[2], dv);
  }
  copy_sums(&h, dk, out + h.c);
  copy_sums(&h, dv, out + 2 * h.c);
}

static int64_t attention_dx2_scratch(const struct cpu_step *s) {
  const struct head h = head_of(s, 0);
  return 8 * head_floats(&h) + panel_group(&h, 4) * (3 * input_floats(&h) + 4 * score_floats(&h));
}
