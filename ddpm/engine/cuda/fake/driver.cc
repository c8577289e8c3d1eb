// driver.cc: the driver's entry points that the program calls. Work is queued on its stream and done when somebody waits
// for it, so that a wait that is missing shows.
#include "fake.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <vector>

#define API extern "C" __attribute__((visibility("default"))) result

typedef uint64_t address;
typedef std::function<result()> work;

static std::recursive_mutex lock;
#define ENTER std::lock_guard<std::recursive_mutex> held(lock)

static long setting(const char *name, long otherwise) {
  const char *s = getenv(name);
  return s && *s ? atol(s) : otherwise;
}

static bool initialised;
static char primary;
static thread_local void *current;
static result sticky; // of a kernel that failed: the context is lost

#define NEED_CONTEXT \
  if (!initialised) return not_initialised; \
  if (!current) return fault(invalid_context, "%s: no context on this thread", __func__); \
  if (sticky) return sticky

// ---- memory: between two pages that fault, full of NaNs, and given back at once.

struct allocation {
  size_t size, mapped;
  char *base;
};
static std::map<address, allocation> memory;
static size_t used;
static size_t total() { return (size_t)setting("FAKECUDA_MEMORY_MB", 4096) << 20; }

static bool inside(address p, size_t n) {
  auto after = memory.upper_bound(p);
  if (after == memory.begin()) return false;
  --after;
  return p + n <= after->first + after->second.size;
}

#define NEED_MEMORY(p, n) \
  if (!inside(p, n)) return fault(invalid_value, "%s: %zu bytes at %#llx are not in one allocation", __func__, (size_t)(n), (unsigned long long)(p))

API cuMemAlloc_v2(address *p, size_t n) {
  ENTER;
  NEED_CONTEXT;
  if (!n) return invalid_value;
  if (used + n > total()) return out_of_memory;
  const size_t page = 4096, inner = (n + page - 1) / page * page, mapped = inner + 2 * page;
  char *base = (char *)mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return out_of_memory;
  mprotect(base, page, PROT_NONE);
  mprotect(base + page + inner, page, PROT_NONE);
  memset(base + page, 0xff, inner);
  *p = (address)(base + page + (inner - n) / 256 * 256); // aligned as a driver does; up to 255 bytes before the end page
  memory[*p] = {n, mapped, base};
  used += n;
  return ok;
}

static void flush_all();

API cuMemFree_v2(address p) {
  ENTER;
  NEED_CONTEXT;
  auto found = memory.find(p);
  if (found == memory.end()) return fault(invalid_value, "cuMemFree: %#llx is no allocation", (unsigned long long)p);
  flush_all();
  munmap(found->second.base, found->second.mapped);
  used -= found->second.size;
  memory.erase(found);
  return ok;
}

API cuMemGetInfo_v2(size_t *free, size_t *all) {
  ENTER;
  NEED_CONTEXT;
  *all = total();
  *free = *all - used;
  return ok;
}

// ---- streams

struct stream {
  bool blocking = true; // the default stream waits for it
  bool capturing = false;
  std::vector<work> queue;
};
static stream standard;
static std::vector<stream *> streams;
static thread_local int captures; // begun on this thread

static stream *stream_of(void *s) { return s && (uintptr_t)s > 2 ? (stream *)s : &standard; }

static result flush(stream *s) {
  std::vector<work> queue;
  if (!s->capturing) queue.swap(s->queue);
  for (auto &w : queue) {
    if (sticky) break;
    if (result r = w()) sticky = r;
  }
  return sticky;
}

static void flush_all() {
  flush(&standard);
  for (stream *s : streams) flush(s);
}

// flush_standard is what a call without a stream waits for.
static result flush_standard(const char *name) {
  if (captures) return fault(capture_implicit, "%s waits while this thread captures", name);
  for (stream *s : streams) // the default stream begins when they are through
    if (s->blocking) flush(s);
  return flush(&standard);
}

static result enqueue(void *s, work w) {
  stream_of(s)->queue.push_back(w);
  return ok;
}

