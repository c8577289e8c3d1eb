// norm.h: group normalisation (Wu and He 2018) and its derivatives; fused with scale, shift and SiLU as ADM uses it.
// x is [N][P pixels][C], C in G groups; a part is a sample. stats is [N][2][G]: means, then 1/sqrt(var + eps).
//
// Sums run over pixels, a vector of channels at a time, and are folded to groups afterwards, so that groups narrower
// than a vector cost nothing. They are shifted by the first pixel: no cancellation where the mean is large.

struct norm { int64_t pixels, c, groups; };
INLINE struct norm norm_of(const struct cpu_step *s) { return (struct norm){s->d[0], s->d[1], s->d[2]}; }

enum { NORM_ROWS = 10 };  // scratch rows of C numbers

// Which arrays are narrow, see bf16.h. Where one is, sigmoids are rough.
enum { NARROW_X = 1, NARROW_Y = 2, NARROW_G = 2, NARROW_DX = 4 };
INLINE vec sigmoid_for(vec u, const int narrow) { return narrow ? rough_sigmoid_v(u) : sigmoid_v(u); }

INLINE int64_t norm_scratch(const struct cpu_step *s) {
  const int keeps = s->kernel == CPU_norm_act_grad2 || (s->kernel == CPU_norm_act_grad && s->d[3] & NARROW_DX);
  const int64_t sample = keeps ? s->d[0] * s->d[1] : 0;
  return NORM_ROWS * round_up(s->d[1], CB) + sample;
}
INLINE float *scratch_row(const struct norm *n, float *scratch, int i) { return scratch + i * round_up(n->c, CB); }

// fold_mean spreads the mean over each group's entries, given their sums over pixels.
INLINE double fold_mean(const struct norm *n, const float *sums, int64_t group) {
  const int64_t width = n->c / n->groups;
  double total = 0;
  for (int64_t c = group * width; c < (group + 1) * width; c++) total += sums[c];
  return total / (double)(n->pixels * width);
}

// sample_stats of a sample that begins at number `at` of x.
INLINE void sample_stats(const struct norm *n, const float *x, int64_t at, double eps, float *stats, float *scratch,
                         const int whole, const int narrow) {
  float *sum = scratch_row(n, scratch, 0), *square = scratch_row(n, scratch, 1), *first = scratch_row(n, scratch, 2);
  for (int64_t c = 0; c < n->c; c += VL) {
    const int64_t left = LEFT(n->c, c), from = at + c;
    vec s[4] = {{0}}, q[4] = {{0}}, shift = load_at(x, from, left, narrow);  // four of each: an addition takes as many cycles
    int64_t p = 0;
    for (; p + 4 <= n->pixels; p += 4) UNROLL for (int i = 0; i < 4; i++) {
        vec v = load_at(x, from + (p + i) * n->c, left, narrow) - shift;
        s[i] += v;
        q[i] += v * v;
      }
    for (; p < n->pixels; p++) {
      vec v = load_at(x, from + p * n->c, left, narrow) - shift;
      s[0] += v;
      q[0] += v * v;
    }
    store(first + c, shift);
    store(sum + c, s[0] + s[1] + (s[2] + s[3]));
    store(square + c, q[0] + q[1] + (q[2] + q[3]));
  }
  const int64_t width = n->c / n->groups;
  const double pixels = (double)n->pixels;
  for (int64_t g = 0; g < n->groups; g++) {
    double mean = 0, var = 0;
    for (int64_t c = g * width; c < (g + 1) * width; c++) mean += sum[c] / pixels + first[c];
    mean /= (double)width;
    for (int64_t c = g * width; c < (g + 1) * width; c++) {
      const double m = sum[c] / pixels, d = m + first[c] - mean;
      var += square[c] / pixels - m * m + d * d;
    }
    var /= (double)width;
    stats[g] = (float)mean;
    stats[n->groups + g] = (float)(1 / sqrt(var + eps));
  }
}

// xhat = r*x + m for each channel.
INLINE void spread_stats(const struct norm *n, const float *stats, float *r, float *m) {
  const int64_t width = n->c / n->groups;
  for (int64_t c = 0; c < n->c; c++) {
    r[c] = stats[n->groups + c / width];
    m[c] = -stats[c / width] * r[c];
  }
}

