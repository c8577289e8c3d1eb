// bf16_attention.h: attention and its gradient, as in attention.h, with products of bfloat16. Rows of tokens x tokens
// numbers are made 32 or 64 at a time, in float, and rounded for the products that they go into.
//
// p, d and f are those of the kernels in attention.h, but that d[3] counts blocks of 32 rows.

struct bf16_head { struct head h; int64_t np, dp; };  // tokens and width, rounded up to whole blocks
INLINE struct bf16_head bf16_head_of(const struct cpu_step *s, int64_t index) {
  const struct head h = head_of(s, index);
  return (struct bf16_head){h, round_up(h.tokens, WIDE), round_up(h.width, DEEP)};
}

enum { GROUP = 64 };  // rows that the gradient takes at a time

INLINE bf16 *take_bf16(float **scratch, int64_t n) { return (bf16 *)take(scratch, round_up(n, 2) / 2); }

// round_rows rounds `real` rows of d numbers times a factor; up to `rows` there are rows of zeros.
NOINLINE void round_rows(const struct bf16_head *w, const float *x, int64_t stride, int64_t real, int64_t rows, float factor,
                         bf16 *to) {
  float row[VL];
  for (int64_t i = 0; i < rows; i++, x += stride, to += w->dp)
    for (int64_t c = 0; c < w->dp; c += VL) {
      const int64_t left = w->h.width - c;
      store(row, i < real && left > 0 ? load_n(x + c, left) * factor : (vec){0});
      to_bf16(row, VL, VL, to + c);
    }
}

// round_pairs rounds rows likewise, two of them interleaved: [rows/2][d][2].
NOINLINE void round_pairs(const struct bf16_head *w, const float *x, int64_t stride, int64_t real, int64_t rows, float factor,
                          bf16 *to) {
  for (int64_t i = 0; i < rows; i += 2, x += 2 * stride, to += 2 * w->dp)
    for (int64_t c = 0; c < w->dp; c += VL) {
      const int64_t left = w->h.width - c;
      ivec p = {0}, q = {0};
      if (i < real && left > 0) p = bits_of(load_n(x + c, left) * factor);
      if (i + 1 < real && left > 0) q = bits_of(load_n(x + stride + c, left) * factor);
      p |= q << 16;
      memcpy(to + 2 * c, &p, sizeof p);
    }
}

// round_turned rounds the tokens' rows as columns: [d/2][tokens][2].
NOINLINE void round_turned(const struct bf16_head *w, const float *x, bf16 *to) {
  for (int64_t t = 0; t < w->np; t += VL)
    for (int64_t c = 0; c < w->dp; c += 2 * VL) {
      ivec pairs[VL];
      for (int i = 0; i < VL; i++) {
        float row[2 * VL];
        bf16 bits[2 * VL];
        for (int q = 0; q < 2 * VL; q += VL) {
          const int64_t left = w->h.width - c - q;
          store(row + q, t + i < w->h.tokens && left > 0 ? load_n(x + (t + i) * 3 * w->h.c + c + q, left) : (vec){0});
        }
        to_bf16(row, 2 * VL, 2 * VL, bits);
        memcpy(&pairs[i], bits, sizeof bits);
      }
      turn(pairs);
      for (int i = 0; i < VL; i++) memcpy(to + (c / 2 + i) * 2 * w->np + 2 * t, &pairs[i], sizeof pairs[i]);
    }
}

// turn_rows rounds `rows` rows of tokens as rows of a token each: [token][row].
NOINLINE void turn_rows(const struct bf16_head *w, const float *x, bf16 *to) {
  for (int64_t t = 0; t < w->np; t += VL)
    for (int64_t r = 0; r < GROUP; r += 2 * VL) {
      ivec pairs[VL];
      for (int i = 0; i < VL; i++) pairs[i] = pair(x + (r + 2 * i) * w->np, x + (r + 2 * i + 1) * w->np, t, VL, 0);
      turn(pairs);
      for (int i = 0; i < VL; i++) memcpy(to + (t + i) * GROUP + r, &pairs[i], sizeof pairs[i]);
    }
}