API cuStreamCreate(void **s, unsigned flags) {
  ENTER;
  NEED_CONTEXT;
  stream *made = new stream;
  made->blocking = !(flags & 1);
  streams.push_back(made);
  *s = made;
  return ok;
}

API cuStreamDestroy_v2(void *s) {
  ENTER;
  NEED_CONTEXT;
  for (size_t i = 0; i < streams.size(); i++)
    if (streams[i] == s) {
      flush(streams[i]);
      streams.erase(streams.begin() + i);
      delete (stream *)s;
      return ok;
    }
  return invalid_handle;
}

API cuStreamSynchronize(void *s) {
  ENTER;
  NEED_CONTEXT;
  if (stream_of(s)->capturing) return fault(capture_unsupported, "cuStreamSynchronize of a stream that captures");
  return flush(stream_of(s));
}

API cuStreamQuery(void *s) {
  ENTER;
  NEED_CONTEXT;
  return stream_of(s)->queue.empty() ? ok : not_ready;
}

API cuCtxSynchronize() {
  ENTER;
  NEED_CONTEXT;
  if (captures) return fault(capture_implicit, "cuCtxSynchronize while this thread captures");
  flush_all();
  return sticky;
}

// ---- copies

API cuMemcpyHtoDAsync_v2(address d, const void *s, size_t n, void *on) {
  ENTER;
  NEED_CONTEXT;
  NEED_MEMORY(d, n);
  return enqueue(on, [=] { return memcpy((void *)d, s, n), ok; });
}

API cuMemcpyDtoHAsync_v2(void *d, address s, size_t n, void *on) {
  ENTER;
  NEED_CONTEXT;
  NEED_MEMORY(s, n);
  return enqueue(on, [=] { return memcpy(d, (void *)s, n), ok; });
}

API cuMemcpyDtoDAsync_v2(address d, address s, size_t n, void *on) {
  ENTER;
  NEED_CONTEXT;
  NEED_MEMORY(d, n);
  NEED_MEMORY(s, n);
  return enqueue(on, [=] { return memmove((void *)d, (void *)s, n), ok; });
}

API cuMemsetD8Async(address d, unsigned char v, size_t n, void *on) {
  ENTER;
  NEED_CONTEXT;
  NEED_MEMORY(d, n);
  return enqueue(on, [=] { return memset((void *)d, v, n), ok; });
}

API cuMemcpyHtoD_v2(address d, const void *s, size_t n) {
  ENTER;
  result r = cuMemcpyHtoDAsync_v2(d, s, n, nullptr);
  return r ? r : flush_standard("cuMemcpyHtoD");
}

API cuMemcpyDtoH_v2(void *d, address s, size_t n) {
  ENTER;
  result r = cuMemcpyDtoHAsync_v2(d, s, n, nullptr);
  return r ? r : flush_standard("cuMemcpyDtoH");
}

API cuMemcpyDtoD_v2(address d, address s, size_t n) {
  ENTER;
  result r = cuMemcpyDtoDAsync_v2(d, s, n, nullptr);
  return r ? r : flush_standard("cuMemcpyDtoD");
}

API cuMemsetD8_v2(address d, unsigned char v, size_t n) {
  ENTER;
  result r = cuMemsetD8Async(d, v, n, nullptr);
  return r ? r : flush_standard("cuMemsetD8");
}

// ---- modules and launches

struct function {
  const fake_kernel *kernel;
  unsigned shared = 48 << 10;
};
struct image {
  const char *bytes;
  size_t size;
  std::map<std::string, function> functions;
};

// An image is a fat binary: magic, version and size of its header, size of the rest.
API cuModuleLoadData(void **m, const void *data) {
  ENTER;
  NEED_CONTEXT;
  uint32_t magic;
  uint16_t header;
  uint64_t rest;
  memcpy(&magic, data, 4);
  if (magic != 0xba55ed50) return fault(invalid_image, "cuModuleLoadData: this is no fat binary");
  memcpy(&header, (const char *)data + 6, 2);
  memcpy(&rest, (const char *)data + 8, 8);
  char *copy = (char *)malloc(header + rest);
  memcpy(copy, data, header + rest);
  *m = new image{copy, header + rest, {}};
  return ok;
}

