// elementwise.cu: y[i] is a function of the inputs' entries i.
#include "portable.h"

#define UNARY(name, expression) \
  KERNEL name(const float *a, float *y, i64 n, float f) { EACH(i, n) { float x = a[i]; (void)f; y[i] = expression; } } \
  REGISTER(name)

#define BINARY(name, expression) \
  KERNEL name(const float *a, const float *b, float *y, i64 n, float f) { EACH(i, n) { float x = a[i], g = b[i]; (void)f; y[i] = expression; } } \
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

KERNEL silu_grad2(const float *a, const float *b, const float *c, float *y, i64 n, float f) {
  (void)f;
  EACH(i, n) y[i] = b[i] * c[i] * silu2(a[i]);
}
REGISTER(silu_grad2)

KERNEL fill(float *y, i64 n, float f) {
  EACH(i, n) y[i] = f;
}
REGISTER(fill)