// exp_tokens computes exp(x - max) of a row of scores, zero beyond the last token, and returns its sum. The numbers go to
// `to`, rounded; if that is NULL, they replace the row.
INLINE float exp_tokens(const struct bf16_head *w, float *row, bf16 *to) {
  const int64_t n = w->h.tokens, whole = n / VL * VL;
  vec top = splat(-INFINITY), total = {0};
  for (int64_t k = 0; k < whole; k += VL) top = max_v(load(row + k), top);
  if (whole < n) top = max_v(only_first(load(row + whole), n - whole, splat(-INFINITY)), top);
  float *at = to ? (float *)to : row;
  const float most = most_v(top);
  for (int64_t k = 0; k < w->np; k += VL) {
    vec e = {0};
    if (k < whole)
      e = exp_v(load(row + k) - most);
    else if (k < n)
      e = only_first(exp_v(load(row + k) - most), n - k, (vec){0});
    store_at(at, k, e, VL, to != NULL);
    total += e;
  }
  return sum_v(total);
}

// softmax_and_along replaces a row of scores by its softmax w and a row v by w*(v - sum(w*v)).
INLINE void softmax_and_along(const struct bf16_head *h, float *w, float *v) {
  const float factor = 1 / exp_tokens(h, w, NULL);
  vec total = {0};
  for (int64_t k = 0; k < h->np; k += VL) {
    const vec x = load(w + k) * factor;
    store(w + k, x);
    total += x * load(v + k);
  }
  const float mean = sum_v(total);
  for (int64_t k = 0; k < h->np; k += VL) store(v + k, load(w + k) * (load(v + k) - mean));
}

// bf16_attention: p = qkv, out.
static void bf16_attention(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct bf16_head w = bf16_head_of(s, part / s->d[4]);
  const struct head *h = &w.h;
  const int64_t first = part % s->d[4] * s->d[3] * WIDE, end = min_i(h->tokens, first + s->d[3] * WIDE);
  const float *q = s->p[0] + h->at3;
  float *scores = take(&scratch, WIDE * w.np), *mixed = take(&scratch, WIDE * w.dp);
  bf16 *k_turned = take_bf16(&scratch, w.np * w.dp), *v_pairs = take_bf16(&scratch, w.np * w.dp);
  bf16 *rows = take_bf16(&scratch, WIDE * w.dp), *weights = take_bf16(&scratch, WIDE * w.np);
  round_turned(&w, q + h->c, k_turned);
  round_pairs(&w, q + 2 * h->c, 3 * h->c, h->tokens, w.np, 1, v_pairs);
  BEGIN_TILES();
  for (int64_t r = first; r < end; r += WIDE) {
    const int64_t real = min_i(WIDE, end - r);
    float *out = s->p[1] + h->at + r * h->c, sums[WIDE];
    round_rows(&w, q + r * 3 * h->c, 3 * h->c, real, WIDE, h->scale, rows);
    for (int64_t j = 0; j < w.np; j += WIDE) block_sum(rows, w.dp, k_turned + 2 * j, w.np, w.dp, scores + j, w.np, 0);
    for (int64_t i = 0; i < WIDE; i++) sums[i] = exp_tokens(&w, scores + i * w.np, weights + i * w.np);
    for (int64_t j = 0; j < w.dp; j += WIDE) block_sum(weights, w.np, v_pairs + 2 * j, w.dp, w.np, mixed + j, w.dp, 0);
    for (int64_t i = 0; i < real; i++, out += h->c)
      for (int64_t j = 0; j < h->width; j += VL)
        store_n(out + j, load(mixed + i * w.dp + j) * (1 / sums[i]), h->width - j);
  }
  END_TILES();
}

INLINE int64_t bf16_attention_scratch(const struct cpu_step *s) {
  const struct bf16_head w = bf16_head_of(s, 0);
  return WIDE * (w.np + w.dp) + w.np * w.dp + WIDE * (w.dp + w.np) / 2;
}

