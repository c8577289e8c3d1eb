// elementwise.h: y[i] = f(a[i], b[i], c[i]). p = a, b, c, y, those a kernel does not read being NULL;
// d = size, entries of a part; f = one constant. y may be any of the inputs.

#define ELEMENTWISE(name, expression)                                               \
  static void name(const struct cpu_step *s, int64_t part, float *scratch) {        \
    (void)scratch;                                                                  \
    const float f = s->f[0];                                                        \
    const int64_t lo = part * s->d[1], hi = min_i(s->d[0], lo + s->d[1]);           \
    (void)f;                                                                        \
    int64_t i = lo;                                                                 \
    for (; i + VL <= hi; i += VL) {                                                 \
      const int64_t left = VL;                                                      \
      (void)left;                                                                   \
      store(s->p[3] + i, expression);                                               \
    }                                                                               \
    if (i < hi) {                                                                   \
      const int64_t left = hi - i;                                                  \
      store_n(s->p[3] + i, expression, left);                                       \
    }                                                                               \
  }
#define A load_n(s->p[0] + i, left)
#define B load_n(s->p[1] + i, left)
#define C load_n(s->p[2] + i, left)

INLINE vec power_v(vec v, float exponent) {
  for (int i = 0; i < VL; i++) v[i] = powf(v[i], exponent);
  return v;
}
INLINE vec log_v(vec v) {
  for (int i = 0; i < VL; i++) v[i] = logf(v[i]);
  return v;
}
INLINE vec silu_slope2(vec x) {
  vec s = sigmoid_v(x), d = s * (1.f - s);
  return d * (2.f + x * (1.f - 2.f * s));
}

ELEMENTWISE(add, A + B)
ELEMENTWISE(mul, A *B)
ELEMENTWISE(scale, A *f)
ELEMENTWISE(add_const, A + f)
ELEMENTWISE(power, power_v(A, f))
ELEMENTWISE(log_floor, log_v(max_v(A, splat(f))))
ELEMENTWISE(log_slope, select_v(A > splat(f), B / A, splat(0.f)))
ELEMENTWISE(fill, splat(f))
ELEMENTWISE(relu, max_v(A, splat(0.f)))
ELEMENTWISE(relu_grad, select_v(A > splat(0.f), B, splat(0.f)))
ELEMENTWISE(sigmoid, sigmoid_v(A))
ELEMENTWISE(silu, A *sigmoid_v(A))
ELEMENTWISE(silu_grad, B *silu_slope(A, 0))
ELEMENTWISE(silu_grad2, B *C *silu_slope2(A))

#undef A
#undef B
#undef C
#undef ELEMENTWISE
