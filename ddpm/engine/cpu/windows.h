// windows.h: what networks that score images need beside convolutions: pools over windows, and resizing.

// A pool: p = x, y; d = output rows of all images, output rows and columns of an image, C, input rows and columns,
// window, stride, padding, distance of two pixels of y, output rows of a part.
struct pool_shape { int64_t rows, out_h, out_w, c, h, w, window, stride, pad, y_stride, each; };
INLINE struct pool_shape pool_of(const struct cpu_step *s) {
  const int64_t *d = s->d;
  return (struct pool_shape){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10]};
}

INLINE struct span window_span(int64_t i, int64_t n, const struct pool_shape *p) {
  const int64_t lo = i * p->stride - p->pad, hi = lo + p->window;
  return (struct span){lo < 0 ? 0 : lo, hi > n ? n : hi};
}

INLINE void pool_windows(const struct cpu_step *s, int64_t part, const int whole, const int largest) {
  const struct pool_shape p = pool_of(s);
  const int64_t hi = min_i(p.rows, (part + 1) * p.each);
  for (int64_t r = part * p.each; r < hi; r++) {
    const struct span ys = window_span(r % p.out_h, p.h, &p);
    const float *image = s->p[0] + r / p.out_h * p.h * p.w * p.c;
    for (int64_t ox = 0; ox < p.out_w; ox++) {
      const struct span xs = window_span(ox, p.w, &p);
      float *to = s->p[1] + (r * p.out_w + ox) * p.y_stride;
      const float share = 1.f / (float)((ys.hi - ys.lo) * (xs.hi - xs.lo));
      for (int64_t c = 0; c < p.c; c += VL) {
        const int64_t left = LEFT(p.c, c);
        vec v = largest ? splat(-INFINITY) : (vec){0};
        for (int64_t y = ys.lo; y < ys.hi; y++) {
          const float *at = image + (y * p.w + xs.lo) * p.c + c;
          for (int64_t x = xs.lo; x < xs.hi; x++, at += p.c) {
            const vec u = load_n(at, left);
            v = largest ? max_v(u, v) : v + u;
          }
        }
        store_n(to + c, largest ? v : v * share, left);
      }
    }
  }
}
INLINE void max_pool_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  (void)scratch;
  pool_windows(s, part, whole, 1);
}
WHOLE_OR_PARTIAL(max_pool, s->d[3])
INLINE void mean_pool_rows(const struct cpu_step *s, int64_t part, float *scratch, const int whole) {
  (void)scratch;
  pool_windows(s, part, whole, 0);
}
WHOLE_OR_PARTIAL(mean_pool, s->d[3])

// between is where pixel i of a resized side falls among n pixels: between lo and hi, the share f of the way.
struct between { int64_t lo, hi; float f; };
INLINE struct between between_of(int64_t i, int64_t n, float scale) {
  const float at = (float)i * scale;
  const int64_t lo = min_i((int64_t)at, n - 1);
  return (struct between){lo, min_i(lo + 1, n - 1), at - (float)lo};
}

// resize: p = x, y; d = output rows of all images, output rows and columns of an image, C, input rows and columns,
// output rows of a part. Bilinear, as TensorFlow 1 does it.
static void resize(const struct cpu_step *s, int64_t part, float *scratch) {
  (void)scratch;
  const int64_t out_h = s->d[1], out_w = s->d[2], c = s->d[3], h = s->d[4], w = s->d[5];
  const int64_t hi = min_i(s->d[0], (part + 1) * s->d[6]);
  const float scale_y = (float)h / (float)out_h, scale_x = (float)w / (float)out_w;
  for (int64_t r = part * s->d[6]; r < hi; r++) {
    const struct between y = between_of(r % out_h, h, scale_y);
    const float *image = s->p[0] + r / out_h * h * w * c, *top = image + y.lo * w * c, *bottom = image + y.hi * w * c;
    float *to = s->p[1] + r * out_w * c;
    for (int64_t j = 0; j < out_w; j++) {
      const struct between x = between_of(j, w, scale_x);
      for (int64_t k = 0; k < c; k++) {
        const float a = top[x.lo * c + k], b = bottom[x.lo * c + k];
        const float upper = a + (top[x.hi * c + k] - a) * x.f, lower = b + (bottom[x.hi * c + k] - b) * x.f;
        *to++ = upper + (lower - upper) * y.f;
      }
    }
  }
}
