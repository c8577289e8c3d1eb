// portable.h: one source, two compilers. nvcc makes the kernels that a GPU runs; g++ makes
// the same kernels for the fake driver (../fake), which runs a block's threads in turns.
#pragma once

#ifdef __CUDACC__

#define REGISTER(kernel)
#define WARP_ALL 0xffffffffu
#define UNROLL _Pragma("unroll")

#else

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

struct fake_dim {
  unsigned x, y, z;
};

// fake_thread is what a CUDA thread knows of itself.
struct fake_thread {
  fake_dim thread, block, threads, blocks;
};
extern thread_local fake_thread *fake_now;

void fake_barrier();
float fake_shuffle_xor(float v, int mask);
// fake_gather is told by each lane of a warp, and tells each, a pointer of all.
void fake_gather(const void *mine, const void **all);

#define threadIdx (fake_now->thread)
#define blockIdx (fake_now->block)
#define blockDim (fake_now->threads)
#define gridDim (fake_now->blocks)
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
// The threads of a block run on one thread of the host.
#define __shared__ static thread_local
#define __launch_bounds__(...)
#define __syncthreads fake_barrier
#define WARP_ALL 0
#define UNROLL
#define __shfl_xor_sync(all, v, mask) fake_shuffle_xor(v, mask)
#define __fmul_rn(a, b) ((a) * (b))
#define __fadd_rn(a, b) ((a) + (b))
#define __fdiv_rn(a, b) ((a) / (b))
#define __fsqrt_rn(a) sqrtf(a)
#define __dmul_rn(a, b) ((a) * (b))
#define __dadd_rn(a, b) ((a) + (b))
#define rsqrtf(x) (1.0f / sqrtf(x))
#define __umulhi(a, b) ((unsigned)(((uint64_t)(a) * (b)) >> 32))

// fake_kernel is a kernel with what is needed to call it with packed arguments.
struct fake_kernel {
  const char *name;
  void (*call)(void **args);
  int n;
  const int *size;
  const bool *pointer;
};
void fake_register(const fake_kernel &);

template <auto F> struct fake_signature;
template <class... A, void (*F)(A...)> struct fake_signature<F> {
  template <int... I> struct list {};
  template <int N, int... I> struct count : count<N - 1, N - 1, I...> {};
  template <int... I> struct count<0, I...> { using type = list<I...>; };
  template <int... I> static void spread(void **a, list<I...>) { F(*static_cast<A *>(a[I])...); }
  static void call(void **a) { spread(a, typename count<sizeof...(A)>::type()); }
  static int enter(const char *name) {
    static const int size[] = {(int)sizeof(A)...};
    static const bool pointer[] = {std::is_pointer<A>::value...};
    fake_register({name, call, (int)sizeof...(A), size, pointer});
    return 0;
  }
};
#define REGISTER(kernel) static int fake_entered_##kernel = fake_signature<kernel>::enter(#kernel);

#endif

// KERNEL begins the definition of a kernel; REGISTER follows it.
#define KERNEL extern "C" __global__ void

typedef long long i64;

// Kernels over n entries take them in strides of the grid.
#define EACH(i, n) \
  for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

// warp_sum and warp_max are the same in all lanes of a warp.
__device__ __forceinline__ float warp_sum(float v) {
  for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(WARP_ALL, v, m);
  return v;
}

__device__ __forceinline__ float warp_max(float v) {
  for (int m = 16; m; m >>= 1) v = fmaxf(v, __shfl_xor_sync(WARP_ALL, v, m));
  return v;
}

// block_sum is the same in all threads of a block of whole warps, at most 32.
__device__ __forceinline__ float block_sum(float v) {
  __shared__ float part[32];
  v = warp_sum(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
  __syncthreads();
  float sum = 0;
  for (unsigned i = 0; i < blockDim.x >> 5; i++) sum += part[i];
  return sum;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float silu(float x) { return x * sigmoid(x); }

// silu1 and silu2 are the first and second derivative of silu.
__device__ __forceinline__ float silu1(float x) {
  float s = sigmoid(x);
  return s + x * s * (1 - s);
}

__device__ __forceinline__ float silu2(float x) {
  float s = sigmoid(x), d = s * (1 - s);
  return 2 * d + x * d * (1 - 2 * s);
}
