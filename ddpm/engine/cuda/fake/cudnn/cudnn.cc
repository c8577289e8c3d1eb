// cudnn.cc: a test double of libcudnn.so.9. It plans and computes convolutions on the memory of the test double of the
// driver, through whose streams its work goes, and has ways to compute them of every sort that a program must tell apart.
// FAKECUDNN_FAULT makes it fail: "create", "execute", "capture", "wrong", or "later N" after so many executions; FAKECUDNN_VERSION is the version that it says it is.
#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))

enum status { ok = 0, not_initialized = 1001, bad_param = 2000, not_supported = 3000, execution_failed = 5000 };

static char last[256];

__attribute__((format(printf, 2, 3))) static status fail(status s, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(last, sizeof last, format, args);
  va_end(args);
  return s;
}

static bool fault(const char *name) {
  const char *f = getenv("FAKECUDNN_FAULT");
  return f && !strcmp(f, name);
}

// driver is an entry point of the driver that the program has loaded.
template <class F> static F driver(const char *name) {
  F f = (F)dlsym(RTLD_DEFAULT, name);
  if (!f) fprintf(stderr, "fakecudnn: there is no %s\n", name), abort();
  return f;
}

struct handle {
  void *stream;
  std::set<int> loaded; // ways with the kind of convolution: code is loaded when it is first executed, which cannot be recorded
};

// way is a way to compute a convolution. It has a note that is not -1, and takes longer than the others if FAKECUDNN_SLOW
// says by how many milliseconds.
struct way {
  int engine, note, slower; // so many times
  enum { right, unprepared, garbage, narrowed, fails } does;
  int64_t workspace;
};

static const way ways[] = {
  {10, -1, 2, way::right, 0},
  {11, -1, 0, way::unprepared, 0},
  {12, 4, 0, way::garbage, 0},   // its sums have no fixed order
  {13, 0, 1, way::narrowed, 16}, // by tensor cores
  {14, -1, 0, way::right, 1003},
  {15, -1, 0, way::fails, 0},
};
static const int count = sizeof ways / sizeof *ways;

// Kinds of descriptors, and types of attributes with their sizes.
enum { convolution = 1, engine, configuration, heuristics, plan, forward = 10, filter_gradient, data_gradient, graph = 15, pack, tensor };
static const std::map<int, size_t> sizes = {{0, 8}, {1, 4}, {3, 8}, {4, 4}, {6, 8}, {7, 4}, {8, 4}, {15, 8}, {24, 1}};

struct descriptor {
  int kind;
  bool final = false, gone = false;
  int index = 0; // of the way
  std::map<int, std::vector<char>> attributes;

  template <class T> std::vector<T> all(int name) const {
    auto found = attributes.find(name);
    if (found == attributes.end()) return {};
    std::vector<T> v(found->second.size() / sizeof(T));
    memcpy(v.data(), found->second.data(), found->second.size());
    return v;
  }
  template <class T> T one(int name) const {
    auto v = all<T>(name);
    return v.size() == 1 ? v[0] : T();
  }
  const descriptor *part(int name) const { return one<descriptor *>(name); }
};

API size_t cudnnGetVersion() {
  const char *v = getenv("FAKECUDNN_VERSION");
  return v ? atol(v) : 91900;
}
API size_t cudnnGetCudartVersion() { return 99000; }

API const char *cudnnGetErrorString(int s) {
  switch (s) {
  case not_initialized: return "CUDNN_STATUS_NOT_INITIALIZED";
  case bad_param: return "CUDNN_STATUS_BAD_PARAM";
  case not_supported: return "CUDNN_STATUS_NOT_SUPPORTED";
  case execution_failed: return "CUDNN_STATUS_EXECUTION_FAILED";
  }
  return "CUDNN_STATUS_INTERNAL_ERROR";
}
API void cudnnGetLastErrorString(char *text, size_t n) { snprintf(text, n, "%s", last); }

API int cudnnCreate(void **h) {
  void *context = nullptr;
  driver<int (*)(void **)>("cuCtxGetCurrent")(&context);
  if (!context || fault("create")) return fail(not_initialized, "no context on this thread");
  *h = new handle{};
  return ok;
}
API int cudnnDestroy(void *h) { return delete (handle *)h, ok; }
API int cudnnSetStream(void *h, void *stream) { return ((handle *)h)->stream = stream, ok; }

API int cudnnBackendCreateDescriptor(int kind, void **d) { return *d = new descriptor{kind, false, false, 0, {}}, ok; }

// What is destroyed is kept, so that its use shows; what refers to it may go on.
API int cudnnBackendDestroyDescriptor(void *d) { return ((descriptor *)d)->gone = true, ok; }

