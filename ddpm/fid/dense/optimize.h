// optimize.h: cgo compiles with -O2; the kernels want more, but not when a sanitizer looks on.
#if !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#pragma GCC optimize("O3")
#endif
