// run.c: picks an instance of the kernels, and runs programs.
#include "kernels.h"

#include "amx.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

extern const struct cpu_isa cpu_isa_baseline;
#if defined(__x86_64__)
extern const struct cpu_isa cpu_isa_avx2, cpu_isa_avx512;
#endif

#if CPU_AMX
// The AVX-512 instance with the kernels that use tiles; without a name if the machine has none.
static cpu_kernel amx_kernels[CPU_KERNEL_COUNT];
static struct cpu_isa amx;

__attribute__((constructor)) static void find_amx(void) {
  if (!cpu_has_amx()) return;
  memcpy(amx_kernels, cpu_isa_avx512.kernels, sizeof amx_kernels);
  cpu_use_amx(amx_kernels);
  amx = cpu_isa_avx512;
  amx.name = "amx";
  amx.tiles = 1;
  amx.kernels = amx_kernels;
}
#endif

const struct cpu_isa *cpu_find_isa(const char *name) {
  const struct cpu_isa *found[4];
  int n = 0;
#if defined(__x86_64__)
  __builtin_cpu_init();  // also asks the system whether it saves the wide registers
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
#if CPU_AMX
    if (amx.name) found[n++] = &amx;
#endif
    found[n++] = &cpu_isa_avx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found[n++] = &cpu_isa_avx2;
#endif
  found[n++] = &cpu_isa_baseline;
  for (int i = 0; i < n; i++)
    if (name[0] == 0 || strcmp(name, found[i]->name) == 0) return found[i];
  return NULL;
}

const char *cpu_kernel_name(int32_t kernel) {
#define NAME(name) #name,
  static const char *const names[] = {CPU_KERNELS(NAME)};
#undef NAME
  return kernel >= 0 && kernel < CPU_KERNEL_COUNT ? names[kernel] : "?";
}

static void relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int cancelled(struct cpu_run *r) { return __atomic_load_n(&r->cancel, __ATOMIC_RELAXED); }

// wait_done waits until all parts are done: spinning briefly, as the others usually are about to finish, then giving
// the processor away, as there may be fewer of them than workers.
static int wait_done(struct cpu_run *r, const struct cpu_counter *c, int32_t parts) {
  for (int spins = 0; __atomic_load_n(&c->done, __ATOMIC_ACQUIRE) < parts; spins++) {
    if (cancelled(r)) return 0;
    if (spins < 2000) {
      relax();
    } else if (spins < 2200) {
      sched_yield();
    } else {
      nanosleep(&(struct timespec){0, 20000}, NULL);
    }
  }
  return 1;
}

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// cpu_work is one worker's share of a run. Workers take the parts of a step from a counter, so one that the system
// suspends between parts holds up nobody: the others finish the step without it, and it catches up later.
void cpu_work(struct cpu_run *r, float *scratch, int first) {
  int64_t *const nanos = first ? r->nanos : NULL;
  int64_t start = nanos ? now() : 0;
  for (int64_t i = 0; i < r->count; i++) {
    const struct cpu_step *s = &r->steps[i];
    struct cpu_counter *c = &r->counters[i];
    for (;;) {
      if (cancelled(r)) return;
      const int32_t part = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED);
      if (part >= s->parts) break;
      r->isa->kernels[s->kernel](s, part, scratch);
      __atomic_fetch_add(&c->done, 1, __ATOMIC_RELEASE);
    }
    if (!wait_done(r, c, s->parts)) return;
    if (nanos) {
      const int64_t end = now();
      nanos[i] += end - start;
      start = end;
    }
  }
}

void cpu_cancel(struct cpu_run *r) { __atomic_store_n(&r->cancel, 1, __ATOMIC_RELAXED); }

void cpu_reset(struct cpu_run *r) {
  memset(r->counters, 0, r->count * sizeof *r->counters);
  __atomic_store_n(&r->cancel, 0, __ATOMIC_RELAXED);
}