API int cudnnBackendSetAttribute(void *to, int name, int type, int64_t n, const void *v) {
  descriptor *d = (descriptor *)to;
  if (d->final || d->gone) return fail(bad_param, "attribute %d of a descriptor that is final", name);
  auto size = sizes.find(type);
  if (size == sizes.end() || n < 1) return fail(bad_param, "attribute %d of type %d", name, type);
  d->attributes[name].assign((const char *)v, (const char *)v + n * size->second);
  return ok;
}

// prepared tells what is wrong with a descriptor, null if nothing is.
static const char *prepared(const descriptor &d) {
  switch (d.kind) {
  case tensor: {
    auto dims = d.all<int64_t>(902), strides = d.all<int64_t>(903);
    if (dims.size() != 4 || strides.size() != 4 || d.one<int64_t>(900) != 16 || !d.one<int64_t>(906)) return "a tensor that lacks something";
    if (d.one<int>(901) != 0 && d.one<int>(901) != 9) return "a tensor of another type";
    for (int64_t v : dims)
      if (v < 1) return "a tensor without entries";
    if (strides[1] != 1 || strides[3] != dims[1] || strides[2] != dims[1] * dims[3] || strides[0] != dims[1] * dims[3] * dims[2])
      return "a tensor whose channels do not lie side by side";
    return nullptr;
  }
  case graph: return d.part(801) && d.part(801)->final ? nullptr : "a graph that lacks something";
  case heuristics: return d.part(201) && d.part(201)->final && d.one<int>(200) == 3 ? nullptr : "heuristics that lack something";
  case plan: return d.part(401) && (d.one<void *>(400) || d.part(407)) ? nullptr : "a plan that lacks something";
  case pack: return d.all<int64_t>(1000).size() == 3 && d.all<char *>(1001).size() == 3 ? nullptr : "a variant pack that lacks something";
  }
  return nullptr;
}

API int cudnnBackendFinalize(void *of) {
  descriptor *d = (descriptor *)of;
  if (const char *why = prepared(*d)) return fail(bad_param, "%s", why);
  if (d->kind == plan) {
    d->index = d->part(401)->index;
    if (ways[d->index].does == way::unprepared) return fail(not_supported, "engine %d does not support this", ways[d->index].engine);
  }
  d->final = true;
  return ok;
}

API int cudnnBackendGetAttribute(void *of, int name, int type, int64_t n, int64_t *got, void *v) {
  descriptor *d = (descriptor *)of;
  const way &w = ways[d->index];
  descriptor **parts = (descriptor **)v;
  if (d->kind == heuristics && name == 202 && type == 15) {
    *got = n ? std::min<int64_t>(n, count) : count;
    for (int i = 0; i < n && i < count; i++) {
      parts[i]->index = i, parts[i]->final = true;
      parts[i]->attributes[201] = d->attributes[201];
    }
  } else if (d->kind == configuration && name == 300 && type == 15) {
    *got = 1;
    if (n) parts[0]->index = d->index;
  } else if (d->kind == engine && name == 1301 && type == 3) {
    *got = 1, *(int64_t *)v = w.engine;
  } else if (d->kind == engine && name == 1303 && type == 11) {
    *got = w.note >= 0, *(int *)v = w.note;
  } else if (d->kind == plan && name == 402 && type == 3) {
    *got = 1, *(int64_t *)v = w.workspace;
  } else {
    return fail(bad_param, "attribute %d of kind %d as type %d", name, d->kind, type);
  }
  return ok;
}

// array is the entries of a tensor.
struct array {
  int type;
  std::vector<int64_t> dims, strides;
  char *data;

  static float widened(uint16_t b) {
    uint32_t u = (uint32_t)b << 16;
    float f;
    return memcpy(&f, &u, 4), f;
  }
  static uint16_t narrowed(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return f == f ? (u + 0x7fff + (u >> 16 & 1)) >> 16 : 0x7fff;
  }
  int64_t at(int64_t n, int64_t c, int64_t h, int64_t w) const { return n * strides[0] + c * strides[1] + h * strides[2] + w * strides[3]; }
  int64_t size() const { return dims[0] * dims[1] * dims[2] * dims[3]; }
  std::vector<float> read(bool narrow) const {
    std::vector<float> v(size());
    for (int64_t i = 0; i < size(); i++) v[i] = type == 9 ? widened(((uint16_t *)data)[i]) : ((float *)data)[i];
    if (narrow)
      for (float &f : v) f = widened(narrowed(f));
    return v;
  }
  void write(const std::vector<double> &v) const {
    for (int64_t i = 0; i < size(); i++)
      if (type == 9)
        ((uint16_t *)data)[i] = narrowed((float)v[i]);
      else
        ((float *)data)[i] = (float)v[i];
  }
};

// work is a convolution that is queued; a graph may run it again.
struct work {
  int kind;
  way by;
  array x, w, y;
  int64_t stride, pad[2];
  char *workspace;
  bool wrong;
};

