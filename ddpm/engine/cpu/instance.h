// instance.h: all kernels, for the vector length and instruction set that the including file chose. It defines
// VL, MR, NV (see tile.h), ISA_NAME (a string) and ISA (the name of the cpu_isa).
#include "vec.h"
#include "tile.h"
#include "winograd.h"
#include "bf16.h"
#include "gemm.h"
#include "conv.h"
#include "head.h"
#include "panels.h"
#include "attention.h"
#include "bf16_attention.h"
#include "norm.h"
#include "elementwise.h"
#include "rows.h"
#include "move.h"
#include "windows.h"
#include "random.h"
#include "optimizer.h"

#define ENTRY(name) [CPU_##name] = name,
static const cpu_kernel kernels[CPU_KERNEL_COUNT] = {CPU_KERNELS(ENTRY)};
#undef ENTRY

static int64_t scratch_of(const struct cpu_step *s) {
  switch (s->kernel) {
    case CPU_wino_forward: return wino_forward_scratch(s);
    case CPU_wino_dw: return wino_dw_scratch(s);
    case CPU_wino_dw_small: return wino_dw_small_scratch(s);
    case CPU_wino_dw_out: return wino_dw_out_scratch(s);
    case CPU_bf16_conv: return bf16_conv_scratch(s);
    case CPU_bf16_conv_dw: return bf16_conv_dw_scratch(s);
    case CPU_gemm: return gemm_scratch(s);
    case CPU_conv_cols: return conv_cols_scratch(s);
    case CPU_conv_panels: return conv_panels_scratch(s);
    case CPU_conv_cols_dx:
    case CPU_conv_cols_dw: return conv_cols_block_scratch(s);
    case CPU_bf16_attention: return bf16_attention_scratch(s);
    case CPU_bf16_attention_dx: return bf16_attention_dx_scratch(s);
    case CPU_attention: return attention_scratch(s);
    case CPU_attention_dx: return attention_dx_scratch(s);
    case CPU_attention_jvp: return attention_jvp_scratch(s);
    case CPU_attention_dx2: return attention_dx2_scratch(s);
    case CPU_norm_stats:
    case CPU_norm:
    case CPU_norm_grad:
    case CPU_norm_grad2:
    case CPU_norm_act:
    case CPU_norm_act_grad:
    case CPU_norm_act_grad2: return norm_scratch(s);
    case CPU_sum: return sum_scratch(s);
    default: return 0;
  }
}

const struct cpu_isa ISA = {ISA_NAME, MR, NR, 0, kernels, scratch_of};
