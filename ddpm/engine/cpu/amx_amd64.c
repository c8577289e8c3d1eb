// The kernels on bf16 tiles, for AVX-512 processors that have AMX.
#include "amx.h"
#if CPU_AMX
#include "optimize.h"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,amx-tile,amx-bf16,prefer-vector-width=512")
#define VL 16
#define MR 14
#define NV 2
#include "vec.h"
#include "tile.h"
#include "head.h"
#include "bf16.h"
#include "bf16_attention.h"
#include "norm.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

int cpu_has_amx(void) {
  enum { AVX512_BF16 = 1 << 5, AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24 };
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & AMX_BF16) == 0 || (d & AMX_TILE) == 0) return 0;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || (a & AVX512_BF16) == 0) return 0;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
}

void cpu_use_amx(cpu_kernel kernels[CPU_KERNEL_COUNT]) {
  kernels[CPU_bf16_weights] = bf16_weights;
  kernels[CPU_bf16_conv] = bf16_conv;
  kernels[CPU_bf16_conv_dw] = bf16_conv_dw;
  kernels[CPU_bf16_attention] = bf16_attention;
  kernels[CPU_bf16_attention_dx] = bf16_attention_dx;
  // Those that round with the processor's instruction.
  kernels[CPU_norm_stats] = norm_stats;
  kernels[CPU_norm] = norm;
  kernels[CPU_norm_grad] = norm_grad;
  kernels[CPU_norm_grad2] = norm_grad2;
  kernels[CPU_norm_act] = norm_act;
  kernels[CPU_norm_act_grad] = norm_act_grad;
  kernels[CPU_norm_act_grad2] = norm_act_grad2;
}
#endif
