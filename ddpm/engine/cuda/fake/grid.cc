// grid.cc: runs a grid. The threads of a block are fibers of one thread of the host, which take turns at barriers and
// shuffles; blocks are shared out among the host's threads.
#include "fake.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

#if !defined(__x86_64__)
#error "fibers are written for x86-64 only"
#endif

result fault(result r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("fakecuda: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  return r;
}

static std::map<std::string, fake_kernel> &kernels() {
  static std::map<std::string, fake_kernel> all;
  return all;
}

void fake_register(const fake_kernel &k) { kernels()[k.name] = k; }

const fake_kernel *find_kernel(const char *name) {
  auto found = kernels().find(name);
  return found == kernels().end() ? nullptr : &found->second;
}

// switch_stack saves the registers that a call keeps, and goes on where another stack was left.
extern "C" void fake_switch_stack(void **save, void *to);
asm(R"(
.text
.type fake_switch_stack, @function
fake_switch_stack:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");

enum state { ready, at_barrier, at_shuffle, done };
static const int warp = 32;
static const size_t stack_size = 64 << 10;

struct fiber {
  void *stack, *top;
  enum state state;
  fake_thread self;
  union {
    float number;
    const void *pointer;
  } value[2]; // of the last two shuffles: a lane may be one ahead of its partner
  int shuffles;
};

// runner is a thread of the host with the fibers of the block that it runs.
struct runner {
  std::vector<fiber> fibers;
  fiber *now;
  void *back;
  const fake_kernel *kernel;
  void **args;
};

thread_local fake_thread *fake_now;
static thread_local runner *self;

static void wait_as(enum state s) {
  fiber *f = self->now;
  f->state = s;
  fake_switch_stack(&f->top, self->back);
}

static void enter_fiber() {
  self->kernel->call(self->args);
  wait_as(done);
  abort();
}

void fake_barrier() { wait_as(at_barrier); }

float fake_shuffle_xor(float v, int mask) {
  fiber *f = self->now;
  int turn = f->shuffles++ & 1, me = f - self->fibers.data();
  f->value[turn].number = v;
  wait_as(at_shuffle);
  return self->fibers[(me & ~(warp - 1)) | ((me ^ mask) & (warp - 1))].value[turn].number;
}

void fake_gather(const void *mine, const void **all) {
  fiber *f = self->now;
  int turn = f->shuffles++ & 1, first = (f - self->fibers.data()) & ~(warp - 1);
  f->value[turn].pointer = mine;
  wait_as(at_shuffle);
  for (int i = 0; i < warp; i++) all[i] = self->fibers[first + i].value[turn].pointer;
}

static void prepare(fiber &f, unsigned t, fake_dim block, fake_dim threads, fake_dim blocks) {
  if (!f.stack) {
    f.stack = mmap(nullptr, stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(f.stack, 4096, PROT_NONE);
  }
  f.self = {{t % threads.x, t / threads.x % threads.y, t / threads.x / threads.y}, block, threads, blocks};
  f.state = ready;
  f.shuffles = 0;
  void **top = (void **)((char *)f.stack + stack_size) - 2;
  *--top = nullptr; // the return address of enter_fiber, which aligns its stack
  *--top = (void *)enter_fiber;
  top -= 6;
  std::fill(top, top + 6, nullptr);
  f.top = top;
}

static result run_block(fake_dim block, fake_dim threads, fake_dim blocks) {
  const unsigned n = threads.x * threads.y * threads.z;
  std::vector<fiber> &all = self->fibers;
  if (all.size() < n) all.resize(n, fiber{});
  for (unsigned t = 0; t < n; t++) prepare(all[t], t, block, threads, blocks);
  for (;;) {
    for (unsigned t = 0; t < n; t++) {
      if (all[t].state != ready) continue;
      self->now = &all[t];
      fake_now = &all[t].self;
      fake_switch_stack(&self->back, all[t].top);
    }
    unsigned in[4] = {0, 0, 0, 0};
    bool go = false;
    for (unsigned w = 0; w < n; w += warp) {
      unsigned lanes = 0, last = std::min(n, w + warp);
      for (unsigned t = w; t < last; t++) lanes += all[t].state == at_shuffle;
      if (lanes == warp) {
        for (unsigned t = w; t < last; t++) all[t].state = ready;
        go = true;
      } else if (lanes) {
        return fault(launch_failed, "%s: %u of %u lanes of a warp are at a shuffle, the others at a barrier or through", self->kernel->name,
                     lanes, last - w);
      }
      for (unsigned t = w; t < last; t++) in[all[t].state]++;
    }
    if (go) continue;
    if (in[done] == n) return ok;
    if (in[at_barrier] != n)
      return fault(launch_failed, "%s: %u of %u threads are at a barrier, %u are through", self->kernel->name, in[at_barrier], n, in[done]);
    for (unsigned t = 0; t < n; t++) all[t].state = ready;
  }
}

// job is a grid that runs.
struct job {
  const fake_kernel *kernel;
  void **args;
  fake_dim blocks, threads;
  std::atomic<uint64_t> next{0};
  std::atomic<int> failed{0};

  void work() {
    if (!self) self = new runner();
    self->kernel = kernel, self->args = args;
    const uint64_t n = (uint64_t)blocks.x * blocks.y * blocks.z;
    for (uint64_t i; !failed && (i = next++) < n;) {
      result r = run_block({(unsigned)(i % blocks.x), (unsigned)(i / blocks.x % blocks.y), (unsigned)(i / blocks.x / blocks.y)}, threads, blocks);
      if (r) failed = r;
    }
  }
};

// pool keeps threads, since each has a stack for every fiber.
static struct {
  std::mutex lock;
  std::condition_variable changed;
  job *now = nullptr;
  uint64_t turn = 0;
  int started = 0, busy = 0;
} pool;

static void help() {
  std::unique_lock<std::mutex> held(pool.lock);
  for (uint64_t seen = 0;;) {
    pool.changed.wait(held, [&] { return pool.now && pool.turn != seen; });
    seen = pool.turn;
    job *j = pool.now;
    pool.busy++;
    held.unlock();
    j->work();
    held.lock();
    pool.busy--;
    pool.changed.notify_all();
  }
}

result run_grid(const fake_kernel &k, void **args, fake_dim blocks, fake_dim threads, unsigned) {
  job j;
  j.kernel = &k, j.args = args, j.blocks = blocks, j.threads = threads;
  const bool small = (uint64_t)blocks.x * blocks.y * blocks.z < 4;
  if (!small) {
    std::lock_guard<std::mutex> held(pool.lock);
    const int most = std::max(1u, std::min(4u, std::thread::hardware_concurrency()));
    for (; pool.started < most - 1; pool.started++) std::thread(help).detach();
    pool.now = &j;
    pool.turn++;
    pool.changed.notify_all();
  }
  j.work();
  if (!small) {
    std::unique_lock<std::mutex> held(pool.lock);
    pool.now = nullptr;
    pool.changed.wait(held, [] { return pool.busy == 0; });
  }
  return (result)j.failed.load();
}
