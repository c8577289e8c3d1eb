//go:build ddpmcuda

/* Each entry point of the driver is a jump to where its slot points, filled by load.c. */
#if defined(__x86_64__)
.macro JUMP name
  .globl \name
  .hidden \name
  .type \name, @function
\name:
  endbr64
  jmp *cudrv_slot_\name(%rip)
  .size \name, . - \name
.endm
#elif defined(__aarch64__)
.macro JUMP name
  .globl \name
  .hidden \name
  .type \name, %function
\name:
  adrp x16, cudrv_slot_\name
  ldr x16, [x16, :lo12:cudrv_slot_\name]
  br x16
  .size \name, . - \name
.endm
#else
#error "no jump written for this processor; build without the tag ddpmcuda"
#endif
#define CUDRV(name) JUMP name
  .text
#include "symbols.h"
#if defined(__linux__)
  .section .note.GNU-stack, "", %progbits
#endif