API cuModuleUnload(void *m) {
  ENTER;
  NEED_CONTEXT;
  flush_all();
  free((void *)((image *)m)->bytes);
  delete (image *)m;
  return ok;
}

API cuModuleGetFunction(void **f, void *m, const char *name) {
  ENTER;
  NEED_CONTEXT;
  image *of = (image *)m;
  const std::string section = std::string(".text.") + name;
  if (!memmem(of->bytes, of->size, section.c_str(), section.size() + 1)) return fault(not_found, "%s is not in the image", name);
  const fake_kernel *k = find_kernel(name);
  if (!k) return fault(not_found, "%s is not in the fake driver", name);
  of->functions[name].kernel = k;
  *f = &of->functions[name];
  return ok;
}

API cuFuncSetAttribute(void *f, int attribute, int v) {
  ENTER;
  NEED_CONTEXT;
  if (attribute != 8) return ok;
  if (v < 0 || v > 232448) return fault(invalid_value, "%d bytes of shared memory, of 232448", v);
  ((function *)f)->shared = v;
  return ok;
}

API cuFuncGetAttribute(int *v, int, void *) {
  *v = 0;
  return ok;
}

API cuLaunchKernel(void *f, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz, unsigned shared, void *on,
                   void **args, void **) {
  ENTER;
  NEED_CONTEXT;
  const function *of = (function *)f;
  const fake_kernel *k = of->kernel;
  if (!bx || !by || !bz || bx > 0x7fffffff || by > 65535 || bz > 65535)
    return fault(invalid_value, "%s: a grid of %u x %u x %u blocks", k->name, bx, by, bz);
  if (!tx || !ty || !tz || tz > 64 || (uint64_t)tx * ty * tz > 1024)
    return fault(invalid_value, "%s: a block of %u x %u x %u threads", k->name, tx, ty, tz);
  if (shared > of->shared) return fault(invalid_value, "%s: %u bytes of dynamic shared memory, allowed are %u", k->name, shared, of->shared);
  std::vector<std::vector<char>> copy; // arguments are copied when a kernel is queued
  for (int i = 0; i < k->n; i++) {
    copy.emplace_back((char *)args[i], (char *)args[i] + k->size[i]);
    address p;
    if (k->pointer[i] && (memcpy(&p, args[i], 8), p && !inside(p, 1)))
      return fault(invalid_value, "%s: argument %d, %#llx, is not in device memory", k->name, i, (unsigned long long)p);
  }
  return enqueue(on, [=] {
    auto own = copy;
    std::vector<void *> p;
    for (auto &v : own) p.push_back(v.data());
    return run_grid(*k, p.data(), {bx, by, bz}, {tx, ty, tz}, shared);
  });
}

API cuLaunchHostFunc(void *on, void (*f)(void *), void *with) {
  ENTER;
  NEED_CONTEXT;
  return enqueue(on, [=] { return f(with), ok; });
}

// ---- graphs

API cuStreamIsCapturing(void *s, int *yes) {
  ENTER;
  *yes = stream_of(s)->capturing;
  return ok;
}

API cuStreamBeginCapture_v2(void *s, int) {
  ENTER;
  NEED_CONTEXT;
  if (stream_of(s) == &standard) return fault(capture_unsupported, "the default stream cannot capture");
  if (result r = flush(stream_of(s))) return r;
  stream_of(s)->capturing = true;
  captures++;
  return ok;
}

API cuStreamEndCapture(void *s, void **g) {
  ENTER;
  NEED_CONTEXT;
  if (!stream_of(s)->capturing) return invalid_value;
  stream_of(s)->capturing = false;
  captures--;
  *g = new std::vector<work>();
  ((std::vector<work> *)*g)->swap(stream_of(s)->queue);
  return ok;
}

