// bf16_attention.h: attention and its gradient, as in attention.h, with products of bfloat16. Scores are made for some
// queries at a time, as [key][query]: what a softmax adds up lies in one lane, and what it makes is an operand as it is.
//
// p, d and f are those of the kernels in attention.h, but that d[3] counts blocks of 32 queries, and that d[5] tells which
// of the operands are narrow (see bf16.h), a bit for each.

enum { QUERIES = 64 };  // that the gradient takes at a time

struct bf16_head { struct head h; int64_t np, dp; };  // tokens and width, rounded up to whole blocks
INLINE struct bf16_head bf16_head_of(const struct cpu_step *s, int64_t index) {
  const struct head h = head_of(s, index);
  return (struct bf16_head){h, round_up(h.tokens, WIDE), round_up(h.width, DEEP)};
}

INLINE bf16 *take_bf16(float **scratch, int64_t n) { return (bf16 *)take(scratch, round_up(n, 2) / 2); }

// tokens are rows of some head's numbers, for some tokens: the first `real` of x, each `stride` numbers after the last.
struct tokens { const float *x; int64_t stride, real; int narrow; };
INLINE struct tokens tokens_of(const float *x, int64_t at, int64_t stride, int64_t real, int narrow) {
  return (struct tokens){pixel_of(x, at, 1, narrow), stride, real, narrow};
}
INLINE const float *token(const struct tokens *t, int64_t i) {
  return i < t->real ? pixel_of(t->x, i, t->stride, t->narrow) : zero_pixel;
}

// as_rows writes `count` rows, filled up: [token][dp].
NOINLINE void as_rows(const struct bf16_head *w, struct tokens t, int64_t count, bf16 *to) {
  for (int64_t i = 0; i < count; i++, to += w->dp) fill_pixels(token(&t, i), w->h.width, w->dp, to, t.narrow);
}

// as_pairs writes two rows interleaved: [token/2][dp][2].
NOINLINE void as_pairs(const struct bf16_head *w, struct tokens t, int64_t count, bf16 *to) {
  for (int64_t i = 0; i < count; i += 2, to += 2 * w->dp)
    for (int64_t c = 0; c < w->dp; c += VL) {
      ivec v = {0};
      if (c < w->h.width) v = pair(token(&t, i), token(&t, i + 1), c, w->h.width - c, t.narrow);
      memcpy(to + 2 * c, &v, sizeof v);
    }
}

// as_columns writes a row for each channel: [dp][count].
NOINLINE void as_columns(const struct bf16_head *w, struct tokens t, int64_t count, bf16 *to) {
  memset(to + w->h.width * count, 0, (w->dp - w->h.width) * count * sizeof *to);
  for (int64_t i = 0; i < count; i += 2 * VL) {
    const float *pixel[2 * VL];
    for (int j = 0; j < 2 * VL; j++) pixel[j] = token(&t, i + j);
    for (int64_t c = 0; c < w->h.width; c += VL) turn_pixels(pixel, c, w->h.width - c, to + c * count + i, count, t.narrow);
  }
}

// as_paired_columns writes two channels of each token side by side: [dp/2][count][2].
NOINLINE void as_paired_columns(const struct bf16_head *w, struct tokens t, int64_t count, bf16 *to) {
  for (int64_t i = 0; i < count; i += VL)
    for (int64_t c = 0; c < w->dp; c += 2 * VL) {
      ivec pairs[VL];
      for (int j = 0; j < VL; j++) {
        bf16 bits[2 * VL] = {0};
        const int64_t real = min_i(2 * VL, w->h.width - c);
        if (real > 0) fill_pixels(pixel_of(token(&t, i + j), c, 1, t.narrow), real, 2 * VL, bits, t.narrow);
        memcpy(&pairs[j], bits, sizeof bits);
      }
      turn(pairs);
      for (int j = 0; j < VL; j++) memcpy(to + (c / 2 + j) * 2 * count + 2 * i, &pairs[j], sizeof pairs[j]);
    }
}

// from_columns writes the first `real` columns of [dp][count] numbers, times those in factor, as rows from number `at` of
// y on.
NOINLINE void from_columns(const struct bf16_head *w, const float *x, int64_t count, const float *factor, float *y, int64_t at,
                           int64_t stride, int64_t real, int narrow) {
  for (int64_t i = 0; i < real; i += VL)
    for (int64_t c = 0; c < w->h.width; c += VL) {
      ivec v[VL];
      for (int j = 0; j < VL; j++) v[j] = (ivec)(load(x + (c + j) * count + i) * load(factor + i));
      turn(v);
      for (int j = 0; j < VL && i + j < real; j++) store_at(y, at + (i + j) * stride + c, (vec)v[j], w->h.width - c, narrow);
    }
}

// from_rows writes rows of dp numbers, times a factor, likewise.
NOINLINE void from_rows(const struct bf16_head *w, const float *x, float factor, float *y, int64_t at, int64_t stride, int narrow) {
  for (int64_t i = 0; i < w->h.tokens; i++)
    for (int64_t c = 0; c < w->h.width; c += VL)
      store_at(y, at + i * stride + c, load(x + i * w->dp + c) * factor, w->h.width - c, narrow);
}

