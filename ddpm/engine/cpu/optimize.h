// optimize.h: cgo compiles with -O2; the kernels want their loops vectorized and square roots in line. Not when a
// sanitizer looks on: it would take minutes.
#if !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#pragma GCC optimize("O3", "no-math-errno")
#endif