API cuGraphInstantiateWithFlags(void **e, void *g, unsigned long long) {
  *e = new std::vector<work>(*(std::vector<work> *)g);
  return ok;
}

API cuGraphLaunch(void *e, void *s) {
  ENTER;
  NEED_CONTEXT;
  for (auto &w : *(std::vector<work> *)e) enqueue(s, w);
  return ok;
}

API cuGraphDestroy(void *g) {
  delete (std::vector<work> *)g;
  return ok;
}

API cuGraphExecDestroy(void *g) { return cuGraphDestroy(g); }

// ---- events

struct event {
  double at = 0;
};

API cuEventCreate(void **e, unsigned) {
  *e = new event;
  return ok;
}

API cuEventDestroy_v2(void *e) {
  delete (event *)e;
  return ok;
}

API cuEventRecord(void *e, void *s) {
  ENTER;
  NEED_CONTEXT;
  return enqueue(s, [=] {
    ((event *)e)->at = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
    return ok;
  });
}

API cuEventSynchronize(void *) {
  ENTER;
  NEED_CONTEXT;
  flush_all();
  return sticky;
}

API cuEventElapsedTime(float *ms, void *a, void *b) {
  *ms = (float)(((event *)b)->at - ((event *)a)->at);
  return ok;
}

// ---- the device

API cuInit(unsigned) {
  initialised = true;
  return (result)setting("FAKECUDA_INIT", ok);
}

API cuDriverGetVersion(int *v) {
  *v = (int)setting("FAKECUDA_VERSION", 13000);
  return ok;
}

API cuDeviceGetCount(int *n) {
  *n = (int)setting("FAKECUDA_DEVICES", 1);
  return ok;
}

API cuDeviceGet(int *d, int i) {
  *d = i;
  return i < setting("FAKECUDA_DEVICES", 1) ? ok : invalid_device;
}

API cuDeviceGetName(char *s, int n, int) {
  snprintf(s, n, "fake device");
  return ok;
}

API cuDeviceTotalMem_v2(size_t *n, int) {
  *n = total();
  return ok;
}

API cuDeviceGetAttribute(int *v, int attribute, int) {
  switch (attribute) {
  case 1: *v = 1024; break;                                          // threads of a block
  case 8: *v = 48 << 10; break;                                      // shared memory of a block
  case 10: *v = 32; break;                                           // warp
  case 13: *v = 1980000; break;                                      // clock, in kHz
  case 16: *v = 132; break;                                          // multiprocessors
  case 36: *v = 2619000; break;                                      // clock of the memory
  case 38: *v = 50 << 20; break;                                     // second cache
  case 75: *v = (int)setting("FAKECUDA_CAPABILITY", 90) / 10; break; // compute capability
  case 76: *v = (int)setting("FAKECUDA_CAPABILITY", 90) % 10; break;
  case 97: *v = 232448; break;                                       // shared memory that a kernel may be allowed
  default: *v = 0;
  }
  return ok;
}

API cuDevicePrimaryCtxRetain(void **c, int) {
  *c = &primary;
  return ok;
}

API cuDevicePrimaryCtxRelease_v2(int) { return ok; }

API cuCtxSetCurrent(void *c) {
  current = c;
  return ok;
}

API cuCtxGetCurrent(void **c) {
  *c = current;
  return ok;
}

API cuGetErrorName(int e, const char **s) {
  switch (e) {
  case out_of_memory: *s = "CUDA_ERROR_OUT_OF_MEMORY"; return ok;
  case no_device: *s = "CUDA_ERROR_NO_DEVICE"; return ok;
  case launch_failed: *s = "CUDA_ERROR_LAUNCH_FAILED"; return ok;
  }
  static thread_local char text[32];
  snprintf(text, sizeof text, "fake CUDA error %d", e);
  *s = text;
  return ok;
}

API cuGetErrorString(int e, const char **s) { return cuGetErrorName(e, s); }