// product: [rows][columns] = a b, with a as [rows][deep] and b as [deep/2][columns][2]; or added to it.
INLINE void product(const bf16 *a, const bf16 *b, int64_t rows, int64_t columns, int64_t deep, float *to, int add) {
  for (int64_t i = 0; i < rows; i += WIDE)
    for (int64_t j = 0; j < columns; j += WIDE)
      block_sum(a + i * deep, deep, b + 2 * j, columns, deep, to + i * columns + j, columns, add);
}

// most_of is the largest of n numbers, `stride` apart, in each lane.
INLINE vec most_of(const float *x, int64_t n, int64_t stride) {
  vec most[4];
  int64_t k = 0;
  for (int i = 0; i < 4; i++) most[i] = load(x);
  for (; k + 4 <= n; k += 4) UNROLL for (int i = 0; i < 4; i++) most[i] = max_v(load(x + (k + i) * stride), most[i]);
  for (; k < n; k++) most[0] = max_v(load(x + k * stride), most[0]);
  return max_v(max_v(most[0], most[1]), max_v(most[2], most[3]));
}

// exponents makes of the scores of 32 queries exp(score*scale - the largest), as bf16 [key/2][query][2], zeros beyond the
// last key, in the same place, and one divided by the sum of each query's.
NOINLINE void exponents(const struct bf16_head *w, float *scores, float *factor) {
  const int64_t n = w->h.tokens, even = n / 2 * 2;
  const float scale = w->h.scale * LOG2_E;
  bf16 *to = (bf16 *)scores;
  for (int64_t j = 0; j < WIDE; j += VL) {
    const float *x = scores + j;
    const vec most = most_of(x, n, WIDE) * scale;
    vec sums[2] = {{0}};
    for (int64_t k = 0; k < n; k += 2) {
      const vec p = rough_exp2_v(load(x + k * WIDE) * scale - most);
      const vec q = k < even ? rough_exp2_v(load(x + (k + 1) * WIDE) * scale - most) : (vec){0};
      const ivec both = pair_of(p, q);
      sums[0] += p;
      sums[1] += q;
      memcpy(to + k * WIDE + 2 * j, &both, sizeof both);
    }
    store(factor + j, 1.f / (sums[0] + sums[1]));
  }
  const int64_t filled = round_up(n, 2);
  memset(to + filled * WIDE, 0, (w->np - filled) * WIDE * sizeof *to);
}

// softmax_and_along: of scores and a matrix v, both [key][query], the softmax s and its derivative along v, s*(v - sum(s*v)),
// as bf16 [key][query], the latter also as [key/2][query][2]. Zeros follow beyond the last key.
NOINLINE void softmax_and_along(const struct bf16_head *w, float *scores, const float *v, bf16 *softmax, bf16 *along, bf16 *pairs) {
  const int64_t n = w->h.tokens, even = n / 2 * 2, filled = round_up(n, 2), rest = w->np - filled;
  const float scale = w->h.scale * LOG2_E;
  for (int64_t j = 0; j < QUERIES; j += VL) {
    const vec most = most_of(scores + j, n, QUERIES) * scale;
    vec sums[2] = {{0}}, dots[2] = {{0}};
    for (int64_t k = 0; k < n; k += 2) UNROLL for (int i = 0; i < 2; i++) {
        if (i == 1 && k == even) continue;
        const int64_t at = (k + i) * QUERIES + j;
        const vec p = rough_exp2_v(load(scores + at) * scale - most);
        store(scores + at, p);
        sums[i] += p;
        dots[i] += p * load(v + at);
      }
    const vec factor = 1.f / (sums[0] + sums[1]), mean = (dots[0] + dots[1]) * factor;
    for (int64_t k = 0; k < n; k += 2) {
      vec s[2], d[2];
      UNROLL for (int i = 0; i < 2; i++) {
        const int64_t at = (k + i) * QUERIES + j;
        const int real = i == 0 || k < even;
        s[i] = real ? load(scores + at) * factor : (vec){0};
        d[i] = real ? s[i] * (load(v + at) - mean) : (vec){0};
        store_at((float *)softmax, at, s[i], VL, 1);
        store_at((float *)along, at, d[i], VL, 1);
      }
      const ivec both = pair_of(d[0], d[1]);
      memcpy(pairs + k * QUERIES + 2 * j, &both, sizeof both);
    }
  }
  bf16 *all[] = {softmax, along, pairs};
  for (int i = 0; i < 3; i++) memset(all[i] + filled * QUERIES, 0, rest * QUERIES * sizeof(bf16));
}