// norm_stats: p = x, stats; d = P, C, G, whether x is narrow; f = eps.
INLINE void norm_stats_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  const struct norm n = norm_of(s);
  const int64_t at = part * n.pixels * n.c;
  float *stats = s->p[1] + part * 2 * n.groups;
  if (s->d[3])
    sample_stats(&n, s->p[0], at, s->f[0], stats, scratch, whole, 1);
  else
    sample_stats(&n, s->p[0], at, s->f[0], stats, scratch, whole, 0);
}
WHOLE_OR_PARTIAL(norm_stats, s->d[1])

// norm: p = x, scale [C] or NULL, shift [C] or NULL, y, stats (written); d = P, C, G, NARROW_X and NARROW_Y; f = eps.
// y = xhat*scale + shift.
INLINE void norm_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c;
  const float *scale = s->p[1], *shift = s->p[2];
  float *stats = s->p[4] + part * 2 * n.groups;
  float *a = scratch_row(&n, scratch, 0), *b = scratch_row(&n, scratch, 1);
  sample_stats(&n, s->p[0], sample, s->f[0], stats, scratch, whole, narrow & NARROW_X);
  spread_stats(&n, stats, a, b);
  for (int64_t c = 0; c < n.c; c++) {
    if (scale) a[c] *= scale[c], b[c] *= scale[c];
    if (shift) b[c] += shift[c];
  }
  for (int64_t at = sample; at < sample + n.pixels * n.c; at += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      const vec v = load_at(s->p[0], at + c, left, narrow & NARROW_X);
      store_at(s->p[3], at + c, v * load(a + c) + load(b + c), left, narrow & NARROW_Y);
    }
}
WHOLE_OR_NARROW(norm, s->d[1], s->d[3])

// norm_act: p = x, A [N][C], B [N][C], y, stats; d = P, C, G, whether stats are known (else they are written), NARROW_X
// and NARROW_Y; f = eps. y = silu(xhat*A + B).
INLINE void norm_act_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c;
  const float *scale = s->p[1] + part * n.c, *shift = s->p[2] + part * n.c;
  float *stats = s->p[4] + part * 2 * n.groups;
  float *a = scratch_row(&n, scratch, 0), *b = scratch_row(&n, scratch, 1);
  if (!s->d[3]) sample_stats(&n, s->p[0], sample, s->f[0], stats, scratch, whole, narrow & NARROW_X);
  spread_stats(&n, stats, a, b);
  for (int64_t c = 0; c < n.c; c++) {
    a[c] *= scale[c];
    b[c] = b[c] * scale[c] + shift[c];
  }
  for (int64_t at = sample; at < sample + n.pixels * n.c; at += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      vec u = load_at(s->p[0], at + c, left, narrow & NARROW_X) * load(a + c) + load(b + c);
      store_at(s->p[3], at + c, u * sigmoid_for(u, narrow), left, narrow & NARROW_Y);
    }
}
WHOLE_OR_NARROW(norm_act, s->d[1], s->d[4])

INLINE vec silu_slope(vec u, const int narrow) {
  vec s = sigmoid_for(u, narrow);
  return s * (1.f + u * (1.f - s));
}

