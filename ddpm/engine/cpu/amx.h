// amx.h: bf16 tiles, which Linux gives to a process that asks.
#include "kernels.h"

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__)
#define CPU_AMX 1
#else
#define CPU_AMX 0
#endif

#if CPU_AMX
// cpu_has_amx tells whether this process may use tiles, and asks for them.
int cpu_has_amx(void);

// cpu_use_amx puts the kernels that use tiles in the place of those that imitate them.
void cpu_use_amx(cpu_kernel kernels[CPU_KERNEL_COUNT]);
#endif