// bf16_attention: p = qkv, out.
static void bf16_attention(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct bf16_head w = bf16_head_of(s, part / s->d[4]);
  const struct head *h = &w.h;
  const int64_t first = part % s->d[4] * s->d[3] * WIDE, end = min_i(h->tokens, first + s->d[3] * WIDE), three = 3 * h->c;
  const int narrow_x = s->d[5] & 1, narrow_y = s->d[5] >> 1 & 1;
  float *scores = take(&scratch, w.np * WIDE), *mixed = take(&scratch, w.dp * WIDE), factor[WIDE];
  bf16 *keys = take_bf16(&scratch, w.np * w.dp), *values = take_bf16(&scratch, w.dp * w.np), *queries = take_bf16(&scratch, w.dp * WIDE);
  as_rows(&w, tokens_of(s->p[0], h->at3 + h->c, three, h->tokens, narrow_x), w.np, keys);
  as_columns(&w, tokens_of(s->p[0], h->at3 + 2 * h->c, three, h->tokens, narrow_x), w.np, values);
  BEGIN_TILES();
  for (int64_t r = first; r < end; r += WIDE) {
    const int64_t real = min_i(WIDE, end - r);
    as_paired_columns(&w, tokens_of(s->p[0], h->at3 + r * three, three, real, narrow_x), WIDE, queries);
    product(keys, queries, w.np, WIDE, w.dp, scores, 0);
    exponents(&w, scores, factor);
    product(values, (bf16 *)scores, w.dp, WIDE, w.np, mixed, 0);
    from_columns(&w, mixed, WIDE, factor, s->p[1], h->at + r * h->c, h->c, real, narrow_y);
  }
  END_TILES();
}

INLINE int64_t bf16_attention_scratch(const struct cpu_step *s) {
  const struct bf16_head w = bf16_head_of(s, 0);
  return (w.np + w.dp) * WIDE + w.np * w.dp + w.dp * WIDE / 2;
}

// bf16_attention_dx: p = qkv, g, out; see attention_dx.
static void bf16_attention_dx(const struct cpu_step *s, int64_t part, float *scratch) {
  const struct bf16_head w = bf16_head_of(s, part);
  const struct head *h = &w.h;
  const int64_t three = 3 * h->c, all = w.np * w.dp, some = QUERIES * w.dp, matrix = QUERIES * w.np;
  const int narrow_x = s->d[5] & 1, narrow_g = s->d[5] >> 1 & 1, narrow_y = s->d[5] >> 2 & 1;
  float *dk = take(&scratch, all), *dv = take(&scratch, all), *dq = take(&scratch, some);
  float *scores = take(&scratch, matrix), *v = take(&scratch, matrix), factor[QUERIES];
  bf16 *keys = take_bf16(&scratch, all), *values = take_bf16(&scratch, all), *key_columns = take_bf16(&scratch, all);
  bf16 *q_columns = take_bf16(&scratch, some), *g_columns = take_bf16(&scratch, some);
  bf16 *q_pairs = take_bf16(&scratch, some), *g_pairs = take_bf16(&scratch, some);
  bf16 *softmax = take_bf16(&scratch, matrix), *along = take_bf16(&scratch, matrix), *pairs = take_bf16(&scratch, matrix);
  const struct tokens k = tokens_of(s->p[0], h->at3 + h->c, three, h->tokens, narrow_x);
  for (int i = 0; i < QUERIES; i++) factor[i] = h->scale;
  as_rows(&w, k, w.np, keys);
  as_columns(&w, k, w.np, key_columns);
  as_rows(&w, tokens_of(s->p[0], h->at3 + 2 * h->c, three, h->tokens, narrow_x), w.np, values);
  BEGIN_TILES();
  for (int64_t r = 0; r < h->tokens; r += QUERIES) {
    const int64_t real = min_i(QUERIES, h->tokens - r);
    const struct tokens q = tokens_of(s->p[0], h->at3 + r * three, three, real, narrow_x);
    const struct tokens g = tokens_of(s->p[1], h->at + r * h->c, h->c, real, narrow_g);
    as_paired_columns(&w, q, QUERIES, q_columns);
    as_paired_columns(&w, g, QUERIES, g_columns);
    as_pairs(&w, q, QUERIES, q_pairs);
    as_pairs(&w, g, QUERIES, g_pairs);
    product(keys, q_columns, w.np, QUERIES, w.dp, scores, 0);
    product(values, g_columns, w.np, QUERIES, w.dp, v, 0);
    softmax_and_along(&w, scores, v, softmax, along, pairs);
    product(key_columns, pairs, w.dp, QUERIES, w.np, dq, 0);
    from_columns(&w, dq, QUERIES, factor, s->p[2], h->at3 + r * three, three, real, narrow_y);
    product(along, q_pairs, w.np, w.dp, QUERIES, dk, r > 0);
    product(softmax, g_pairs, w.np, w.dp, QUERIES, dv, r > 0);
  }
  END_TILES();
  from_rows(&w, dk, h->scale, s->p[2], h->at3 + h->c, three, narrow_y);
  from_rows(&w, dv, 1, s->p[2], h->at3 + 2 * h->c, three, narrow_y);
}

INLINE int64_t bf16_attention_dx_scratch(const struct cpu_step *s) {
  const struct bf16_head w = bf16_head_of(s, 0);
  const int64_t all = w.np * w.dp, some = QUERIES * w.dp, matrix = QUERIES * w.np;
  return 2 * all + some + 2 * matrix + (3 * all + 4 * some + 3 * matrix) / 2;
}