static void compute(void *of) {
  const work &k = *(work *)of;
  if (const char *slow = getenv("FAKECUDNN_SLOW")) std::this_thread::sleep_for(std::chrono::milliseconds(k.by.slower * atoi(slow)));
  memset(k.workspace, 0xff, k.by.workspace);
  const array &result = k.kind == forward ? k.y : k.kind == data_gradient ? k.x : k.w;
  if (k.by.does == way::garbage) return (void)memset(result.data, 0x41, result.size() * (result.type == 9 ? 2 : 4));
  bool narrow = k.by.does == way::narrowed;
  std::vector<float> x, w, y;
  if (k.kind != data_gradient) x = k.x.read(narrow);
  if (k.kind != filter_gradient) w = k.w.read(narrow);
  if (k.kind != forward) y = k.y.read(narrow);
  std::vector<double> sum(result.size());
  const auto &xd = k.x.dims, &wd = k.w.dims, &yd = k.y.dims;
  for (int64_t n = 0; n < yd[0]; n++)
    for (int64_t u = 0; u < yd[2]; u++)
      for (int64_t v = 0; v < yd[3]; v++)
        for (int64_t r = 0; r < wd[2]; r++)
          for (int64_t s = 0; s < wd[3]; s++) {
            int64_t i = u * k.stride + r - k.pad[0], j = v * k.stride + s - k.pad[1];
            if (i < 0 || j < 0 || i >= xd[2] || j >= xd[3]) continue;
            int64_t x0 = k.x.at(n, 0, i, j), y0 = k.y.at(n, 0, u, v);
            for (int64_t o = 0; o < wd[0]; o++) {
              int64_t w0 = k.w.at(o, 0, r, s);
              for (int64_t c = 0; c < wd[1]; c++)
                switch (k.kind) {
                case forward: sum[y0 + o] += (double)x[x0 + c] * w[w0 + c]; break;
                case data_gradient: sum[x0 + c] += (double)y[y0 + o] * w[w0 + c]; break;
                case filter_gradient: sum[w0 + c] += (double)y[y0 + o] * x[x0 + c]; break;
                }
            }
          }
  if (k.wrong) sum[sum.size() / 2] *= 1.5;
  result.write(sum);
}

static int executed; // since it is to fail later

API int cudnnBackendExecute(void *h, void *of, void *with) {
  const descriptor *p = (descriptor *)of, *given = (descriptor *)with;
  if (p->kind != plan || !p->final || p->gone || p->one<void *>(400) != h || given->kind != pack || !given->final) return fail(bad_param, "no plan of this handle, or no variant pack");
  const way &by = ways[p->index];
  void *stream = ((handle *)h)->stream;
  int capturing = 0;
  driver<int (*)(void *, int *)>("cuStreamIsCapturing")(stream, &capturing);
  const descriptor *operation = p->part(401)->part(201)->part(801);
  bool fresh = ((handle *)h)->loaded.insert(100 * p->index + operation->kind).second;
  if (fresh && capturing) return fail(execution_failed, "engine %d loads code while the stream captures", by.engine);
  int after = 0;
  if (const char *f = getenv("FAKECUDNN_FAULT"); f && sscanf(f, "later %d", &after) == 1 && executed++ >= after)
    return fail(execution_failed, "engine %d does not run", by.engine);
  if (!after) executed = 0;
  if (by.does == way::fails || fault("execute") || (capturing && fault("capture")))
    return fail(execution_failed, "engine %d does not run", by.engine);
  const descriptor *c = operation->part(operation->kind == forward ? 702 : operation->kind == data_gradient ? 708 : 714);
  int first = operation->kind == forward ? 703 : operation->kind == data_gradient ? 709 : 715;
  std::map<int64_t, array> operands;
  auto ids = given->all<int64_t>(1000);
  auto data = given->all<char *>(1001);
  for (int i = 0; i < 3; i++) {
    const descriptor *t = operation->part(first + i);
    int64_t id = t->one<int64_t>(906);
    for (int j = 0; j < 3; j++)
      if (ids[j] == id) operands[id] = {t->one<int>(901), t->all<int64_t>(902), t->all<int64_t>(903), data[j]};
    if (!operands.count(id) || (uintptr_t)operands[id].data % 16 || !operands[id].data) return fail(bad_param, "operand %d has no place", (int)id);
  }
  work *k = new work{operation->kind, by, operands['x'], operands['w'], operands['y'], c->all<int64_t>(103)[0], {}, given->one<char *>(1003), fault("wrong")};
  memcpy(k->pad, c->all<int64_t>(105).data(), sizeof k->pad);
  if (by.workspace && !k->workspace) return fail(bad_param, "no workspace");
  int r = driver<int (*)(void *, void (*)(void *), void *)>("cuLaunchHostFunc")(stream, compute, k);
  return r ? fail(execution_failed, "the driver refuses with %d", r) : ok;
}