// norm_act_grad: p = x, A, B, g, stats, dx, dA, dB; any of the last three may be NULL; d = P, C, G, NARROW_X, NARROW_G
// and NARROW_DX.
// With v = g*silu'(u): dB = sum v, dA = sum v*xhat, dx = J(x)·(v*A).
INLINE void norm_act_grad_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole, const int narrow) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c, width = n.c / n.groups;
  const float *x = s->p[0], *g = s->p[3], *stats = s->p[4] + part * 2 * n.groups;
  const float *scale = s->p[1] + part * n.c, *shift = s->p[2] + part * n.c;
  float *dx = narrow & NARROW_DX ? scratch_row(&n, scratch, NORM_ROWS) : s->p[5] ? s->p[5] + sample : NULL;
  float *r = scratch_row(&n, scratch, 0), *m = scratch_row(&n, scratch, 1);
  float *da = scratch_row(&n, scratch, 2), *db = scratch_row(&n, scratch, 3);
  spread_stats(&n, stats, r, m);
  for (int64_t c = 0; c < n.c; c += VL) {
    const int64_t left = LEFT(n.c, c);
    const vec rv = load(r + c), mv = load(m + c), av = load_n(scale + c, left), bv = load_n(shift + c, left);
    vec sum = {0}, dot = {0};
    for (int64_t p = 0; p < n.pixels; p++) {
      const int64_t at = p * n.c + c;
      vec xhat = load_at(x, sample + at, left, narrow & NARROW_X) * rv + mv;
      vec v = load_at(g, sample + at, left, narrow & NARROW_G) * silu_slope(xhat * av + bv, narrow);
      if (dx) store_n(dx + at, v, left);
      sum += v;
      dot += v * xhat;
    }
    store(da + c, dot);
    store(db + c, sum);
  }
  if (s->p[6]) memcpy(s->p[6] + part * n.c, da, n.c * sizeof(float));
  if (s->p[7]) memcpy(s->p[7] + part * n.c, db, n.c * sizeof(float));
  if (!dx) return;
  // dx = r*(v*A - mean(v*A) - xhat*mean(v*A*xhat)) = v*cv + x*cx + c1
  float *cv = scratch_row(&n, scratch, 4), *cx = scratch_row(&n, scratch, 5), *c1 = scratch_row(&n, scratch, 6);
  for (int64_t c = 0; c < n.c; c++) {
    da[c] *= scale[c];
    db[c] *= scale[c];
  }
  for (int64_t k = 0; k < n.groups; k++) {
    const float mean = (float)fold_mean(&n, db, k), dot = (float)fold_mean(&n, da, k);
    for (int64_t c = k * width; c < (k + 1) * width; c++) {
      cv[c] = r[c] * scale[c];
      cx[c] = -r[c] * dot * r[c];
      c1[c] = -r[c] * (mean + dot * m[c]);
    }
  }
  for (int64_t at = 0; at < n.pixels * n.c; at += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      const vec xv = load_at(x, sample + at + c, left, narrow & NARROW_X);
      store_at(s->p[5], sample + at + c, load_n(dx + at + c, left) * load(cv + c) + xv * load(cx + c) + load(c1 + c), left,
               narrow & NARROW_DX);
    }
}
WHOLE_OR_NARROW(norm_act_grad, s->d[1], s->d[3])

