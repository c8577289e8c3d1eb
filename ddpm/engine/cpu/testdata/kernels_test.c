// kernels_test.c runs every kernel of every instruction set that the machine has, on odd shapes, with operands and
// scratch that are exactly as large as they must be. Built with -fsanitize=address,undefined by TestSanitizers.
// Convolutions, products and attention are compared with plain loops; that the rest computes the right thing is tested in Go.
#include "../kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cpu_isa *isa;
static int failures;

static float *numbers(int64_t n, int seed) {
  float *x = malloc(n * sizeof *x);
  for (int64_t i = 0; i < n; i++) x[i] = (float)((i * 7 + seed * 5) % 23 - 11) / 8;
  return x;
}

// run executes all parts of a step, each with fresh scratch of exactly the size that it asks for.
static void run(struct cpu_step s) {
  const int64_t n = isa->scratch(&s);
  for (int part = 0; part < s.parts; part++) {
    float *scratch = numbers(n, 1);
    isa->kernels[s.kernel](&s, part, scratch);
    free(scratch);
  }
}

static void compare_to(double most, const char *what, const float *got, const double *want, int64_t n) {
  double d = 0, w = 0;
  for (int64_t i = 0; i < n; i++) {
    d += (got[i] - want[i]) * (got[i] - want[i]);
    w += want[i] * want[i];
  }
  if (!(sqrt(d) <= most * sqrt(w))) {
    printf("%s %s: relative distance %g\n", isa->name, what, sqrt(d / w));
    failures++;
  }
}

static void compare(const char *what, const float *got, const double *want, int64_t n) { compare_to(1e-5, what, got, want, n); }

struct conv { int64_t n, h, w, c, oh, ow, k, kh, kw, stride, pad, pad_x; };

static void naive(const struct conv *g, const float *x, const float *w, const float *dy, double *y, double *dx, double *dw) {
  for (int64_t n = 0; n < g->n; n++)
    for (int64_t i = 0; i < g->oh; i++)
      for (int64_t j = 0; j < g->ow; j++)
        for (int64_t p = 0; p < g->kh; p++)
          for (int64_t q = 0; q < g->kw; q++) {
            const int64_t r = i * g->stride + p - g->pad, s = j * g->stride + q - g->pad_x;
            if (r < 0 || r >= g->h || s < 0 || s >= g->w) continue;
            for (int64_t c = 0; c < g->c; c++)
              for (int64_t k = 0; k < g->k; k++) {
                const int64_t xi = ((n * g->h + r) * g->w + s) * g->c + c, wi = ((p * g->kw + q) * g->c + c) * g->k + k;
                const int64_t yi = ((n * g->oh + i) * g->ow + j) * g->k + k;
                y[yi] += (double)x[xi] * w[wi];
                dx[xi] += (double)w[wi] * dy[yi];
                dw[wi] += (double)x[xi] * dy[yi];
              }
          }
}

static int64_t round16(int64_t n) { return (n + 15) / 16 * 16; }

// odd is the size of one of the 36 positions, padded against conflicts in the cache.
static int64_t odd(int64_t n) { return n / 16 % 2 ? n : n + 16; }

static void winograd(const struct conv *g, const float *x, float *w, float *u, float *y, int flip, int64_t c, int64_t k,
                     float *bias, float *add) {
  const int64_t tiles = g->n * ((g->h + 3) / 4) * ((g->w + 3) / 4), total = (tiles + isa->rows - 1) / isa->rows;
  run((struct cpu_step){CPU_wino_weights, (int)(round16(c) / 16 * round16(k) / 16), {w, u}, {c, k, flip}, {0}});
  for (int64_t panels = 1; panels <= 3; panels += 2)
    run((struct cpu_step){CPU_wino_forward, (int)((total + panels - 1) / panels), {(float *)x, u, y, bias, add},
                          {g->n, g->h, g->w, c, k, panels, 0, k, 0}, {0}});
}

static int64_t round32(int64_t n) { return (n + 31) / 32 * 32; }

