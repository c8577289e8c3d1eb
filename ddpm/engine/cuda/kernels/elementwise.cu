// elementwise.cu: y[i] is a function of the inputs' entries i.
#include "values.h"

#define UNARY(name, expression) \
  KERNEL name(const void *a, void *y, i64 n, float f, unsigned narrow) { \
    source xs(a, narrow, 0); \
    target ys(y, narrow, 1); \
    EACH(i, n) { \
      float x = xs[i]; \
      (void)f; \
      ys.set(i, expression); \
    } \
  } \
  REGISTER(name)

#define BINARY(name, expression) \
  KERNEL name(const void *a, const void *b, void *y, i64 n, float f, unsigned narrow) { \
    source xs(a, narrow, 0), gs(b, narrow, 1); \
    target ys(y, narrow, 2); \
    EACH(i, n) { \
      float x = xs[i], g = gs[i]; \
      (void)f; \
      ys.set(i, expression); \
    } \
  } \
  REGISTER(name)

UNARY(scale, x * f)
UNARY(add_const, x + f)
UNARY(power, powf(x, f))
UNARY(log_floor, logf(fmaxf(x, f)))
UNARY(sigmoid_forward, sigmoid(x))
UNARY(silu_forward, silu(x))
UNARY(relu, fmaxf(x, 0.0f))
BINARY(add, x + g)
BINARY(mul, x * g)
BINARY(log_slope, x > f ? g / x : 0.0f)
BINARY(relu_grad, x > 0 ? g : 0.0f)
BINARY(silu_grad, g * silu1(x))

KERNEL silu_grad2(const void *a, const void *b, const void *c, void *y, i64 n, float f, unsigned narrow) {
  source xs(a, narrow, 0), gs(b, narrow, 1), hs(c, narrow, 2);
  target ys(y, narrow, 3);
  (void)f;
  EACH(i, n) ys.set(i, gs[i] * hs[i] * silu2(xs[i]));
}
REGISTER(silu_grad2)

// affine: y is x [n/C,C] times factor [C], and bias [C] where that is not null.
KERNEL affine(const void *px, void *py, const float *factor, const float *bias, i64 n, int C, unsigned narrow) {
  source x(px, narrow, 0);
  target y(py, narrow, 1);
  EACH(i, n) {
    int c = n <= 0x7fffffff ? (int)i % C : (int)(i % C);
    y.set(i, x[i] * factor[c] + (bias ? bias[c] : 0.0f));
  }
}
REGISTER(affine)

KERNEL fill(float *y, i64 n, float f) {
  EACH(i, n) y[i] = f;
}
REGISTER(fill)