// norm_act_grad2: p = x, A, B, g, h, stats, dx, dA, dB, dg; any of the last four may be NULL; d = P, C, G.
// The gradients of <h, J(x)·w>, w = v*A, v = g*silu'(u). With q = J(x)·h and t = g*silu''(u)*A*q, the gradient for u:
// dg = silu'(u)*A*q, dB = sum t, dA = sum v*q + t*xhat, dx = J(x)·(A*t) + d/dx <h, J(x)·w> (see norm_grad2).
// dx may be h, and dg may be g.
INLINE void norm_act_grad2_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c, width = n.c / n.groups;
  const float *x = s->p[0] + sample, *g = s->p[3] + sample, *h = s->p[4] + sample;
  const float *scale = s->p[1] + part * n.c, *shift = s->p[2] + part * n.c;
  float *dx = s->p[6] ? s->p[6] + sample : NULL, *dg = s->p[9] ? s->p[9] + sample : NULL;
  float *r = scratch_row(&n, scratch, 0), *m = scratch_row(&n, scratch, 1), *sum[5];
  for (int i = 0; i < 5; i++) sum[i] = scratch_row(&n, scratch, 2 + i);
  float *sig = scratch_row(&n, scratch, NORM_ROWS);  // the sigmoids of the sample: cheaper kept than computed twice
  spread_stats(&n, s->p[5] + part * 2 * n.groups, r, m);
  for (int64_t c = 0; c < n.c; c += VL) {
    const int64_t left = LEFT(n.c, c);
    const vec rv = load(r + c), mv = load(m + c), av = load_n(scale + c, left), bv = load_n(shift + c, left);
    vec w1 = {0}, wx = {0}, h1 = {0}, hx = {0}, wh = {0};
    for (int64_t p = 0; p < n.pixels; p++) {
      const int64_t at = p * n.c + c;
      vec xhat = load_n(x + at, left) * rv + mv, hv = load_n(h + at, left);
      vec u = xhat * av + bv, sv = sigmoid_v(u), v = load_n(g + at, left) * (sv * (1.f + u * (1.f - sv)));
      store_n(sig + at, sv, left);
      w1 += v;
      wx += v * xhat;
      h1 += hv;
      hx += hv * xhat;
      wh += v * hv;
    }
    store(sum[0] + c, w1 * av);
    store(sum[1] + c, wx * av);
    store(sum[2] + c, h1);
    store(sum[3] + c, hx);
    store(sum[4] + c, wh * av);
  }
  // q = h*r + x*qx + q1; d/dx <h, J(x)·w> = w*cw + h*ch + x*cx + c1. Each row is written after it has been read.
  float *qx = scratch_row(&n, scratch, 7), *q1 = scratch_row(&n, scratch, 8);
  float *cw = sum[0], *ch = sum[1], *cx = sum[2], *c1 = sum[3];
  for (int64_t k = 0; k < n.groups; k++) {
    double mean[5];
    for (int i = 0; i < 5; i++) mean[i] = fold_mean(&n, sum[i], k);
    const double w1 = mean[0], wx = mean[1], h1 = mean[2], hx = mean[3], rstd = r[k * width], mu = m[k * width];
    const double e = mean[4] - w1 * h1 - wx * hx, r2 = rstd * rstd, on_xhat = r2 * (2 * wx * hx - e);
    for (int64_t c = k * width; c < (k + 1) * width; c++) {
      qx[c] = (float)(-r2 * hx);
      q1[c] = (float)(-rstd * (h1 + hx * mu));
      cw[c] = (float)(-r2 * hx) * scale[c];
      ch[c] = (float)(-r2 * wx);
      cx[c] = (float)(on_xhat * rstd);
      c1[c] = (float)(on_xhat * mu + r2 * (wx * h1 + hx * w1));
    }
  }
  // What dx has of x and constants waits for the sums of t, which come with the rest.
  float *da = sum[4], *db = scratch_row(&n, scratch, 9);
  for (int64_t c = 0; c < n.c; c += VL) {
    const int64_t left = LEFT(n.c, c);
    const vec rv = load(r + c), mv = load(m + c), av = load_n(scale + c, left), bv = load_n(shift + c, left);
    const vec qxv = load(qx + c), q1v = load(q1 + c), cwv = load(cw + c), chv = load(ch + c), ra = rv * av;
    vec t1 = {0}, tx = {0}, vq = {0};
    for (int64_t p = 0; p < n.pixels; p++) {
      const int64_t at = p * n.c + c;
      vec xv = load_n(x + at, left), hv = load_n(h + at, left), gv = load_n(g + at, left);
      vec xhat = xv * rv + mv, q = hv * rv + xv * qxv + q1v, u = xhat * av + bv;
      vec sv = load_n(sig + at, left), d = sv * (1.f - sv), slope = sv + u * d, aq = av * q;
      vec v = gv * slope, t = gv * (d * (2.f + u * (1.f - 2.f * sv))) * aq;
      t1 += t;
      tx += t * xhat;
      vq += v * q;
      if (dg) store_n(dg + at, slope * aq, left);
      if (dx) store_n(dx + at, t * ra + v * cwv + hv * chv, left);
    }
    store(da + c, tx);
    store(db + c, t1);
    if (s->p[7]) store_n(s->p[7] + part * n.c + c, vq + tx, left);
    if (s->p[8]) store_n(s->p[8] + part * n.c + c, t1, left);
  }
  if (!dx) return;
  for (int64_t c = 0; c < n.c; c++) {
    da[c] *= scale[c];
    db[c] *= scale[c];
  }
  for (int64_t k = 0; k < n.groups; k++) {
    const float mean = (float)fold_mean(&n, db, k), dot = (float)fold_mean(&n, da, k);
    for (int64_t c = k * width; c < (k + 1) * width; c++) {
      cx[c] -= r[c] * dot * r[c];
      c1[c] -= r[c] * (mean + dot * m[c]);
    }
  }
  for (int64_t p = 0; p < n.pixels; p++, x += n.c, dx += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      store_n(dx + c, load_n(dx + c, left) + (load_n(x + c, left) * load(cx + c) + load(c1 + c)), left);
    }
}
WHOLE_OR_PARTIAL(norm_act_grad2, s->d[1])