// narrowed is a copy of n numbers, which are bf16, in half the memory.
static float *narrowed(const float *x, int64_t n) {
  uint16_t *to = malloc((n + 1) / 2 * sizeof *x);
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits;
    memcpy(&bits, x + i, sizeof bits);
    to[i] = (uint16_t)(bits >> 16);
  }
  return (float *)to;
}

static float widened(const float *x, int64_t i) {
  const uint32_t bits = (uint32_t)((const uint16_t *)x)[i] << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

// bf16 compares the kernels that round their operands: those of these tests are bf16 already.
static void bf16(const struct conv *g, float *x, float *w, float *dy, float *bias, float *add, float *y, float *dx,
                 float *dw, const double *wy, const double *wx, const double *ww) {
  const int64_t taps = g->kh * g->kw, nx = g->n * g->h * g->w * g->c, ny = g->n * g->h * g->w * g->k, nw = taps * g->c * g->k;
  const int64_t cp = round32(g->c), kp = round32(g->k), border = g->kh / 2, lines = g->n * (g->h + border) + border;
  float *packed = numbers(taps * cp * kp / 2, 12), *slabs = numbers(2 * nw, 13);
  float *half_x = narrowed(x, nx), *half_dy = narrowed(dy, ny), *half_add = narrowed(add, ny);
  for (int64_t each = 1; each <= lines; each += lines / 2 + 1)
    for (int64_t outputs = 32; outputs <= 64; outputs += 32) {
      const int64_t parts = (lines + each - 1) / each;
      run((struct cpu_step){CPU_bf16_weights, (int)(kp / 32), {w, packed}, {taps, g->c, g->k, 0}, {0}});
      for (int narrow = 0; narrow < 4; narrow++) {
        run((struct cpu_step){CPU_bf16_conv, (int)(parts * ((g->k + outputs - 1) / outputs)),
                              {narrow & 1 ? half_x : x, packed, y, bias, narrow & 2 ? half_add : add},
                              {g->n, g->h, g->w, g->c, g->k, g->kh, each, outputs, g->k, narrow & 1, narrow & 2}, {0}});
        compare("bf16", y, wy, ny);
      }
      float *half_y = numbers((ny + 1) / 2, 14);
      for (int narrow = 0; narrow < 4; narrow += 2) {
        run((struct cpu_step){CPU_bf16_conv, (int)(parts * ((g->k + outputs - 1) / outputs)),
                              {x, packed, half_y, bias, narrow ? half_add : add},
                              {g->n, g->h, g->w, g->c, g->k, g->kh, each, outputs, g->k, 0, 1 | narrow}, {0}});
        for (int64_t i = 0; i < ny; i++) y[i] = widened(half_y, i);
        compare_to(5e-3, "bf16 to bf16", y, wy, ny);
      }
      free(half_y);
      run((struct cpu_step){CPU_bf16_weights, (int)(cp / 32), {w, packed}, {taps, g->k, g->c, 1}, {0}});
      run((struct cpu_step){CPU_bf16_conv, (int)(parts * ((g->c + outputs - 1) / outputs)), {dy, packed, dx},
                            {g->n, g->h, g->w, g->k, g->c, g->kh, each, outputs, g->c, 0, 0}, {0}});
      compare("bf16 dx", dx, wx, nx);
      const int64_t cn = (cp + outputs - 1) / outputs, kn = kp / 32, count = lines < 2 ? 1 : 2;
      for (int narrow = 0; narrow < 4; narrow++) {
        run((struct cpu_step){CPU_bf16_conv_dw, (int)(count * cn * kn), {narrow & 1 ? half_x : x, narrow & 2 ? half_dy : dy, slabs},
                              {g->n, g->h, g->w, g->c, g->k, g->kh, outputs, cn, 32, kn, count, each, narrow & 1, narrow >> 1}, {0}});
        run((struct cpu_step){CPU_sum_slabs, (int)((nw + 15) / 16), {slabs, dw}, {nw, count, 16}, {0}});
        compare("bf16 dw", dw, ww, nw);
      }
    }
  free(half_x);
  free(half_dy);
  free(half_add);
  free(packed);
  free(slabs);
}

static void convolution(struct conv g) {
  g.oh = (g.h + 2 * g.pad - g.kh) / g.stride + 1;
  g.ow = (g.w + 2 * g.pad_x - g.kw) / g.stride + 1;
  const int64_t nx = g.n * g.h * g.w * g.c, ny = g.n * g.oh * g.ow * g.k, nw = g.kh * g.kw * g.c * g.k;
  float *x = numbers(nx, 1), *w = numbers(nw, 2), *dy = numbers(ny, 3), *bias = numbers(g.k, 4), *add = numbers(ny, 5);
  float *y = numbers(ny, 6), *dx = numbers(nx, 7), *dw = numbers(nw, 8), *slabs = numbers(3 * nw, 9);
  double *wy = calloc(ny, sizeof *wy), *wx = calloc(nx, sizeof *wx), *ww = calloc(nw, sizeof *ww);
  naive(&g, x, w, dy, wy, wx, ww);
  double *with = malloc(ny * sizeof *with);
  for (int64_t i = 0; i < ny; i++) with[i] = wy[i] + bias[i % g.k] + add[i];

#define DIMS g.n, g.h, g.w, g.c, g.oh, g.ow, g.k, g.kh, g.kw, g.stride, g.pad, g.pad_x
  const int rows = 2 * isa->rows;
  run((struct cpu_step){CPU_conv_cols, (int)((g.n * g.oh * g.ow + rows - 1) / rows), {x, w, y, bias, add}, {DIMS, rows}, {0}});
  compare("conv_cols", y, with, ny);
  run((struct cpu_step){CPU_conv_cols_dx, (int)g.n, {dy, w, dx}, {DIMS}, {0}});
  compare("conv_cols_dx", dx, wx, nx);
  run((struct cpu_step){CPU_conv_cols_dw, 3, {x, dy, slabs}, {DIMS, 3}, {0}});
  run((struct cpu_step){CPU_sum_slabs, (int)((nw + 15) / 16), {slabs, dw}, {nw, 3, 16}, {0}});
  compare("conv_cols_dw", dw, ww, nw);

  if ((g.c % 16 == 0 || g.kh * g.kw * g.c <= 384) && g.k % 16 == 0) {  // in two parts of columns, into pixels that lie apart, behind a ReLU
    const int64_t columns = g.k > isa->columns ? isa->columns : g.k, apart = g.k + 3, pixels = ny / g.k;
    const int parts = (int)((pixels + rows - 1) / rows * ((g.k + columns - 1) / columns));
    float *packed = numbers(round16(g.kh * g.kw * g.c) * g.k, 10), *wide = numbers((pixels - 1) * apart + g.k, 11);
    run((struct cpu_step){CPU_pack_weights, (int)((g.k + isa->columns - 1) / isa->columns), {w, packed}, {g.kh * g.kw * g.c, g.k}, {0}});
    run((struct cpu_step){CPU_conv_panels, parts, {x, packed, wide, bias}, {DIMS, rows, columns, apart, 1}, {0}});
    for (int64_t i = 0; i < ny; i++) {
      y[i] = wide[i / g.k * apart + i % g.k];
      const double v = wy[i] + bias[i % g.k];
      with[i] = v > 0 ? v : 0;
    }
    compare("conv_panels", y, with, ny);
    if (g.kh == 3 && g.kw == 3 && g.stride == 1 && g.pad == 0 && g.pad_x == 0) {
      const int64_t cp = round16(g.c), total = (g.n * ((g.oh + 3) / 4) * ((g.ow + 3) / 4) + isa->rows - 1) / isa->rows;
      float *u = numbers(36 * odd(cp * g.k), 12);
      run((struct cpu_step){CPU_wino_weights, (int)(cp / 16 * g.k / 16), {w, u}, {g.c, g.k, 0}, {0}});
      run((struct cpu_step){CPU_wino_forward, (int)((total + 1) / 2), {x, u, wide, bias}, {g.n, g.oh, g.ow, g.c, g.k, 2, 1, apart, 1}, {0}});
      for (int64_t i = 0; i < ny; i++) y[i] = wide[i / g.k * apart + i % g.k];
      for (int64_t i = 0; i < ny; i++) with[i] = wy[i] + bias[i % g.k] > 0 ? wy[i] + bias[i % g.k] : 0;
      compare("winograd without padding", y, with, ny);
      free(u);
    }
    for (int64_t i = 0; i < ny; i++) with[i] = wy[i] + bias[i % g.k] + add[i];
    free(packed);
    free(wide);
  }
  if (g.kh == 3 && g.kw == 3 && g.stride == 1 && g.pad == 1 && g.pad_x == 1) {
    const int64_t cp = round16(g.c), kp = round16(g.k);
    float *u = numbers(36 * odd(cp * kp), 10);
    winograd(&g, x, w, u, y, 0, g.c, g.k, bias, add);
    compare("winograd", y, with, ny);
    winograd(&g, dy, w, u, dx, 1, g.k, g.c, NULL, NULL);
    compare("winograd dx", dx, wx, nx);
    const int64_t tiles = g.n * ((g.h + 3) / 4) * ((g.w + 3) / 4), total = (tiles + isa->rows - 1) / isa->rows;
    const int64_t count = total < 3 ? total : 3;
    // The weight gradient in chunks of 16 to 32 channels, of which the last may be narrower.
    const int64_t cs = cp > 32 ? 32 : cp, ks = kp > 16 ? 16 : kp, cn = (cp + cs - 1) / cs, kn = (kp + ks - 1) / ks;
    float *du = numbers(count * cn * kn * 36 * odd(cs * ks), 11);
#define DW_DIMS g.n, g.h, g.w, g.c, g.k, 2, cs, cn, ks, kn, count
    run((struct cpu_step){CPU_wino_dw, (int)(count * cn * kn), {x, dy, du}, {DW_DIMS}, {0}});
    run((struct cpu_step){CPU_wino_dw_out, (int)g.c, {du, dw}, {DW_DIMS}, {0}});
    compare("winograd dw", dw, ww, nw);
    memset(dw, 0, nw * sizeof *dw);
    run((struct cpu_step){CPU_wino_dw_small, (int)(cn * kn), {x, dy, dw}, {DW_DIMS}, {0}});
    compare("winograd dw, few tiles", dw, ww, nw);
    free(u);
    free(du);
  }
  if (g.kh == g.kw && g.kh == 2 * g.pad + 1 && g.pad_x == g.pad && g.kh <= 3 && g.stride == 1)
    bf16(&g, x, w, dy, bias, add, y, dx, dw, with, wx, ww);
  void *all[] = {x, w, dy, bias, add, y, dx, dw, slabs, wy, wx, ww, with};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void product(int64_t batch, int64_t m, int64_t n, int64_t k, int ta, int tb) {
  float *a = numbers(batch * m * k, 1), *b = numbers(batch * k * n, 2), *c = numbers(batch * m * n, 3);
  float *slabs = numbers(2 * batch * m * n, 4), *bias = numbers(n, 5);
  double *want = calloc(batch * m * n, sizeof *want), *biased = calloc(batch * m * n, sizeof *biased);
  for (int64_t s = 0; s < batch; s++)
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        double *sum = &want[(s * m + i) * n + j];
        for (int64_t l = 0; l < k; l++)
          *sum += (double)a[s * m * k + (ta ? l * m + i : i * k + l)] * b[s * k * n + (tb ? j * k + l : l * n + j)];
        biased[(s * m + i) * n + j] = *sum + bias[j];
      }
  const int64_t rows = 2 * isa->rows, columns = 128;
  const int parts = (int)(batch * ((m + rows - 1) / rows) * ((n + columns - 1) / columns));
  run((struct cpu_step){CPU_gemm, parts, {a, b, c, bias}, {batch, m, n, k, ta, tb, rows, columns, 1}, {0}});
  compare("gemm", c, biased, batch * m * n);
  run((struct cpu_step){CPU_gemm, 2 * parts, {a, b, slabs}, {batch, m, n, k, ta, tb, rows, columns, 2}, {0}});
  run((struct cpu_step){CPU_sum_slabs, 1, {slabs, c}, {batch * m * n, 2, batch * m * n}, {0}});
  compare("gemm in slabs", c, want, batch * m * n);
  void *all[] = {a, b, c, slabs, bias, want, biased};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// attention is compared with plain loops; its derivatives are only run.
static void attention(int64_t n, int64_t tokens, int64_t width, int64_t heads) {
  const int64_t c = width * heads, size = n * tokens * c;
  float *qkv = numbers(3 * size, 1), *h = numbers(3 * size, 2), *g = numbers(size, 3), *y = numbers(size, 4), *dqkv = numbers(3 * size, 5);
  double *want = calloc(size, sizeof *want), *w = malloc(tokens * sizeof *w);
  const float scale = (float)(1 / sqrt((double)width));
  for (int64_t row = 0; row < n * tokens; row++)
    for (int64_t j = 0; j < heads; j++) {
      const float *q = qkv + row * 3 * c + j * width, *k = qkv + row / tokens * tokens * 3 * c + c + j * width;
      double total = 0;
      for (int64_t t = 0; t < tokens; t++) {
        double dot = 0;
        for (int64_t i = 0; i < width; i++) dot += (double)q[i] * k[t * 3 * c + i];
        total += w[t] = exp(scale * dot);
      }
      for (int64_t t = 0; t < tokens; t++)
        for (int64_t i = 0; i < width; i++) want[row * c + j * width + i] += w[t] / total * k[t * 3 * c + c + i];
    }
  const int64_t panels = (tokens + isa->rows - 1) / isa->rows, blocks = (panels + 1) / 2;
  const int whole = (int)(n * heads), cut = (int)(whole * blocks);
  run((struct cpu_step){CPU_attention, cut, {qkv, y}, {tokens, c, heads, 2, blocks}, {scale}});
  compare("attention", y, want, size);
  run((struct cpu_step){CPU_attention_jvp, cut, {qkv, h, y}, {tokens, c, heads, 2, blocks}, {scale}});
  run((struct cpu_step){CPU_attention_dx, whole, {qkv, g, dqkv}, {tokens, c, heads, panels, 1}, {scale}});
  // The softmax and its derivative are rounded to 8 bits.
  double *wanted = malloc(3 * size * sizeof *wanted);
  for (int64_t i = 0; i < 3 * size; i++) wanted[i] = dqkv[i];
  const int64_t of32 = (tokens + 31) / 32, cuts = (of32 + 1) / 2;
  run((struct cpu_step){CPU_bf16_attention, (int)(whole * cuts), {qkv, y}, {tokens, c, heads, 2, cuts, 0}, {scale}});
  compare_to(5e-3, "bf16 attention", y, want, size);
  run((struct cpu_step){CPU_bf16_attention_dx, whole, {qkv, g, dqkv}, {tokens, c, heads, of32, 1, 0}, {scale}});
  compare_to(1e-2, "bf16 attention dx", dqkv, wanted, 3 * size);
  float *half_qkv = narrowed(qkv, 3 * size), *half_g = narrowed(g, size), *half_y = numbers(size, 6), *half_dqkv = numbers(3 * size, 7);
  run((struct cpu_step){CPU_bf16_attention, (int)(whole * cuts), {half_qkv, half_y}, {tokens, c, heads, 2, cuts, 3}, {scale}});
  for (int64_t i = 0; i < size; i++) y[i] = widened(half_y, i);
  compare_to(1e-2, "narrow bf16 attention", y, want, size);
  run((struct cpu_step){CPU_bf16_attention_dx, whole, {half_qkv, half_g, half_dqkv}, {tokens, c, heads, of32, 1, 7}, {scale}});
  for (int64_t i = 0; i < 3 * size; i++) dqkv[i] = widened(half_dqkv, i);
  compare_to(1e-2, "narrow bf16 attention dx", dqkv, wanted, 3 * size);
  run((struct cpu_step){CPU_attention_dx2, whole, {qkv, g, h, dqkv}, {tokens, c, heads, panels, 1}, {scale}});
  void *all[] = {qkv, h, g, y, dqkv, want, w, wanted, half_qkv, half_g, half_y, half_dqkv};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// bounds runs the kernels that read and write one entry at a time, or one sample, or one row.
static void bounds(int64_t n, int64_t pixels, int64_t c, int64_t groups) {
  const int64_t size = n * pixels * c;
  float *x = numbers(size, 1), *g = numbers(size, 2), *h = numbers(size, 3), *y = numbers(size, 4), *stats = numbers(2 * n * groups, 5);
  float *a = numbers(n * c, 6), *b = numbers(n * c, 7), *da = numbers(n * c, 8), *db = numbers(n * c, 9), *ctr = numbers(4 * n, 10);
  float *small = numbers(2 * n * c, 11), *rows = numbers(n * pixels, 12);
  double *sums = malloc(((size + 99) / 100) * sizeof *sums);
  memset(ctr, 0, 4 * n * sizeof *ctr);
  run((struct cpu_step){CPU_norm_stats, (int)n, {x, stats}, {pixels, c, groups}, {1e-5f}});
  run((struct cpu_step){CPU_norm, (int)n, {x, NULL, NULL, y, stats}, {pixels, c, groups, 0}, {1e-5f}});
  run((struct cpu_step){CPU_norm_act, (int)n, {x, a, b, y, stats}, {pixels, c, groups}, {1e-5f}});
  run((struct cpu_step){CPU_norm_grad, (int)n, {x, g, stats, y}, {pixels, c, groups}, {0}});
  run((struct cpu_step){CPU_norm_grad2, (int)n, {x, g, h, stats, y}, {pixels, c, groups}, {0}});
  run((struct cpu_step){CPU_norm_act_grad, (int)n, {x, a, b, g, stats, y, da, db}, {pixels, c, groups}, {0}});
  run((struct cpu_step){CPU_norm_act_grad, (int)n, {x, a, b, g, stats, NULL, da, NULL}, {pixels, c, groups}, {0}});
  float *half = numbers((size + 1) / 2, 14), *total = numbers(2 * c, 15);
  float *narrow_x = narrowed(x, size), *narrow_g = narrowed(g, size);
  for (int mask = 1; mask < 8; mask++)
    run((struct cpu_step){CPU_norm_act_grad, (int)n, {mask & 1 ? narrow_x : x, a, b, mask & 2 ? narrow_g : g, stats, mask & 4 ? half : y, da, db},
                          {pixels, c, groups, mask}, {0}});
  if (c > 1) run((struct cpu_step){CPU_sum, 2, {half, total}, {1, n * pixels, c, 1, 1, 2, 1}, {0}});
  for (int mask = 1; mask < 4; mask++) {
    float *from = mask & 1 ? narrow_x : x, *to = mask & 2 ? half : y;
    run((struct cpu_step){CPU_norm_act, (int)n, {from, a, b, to, stats}, {pixels, c, groups, 0, mask}, {1e-5f}});
    run((struct cpu_step){CPU_norm, (int)n, {from, a, b, to, stats}, {pixels, c, groups, mask}, {1e-5f}});
    run((struct cpu_step){CPU_copy, (int)n, {from, to}, {n, pixels, 1, 1, c, pixels * c, c, 0, 0, pixels * c, c, 0, 0, 1, mask}, {0}});
  }
  run((struct cpu_step){CPU_norm_stats, (int)n, {narrow_x, stats}, {pixels, c, groups, 1}, {1e-5f}});
  free(narrow_x);
  free(narrow_g);
  free(half);
  free(total);
  run((struct cpu_step){CPU_norm_act_grad2, (int)n, {x, a, b, g, h, stats, y, da, db, g}, {pixels, c, groups}, {0}});
  run((struct cpu_step){CPU_norm_act_grad2, (int)n, {x, a, b, g, h, stats, NULL, NULL, db, NULL}, {pixels, c, groups}, {0}});
  for (int k = CPU_add; k <= CPU_silu_grad2; k++)
    run((struct cpu_step){k, (int)((size + 99) / 100), {x, g, h, y}, {size, 100}, {2}});
  for (int k = CPU_softmax; k <= CPU_log_softmax; k++)
    run((struct cpu_step){k, (int)((n * pixels + 1) / 2), {x, k == CPU_softmax_grad ? g : y, y}, {n * pixels, c, 2}, {0}});
  run((struct cpu_step){CPU_copy, (int)n, {x, y}, {n, pixels, 1, 1, c, pixels * c, c, 0, 0, pixels * c, c, 0, 0, 1, 0}, {0}});
  const int64_t views[][4] = {{1, n * pixels, c, 1}, {n, pixels, c, 1}, {n, pixels, groups, c / groups}, {n, pixels, 1, c}, {n * pixels, 1, 1, c}, {1, n * pixels, 1, c}};
  for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
    const int64_t *v = views[i];
    float *to = numbers(2 * v[0] * v[2], 13);
    run((struct cpu_step){CPU_sum, (int)(2 * v[0]), {x, to}, {v[0], v[1], v[2], v[3], 1, 2}, {0}});
    run((struct cpu_step){CPU_broadcast, (int)((v[0] * v[1] + 2) / 3), {to, y}, {v[0], v[1], v[2], v[3], 3}, {0}});
    free(to);
  }
  run((struct cpu_step){CPU_dropout, (int)n, {x, ctr, y}, {pixels * c, 1, 2, 0}, {0.3f, 1 / 0.7f}});
  run((struct cpu_step){CPU_time_embedding, (int)n, {a, small}, {2 * (c / 2)}, {0}});
  run((struct cpu_step){CPU_adamw, (int)((size + 99) / 100), {x, g, h, y, y}, {size, 100}, {0.1f, 0.1f, 0.1f, 1, 1, 0, 0.1f}});
  run((struct cpu_step){CPU_sum_squares, (int)((size + 99) / 100), {x, (float *)sums}, {size, 100}, {0}});
  void *all[] = {x, g, h, y, stats, a, b, da, db, ctr, small, rows, sums};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void pooling(int64_t n, int64_t h, int64_t w, int64_t c) {
  float *x = numbers(n * h * w * c * 4, 1), *y = numbers(n * h * w * c, 2);
  run((struct cpu_step){CPU_pool, (int)((n * h + 2) / 3), {x, y}, {n * h, w, c, 3, 0}, {0}});
  float *half_x = narrowed(x, n * h * w * c * 4);
  run((struct cpu_step){CPU_pool, (int)((n * h + 2) / 3), {half_x, y}, {n * h, w, c, 3, 1}, {0}});
  free(half_x);
  run((struct cpu_step){CPU_copy, (int)((n * h + 2) / 3), {y, x},
                        {n * h, 2, w, 2, c, w * c, 0, c, 0, 4 * w * c, 2 * w * c, 2 * c, c, 3, 0}, {0}});
  free(x);
  free(y);
}

// windows runs pools, into pixels that lie apart, resizing and ReLU.
static void windows(int64_t n, int64_t h, int64_t w, int64_t c, int64_t window, int64_t stride, int64_t pad) {
  const int64_t oh = (h + 2 * pad - window) / stride + 1, ow = (w + 2 * pad - window) / stride + 1, apart = c + 2;
  float *x = numbers(n * h * w * c, 1), *y = numbers((n * oh * ow - 1) * apart + c, 2), *large = numbers(n * 3 * h * (w + 4) * c, 3);
  const int parts = (int)((n * oh + 2) / 3);
  run((struct cpu_step){CPU_max_pool, parts, {x, y}, {n * oh, oh, ow, c, h, w, window, stride, pad, apart, 3}, {0}});
  run((struct cpu_step){CPU_mean_pool, parts, {x, y}, {n * oh, oh, ow, c, h, w, window, stride, pad, apart, 3}, {0}});
  run((struct cpu_step){CPU_resize, (int)((n * 3 * h + 3) / 4), {x, large}, {n * 3 * h, 3 * h, w + 4, c, h, w, 4}, {0}});
  run((struct cpu_step){CPU_relu, 2, {x, NULL, NULL, x}, {n * h * w * c, (n * h * w * c + 1) / 2}, {0}});
  run((struct cpu_step){CPU_relu_grad, 2, {x, x, NULL, x}, {n * h * w * c, (n * h * w * c + 1) / 2}, {0}});
  free(x);
  free(y);
  free(large);
}

// programs runs a list of steps with one worker, and one that is cancelled.
static void programs(void) {
  float *x = numbers(1000, 1);
  struct cpu_step steps[3];
  for (int i = 0; i < 3; i++) steps[i] = (struct cpu_step){CPU_add_const, 10, {x, NULL, NULL, x}, {1000, 100}, {1}};
  struct cpu_counter counters[3];
  struct cpu_run r = {isa, steps, counters, 3, 0, NULL};
  const float before = x[999];
  cpu_reset(&r);
  cpu_work(&r, NULL, 1);
  if (x[999] != before + 3) failures++, printf("%s program: %g, want %g\n", isa->name, x[999], before + 3);
  cpu_reset(&r);
  cpu_cancel(&r);
  cpu_work(&r, NULL, 1);
  if (x[999] != before + 3) failures++, printf("%s: a cancelled program ran\n", isa->name);
  free(x);
}

int main(void) {
  const char *names[] = {"amx", "avx512", "avx2", "baseline"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    if (!(isa = cpu_find_isa(names[i]))) continue;
    const struct conv shapes[] = {
        {2, 7, 9, 16, 0, 0, 32, 3, 3, 1, 1, 1}, {3, 5, 4, 40, 0, 0, 24, 3, 3, 1, 1, 1}, {1, 3, 3, 1, 0, 0, 17, 3, 3, 1, 1, 1},
        {1, 6, 6, 144, 0, 0, 48, 3, 3, 1, 1, 1}, {2, 8, 7, 3, 0, 0, 5, 3, 3, 2, 1, 1}, {1, 6, 5, 2, 0, 0, 3, 5, 2, 1, 0, 0},
        {2, 5, 5, 9, 0, 0, 7, 1, 1, 1, 0, 0}, {1, 1, 1, 8, 0, 0, 8, 3, 3, 1, 1, 1}, {1, 2, 3, 4, 0, 0, 4, 5, 5, 3, 2, 2},
        {2, 3, 9, 16, 0, 0, 32, 1, 7, 1, 0, 3}, {1, 9, 2, 32, 0, 0, 48, 7, 1, 1, 3, 0}, {1, 7, 8, 160, 0, 0, 96, 3, 3, 2, 0, 0},
        {1, 3, 5, 400, 0, 0, 64, 1, 1, 1, 0, 0}, {2, 7, 9, 16, 0, 0, 32, 3, 3, 1, 0, 0}, {1, 9, 7, 3, 0, 0, 32, 3, 3, 2, 0, 1},
    };
    for (size_t j = 0; j < sizeof shapes / sizeof *shapes; j++) convolution(shapes[j]);
    const int64_t sizes[][4] = {{1, 1, 1, 2}, {2, 15, 33, 17}, {1, 29, 130, 400}, {1, 150, 20, 260}, {3, 49, 49, 32}};
    for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
      for (int t = 0; t < 4; t++) product(sizes[j][0], sizes[j][1], sizes[j][2], sizes[j][3], t & 1, t >> 1);
    attention(2, 49, 24, 2);
    attention(1, 33, 8, 3);
    attention(1, 130, 40, 1);
    attention(3, 1, 1, 2);
    bounds(2, 9, 16, 4);
    bounds(3, 5, 40, 8);
    bounds(1, 7, 3, 1);
    bounds(2, 4, 66, 33);
    bounds(1, 1, 1, 1);
    pooling(2, 3, 5, 16);
    pooling(1, 2, 2, 3);
    windows(2, 7, 9, 16, 3, 2, 0);
    windows(1, 4, 5, 7, 3, 1, 1);
    windows(2, 1, 2, 48, 3, 1, 1);
    programs();
    printf("%s: done\n", isa->name);
  }
  return failures != 0;
}