// bf16_attention_dx: p = qkv, g, out; see attention_dx.
static void bf16_attention_dx(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct bf16_head w = bf16_head_of(s, part);
  const struct head *h = &w.h;
  const int64_t three = 3 * h->c, all = w.np * w.dp;
  const float *q = s->p[0] + h->at3, *g = s->p[1] + h->at;
  float *out = s->p[2] + h->at3;
  float *dk = take(&scratch, all), *dv = take(&scratch, all), *dq = take(&scratch, GROUP * w.dp);
  float *scores = take(&scratch, GROUP * w.np), *along = take(&scratch, GROUP * w.np);
  bf16 *k_turned = take_bf16(&scratch, all), *v_turned = take_bf16(&scratch, all), *k_pairs = take_bf16(&scratch, all);
  bf16 *q_rows = take_bf16(&scratch, GROUP * w.dp), *g_rows = take_bf16(&scratch, GROUP * w.dp);
  bf16 *q_pairs = take_bf16(&scratch, GROUP * w.dp), *g_pairs = take_bf16(&scratch, GROUP * w.dp);
  bf16 *ds = take_bf16(&scratch, GROUP * w.np), *turned = take_bf16(&scratch, GROUP * w.np);
  round_turned(&w, q + h->c, k_turned);
  round_turned(&w, q + 2 * h->c, v_turned);
  round_pairs(&w, q + h->c, three, h->tokens, w.np, h->scale, k_pairs);
  BEGIN_TILES();
  for (int64_t r = 0; r < h->tokens; r += GROUP) {
    const int64_t real = min_i(GROUP, h->tokens - r), rows = min_i(GROUP, w.np - r);
    round_rows(&w, q + r * three, three, real, GROUP, h->scale, q_rows);
    round_rows(&w, g + r * h->c, h->c, real, GROUP, 1, g_rows);
    round_pairs(&w, q + r * three, three, real, GROUP, h->scale, q_pairs);
    round_pairs(&w, g + r * h->c, h->c, real, GROUP, 1, g_pairs);
    for (int64_t i = 0; i < rows; i += WIDE)
      for (int64_t j = 0; j < w.np; j += WIDE) {
        block_sum(q_rows + i * w.dp, w.dp, k_turned + 2 * j, w.np, w.dp, scores + i * w.np + j, w.np, 0);
        block_sum(g_rows + i * w.dp, w.dp, v_turned + 2 * j, w.np, w.dp, along + i * w.np + j, w.np, 0);
      }
    for (int64_t i = 0; i < real; i++) {
      softmax_and_along(&w, scores + i * w.np, along + i * w.np);
      to_bf16(along + i * w.np, w.np, w.np, ds + i * w.np);
    }
    memset(scores + real * w.np, 0, (GROUP - real) * w.np * sizeof(float));
    memset(along + real * w.np, 0, (GROUP - real) * w.np * sizeof(float));
    memset(ds + real * w.np, 0, (GROUP - real) * w.np * sizeof(bf16));
    for (int64_t i = 0; i < rows; i += WIDE)
      for (int64_t j = 0; j < w.dp; j += WIDE)
        block_sum(ds + i * w.np, w.np, k_pairs + 2 * j, w.dp, w.np, dq + i * w.dp + j, w.dp, 0);
    for (int64_t i = 0; i < real; i++) memcpy(out + (r + i) * three, dq + i * w.dp, h->width * sizeof(float));
    turn_rows(&w, along, turned);
    for (int64_t i = 0; i < w.np; i += WIDE)
      for (int64_t j = 0; j < w.dp; j += WIDE)
        block_sum(turned + i * GROUP, GROUP, q_pairs + 2 * j, w.dp, GROUP, dk + i * w.dp + j, w.dp, r > 0);
    turn_rows(&w, scores, turned);
    for (int64_t i = 0; i < w.np; i += WIDE)
      for (int64_t j = 0; j < w.dp; j += WIDE)
        block_sum(turned + i * GROUP, GROUP, g_pairs + 2 * j, w.dp, GROUP, dv + i * w.dp + j, w.dp, r > 0);
  }
  END_TILES();
  for (int64_t i = 0; i < h->tokens; i++) {
    memcpy(out + i * three + h->c, dk + i * w.dp, h->width * sizeof(float));
    memcpy(out + i * three + 2 * h->c, dv + i * w.dp, h->width * sizeof(float));
  }
}

INLINE int64_t bf16_attention_dx_scratch(const struct cpu_step *s) {
  const struct bf16_head w = bf16_head_of(s, 0);
  const int64_t all = w.np * w.dp;
  return 2 * all + GROUP * w.dp + 2 * GROUP * w.np + 3 * all / 2 + 2 * GROUP * w.dp + GROUP * w.np;
}