// norm_grad: p = x, g, stats, y; d = P, C, G. y = J(x)·g = r*(g - mean(g) - xhat*mean(g*xhat)).
INLINE void norm_grad_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c, width = n.c / n.groups;
  const float *x = s->p[0] + sample, *g = s->p[1] + sample;
  float *y = s->p[3] + sample, *r = scratch_row(&n, scratch, 0), *m = scratch_row(&n, scratch, 1);
  float *sum = scratch_row(&n, scratch, 2), *dot = scratch_row(&n, scratch, 3);
  spread_stats(&n, s->p[2] + part * 2 * n.groups, r, m);
  for (int64_t c = 0; c < n.c; c += VL) {
    const int64_t left = LEFT(n.c, c);
    const vec rv = load(r + c), mv = load(m + c);
    vec g1 = {0}, gx = {0};
    for (int64_t p = 0; p < n.pixels; p++) {
      vec v = load_n(g + p * n.c + c, left);
      g1 += v;
      gx += v * (load_n(x + p * n.c + c, left) * rv + mv);
    }
    store(sum + c, g1);
    store(dot + c, gx);
  }
  float *cx = scratch_row(&n, scratch, 4), *c1 = scratch_row(&n, scratch, 5);
  for (int64_t k = 0; k < n.groups; k++) {
    const float g1 = (float)fold_mean(&n, sum, k), gx = (float)fold_mean(&n, dot, k);
    for (int64_t c = k * width; c < (k + 1) * width; c++) {
      cx[c] = -r[c] * gx * r[c];
      c1[c] = -r[c] * (g1 + gx * m[c]);
    }
  }
  for (int64_t p = 0; p < n.pixels; p++, x += n.c, g += n.c, y += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      store_n(y + c, load_n(g + c, left) * load(r + c) + load_n(x + c, left) * load(cx + c) + load(c1 + c), left);
    }
}
WHOLE_OR_PARTIAL(norm_grad, s->d[1])

// norm_grad2: p = x, g, h, stats, y; d = P, C, G. y = d/dx <h, J(x)·g>
//   = -(mean(gh) - mean(g)mean(h) - gx*hx)*r²*xhat - r*(gx*J·h + hx*J·g),  gx = mean(g*xhat), hx = mean(h*xhat).
INLINE void norm_grad2_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  const struct norm n = norm_of(s);
  const int64_t sample = part * n.pixels * n.c, width = n.c / n.groups;
  const float *x = s->p[0] + sample, *g = s->p[1] + sample, *h = s->p[2] + sample;
  float *y = s->p[4] + sample, *r = scratch_row(&n, scratch, 0), *m = scratch_row(&n, scratch, 1), *sum[5];
  for (int i = 0; i < 5; i++) sum[i] = scratch_row(&n, scratch, 2 + i);
  spread_stats(&n, s->p[3] + part * 2 * n.groups, r, m);
  for (int64_t c = 0; c < n.c; c += VL) {
    const int64_t left = LEFT(n.c, c);
    const vec rv = load(r + c), mv = load(m + c);
    vec g1 = {0}, h1 = {0}, gx = {0}, hx = {0}, gh = {0};
    for (int64_t p = 0; p < n.pixels; p++) {
      const int64_t at = p * n.c + c;
      vec xhat = load_n(x + at, left) * rv + mv, gv = load_n(g + at, left), hv = load_n(h + at, left);
      g1 += gv;
      h1 += hv;
      gx += gv * xhat;
      hx += hv * xhat;
      gh += gv * hv;
    }
    store(sum[0] + c, g1);
    store(sum[1] + c, h1);
    store(sum[2] + c, gx);
    store(sum[3] + c, hx);
    store(sum[4] + c, gh);
  }
  // y = g*cg + h*ch + x*cx + c1; the rows of sums are reused for the coefficients.
  float *cg = sum[0], *ch = sum[1], *cx = sum[2], *c1 = sum[3];
  for (int64_t k = 0; k < n.groups; k++) {
    double mean[5];
    for (int i = 0; i < 5; i++) mean[i] = fold_mean(&n, sum[i], k);
    const double g1 = mean[0], h1 = mean[1], gx = mean[2], hx = mean[3], rstd = r[k * width], shift = m[k * width];
    const double e = mean[4] - g1 * h1 - gx * hx, r2 = rstd * rstd, on_xhat = r2 * (2 * gx * hx - e);
    for (int64_t c = k * width; c < (k + 1) * width; c++) {
      cg[c] = (float)(-r2 * hx);
      ch[c] = (float)(-r2 * gx);
      cx[c] = (float)(on_xhat * rstd);
      c1[c] = (float)(on_xhat * shift + r2 * (gx * h1 + hx * g1));
    }
  }
  for (int64_t p = 0; p < n.pixels; p++, x += n.c, g += n.c, h += n.c, y += n.c)
    for (int64_t c = 0; c < n.c; c += VL) {
      const int64_t left = LEFT(n.c, c);
      vec v = load_n(g + c, left) * load(cg + c) + load_n(h + c, left) * load(ch + c);
      store_n(y + c, v + load_n(x + c, left) * load(cx + c) + load(c1 + c), left);
    }
}
WHOLE_OR_PARTIAL(norm_grad2, s->d[1])
