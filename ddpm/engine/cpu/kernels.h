// kernels.h: what Go and C share. A program is a flat array of steps; a step is cut into parts, and the parts
// of one step may run in any order on any thread. Kernels know nothing of threads: a part writes where no other
// part writes, and what has to be summed over parts is summed by a later step in a fixed order. Results are
// therefore the same for every number of threads.
#ifndef DDPMLAB_CPU_KERNELS_H
#define DDPMLAB_CPU_KERNELS_H

#include <stdint.h>

enum { CPU_POINTERS = 10, CPU_DIMS = 16, CPU_FLOATS = 8 };

struct cpu_step {
  int32_t kernel;             // index into CPU_KERNELS
  int32_t parts;              // the step is done when parts 0..parts-1 are
  float *p[CPU_POINTERS];     // operands; each kernel says which (NULL where one is optional)
  int64_t d[CPU_DIMS];        // sizes and strides, in floats
  float f[CPU_FLOATS];        // scalars
};

// X(name): every kernel, in the order of its number.
#define CPU_KERNELS(X)                                                                              \
  X(wino_weights) X(wino_forward) X(wino_dw) X(wino_dw_out) X(wino_dw_small)                        \
  X(bf16_weights) X(bf16_conv) X(bf16_conv_dw) X(bf16_attention) X(bf16_attention_dx)     \
  X(gemm) X(sum_slabs) X(conv_cols) X(conv_cols_dx) X(conv_cols_dw) X(flip_weights)                 \
  X(conv_panels) X(pack_weights) X(max_pool) X(mean_pool) X(resize)                                 \
  X(norm_stats) X(norm) X(norm_grad) X(norm_grad2) X(norm_act) X(norm_act_grad) X(norm_act_grad2)  \
  X(add) X(mul) X(scale) X(add_const) X(power) X(log_floor) X(log_slope) X(fill)                    \
  X(relu) X(relu_grad) X(sigmoid) X(silu) X(silu_grad) X(silu_grad2)                                \
  X(attention) X(attention_dx) X(attention_jvp) X(attention_dx2)                                    \
  X(softmax) X(softmax_grad) X(log_softmax) X(copy) X(pool) X(broadcast) X(sum)                     \
  X(time_embedding) X(dropout) X(adamw) X(sum_squares)

#define CPU_ENUM(name) CPU_##name,
enum cpu_kernel_id { CPU_KERNELS(CPU_ENUM) CPU_KERNEL_COUNT };
#undef CPU_ENUM

typedef void (*cpu_kernel)(const struct cpu_step *s, int64_t part, float *scratch);

// One instance of the kernel template for one instruction set.
struct cpu_isa {
  const char *name;
  int32_t rows;               // rows of a GEMM panel (tiles of a Winograd panel)
  int32_t columns;            // columns of a strip of packed weights
  int32_t tiles;              // whether the processor multiplies bf16 tiles, or they are imitated
  const cpu_kernel *kernels;  // CPU_KERNEL_COUNT functions
  int64_t (*scratch)(const struct cpu_step *s);  // floats of scratch a part of s needs
};

// cpu_find_isa returns the named instance ("" for the best), or NULL if this machine or build lacks it.
const struct cpu_isa *cpu_find_isa(const char *name);
const char *cpu_kernel_name(int32_t kernel);

// A run of a program: shared by all its workers, and reset before each run.
struct cpu_counter { int32_t next, done; };
struct cpu_run {
  const struct cpu_isa *isa;
  const struct cpu_step *steps;
  struct cpu_counter *counters;  // one for each step, zero at the start
  int64_t count;
  int32_t cancel;                // set by cpu_cancel; workers then stop after their current part
  int64_t *nanos;                // when profiling, one for each step: the time it took is added; else NULL
};

// cpu_work is one worker's share of a run; exactly one of the workers is the first.
void cpu_work(struct cpu_run *r, float *scratch, int first);
void cpu_cancel(struct cpu_run *r);
void cpu_reset(struct cpu_run *r);

#endif
