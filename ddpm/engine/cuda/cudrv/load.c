//go:build ddpmcuda

/* load.c: fills the slots that the driver's entry points jump to, before Go starts.

   gorgonia.org/cu calls cuInit when the program starts and ends the process if that fails. So cuInit
   is answered here: a machine without a driver or without a GPU has no devices, which is no error. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

#define CUDRV(name) __attribute__((visibility("hidden"))) void *cudrv_slot_##name;
#include "symbols.h"
#undef CUDRV

static const struct {
  const char *name;
  void **slot;
} slots[] = {
#define CUDRV(name) {#name, &cudrv_slot_##name},
#include "symbols.h"
#undef CUDRV
};

static struct cudrv_state state;

static const int no_device = 100, not_found = 500; /* CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NOT_FOUND */

static int absent(void) { return state.library[0] ? not_found : no_device; }

static int no_devices(int *n) {
  *n = 0;
  return 0;
}

static int (*real_init)(unsigned);
static int (*real_count)(int *);

/* cuInit of a driver that fails is told through cudrv_status, and counts no devices. */
static int init(unsigned flags) {
  if (!real_init) return 0;
  state.init = real_init(flags);
  cudrv_slot_cuDeviceGetCount = state.init == 0 && real_count ? (void *)real_count : (void *)no_devices;
  return 0;
}

static void keep(char *to, const char *text) {
  strncpy(to, text ? text : "", CUDRV_TEXT - 1);
}

__attribute__((constructor)) static void load(void) {
  const char *path = getenv("DDPMLAB_LIBCUDA");
  if (!path || !path[0]) path = "libcuda.so.1";
  void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
  struct link_map *map;
  if (!library) {
    keep(state.error, dlerror());
  } else if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0) {
    keep(state.library, map->l_name);
  } else {
    keep(state.library, path);
  }
  for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
    void *f = library ? dlsym(library, slots[i].name) : 0;
    if (!f) {
      state.missing += library != 0;
      f = (void *)absent;
    }
    *slots[i].slot = f;
  }
  if (library) {
    real_init = (int (*)(unsigned))dlsym(library, "cuInit");
    real_count = (int (*)(int *))dlsym(library, "cuDeviceGetCount");
  }
  cudrv_slot_cuInit = (void *)init;
  cudrv_slot_cuDeviceGetCount = (void *)no_devices;
}

const struct cudrv_state *cudrv_status(void) { return &state; }
