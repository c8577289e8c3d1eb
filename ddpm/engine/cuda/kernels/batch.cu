// batch.cu: what an iteration of training draws and keeps. A graph keeps the arguments that it was recorded with, so what
// changes from one iteration to the next lies in device memory:
//   control: the numbers below, one set;
//   plan: a row for each iteration of a run, of what the update takes;
//   ring: a row for each, of what came out, and of the index drawn for each image of the batch.
// first is the place in the batch of the first image of the micro-batch. Random numbers are those of package philox.
#include "philox.h"

enum { AT, GOOD, BAD, SCALE, STOPPED, MOST_BAD, GROWTH, FLOOR, STEP }; // control
enum { LR, GAIN1, GAIN2, EPS, DECAY, EMA, UNBIAS1, UNBIAS2, RATES };   // a row of plan; then 1 - rate of each average

// draw_block draws a block of four numbers of an image.
__device__ __forceinline__ void draw_block(const double *control, unsigned block, unsigned image, unsigned key0, unsigned key1, unsigned c[4]) {
  unsigned long long step = (unsigned long long)control[STEP];
  c[0] = block, c[1] = image, c[2] = (unsigned)step, c[3] = (unsigned)(step >> 32);
  philox(key0, key1, c);
}

// Numbers of m entries for each image, a block of four a thread; blocks is how many an image has, n how many there are.
#define DRAW(name, of) \
  KERNEL name(const double *control, float *y, i64 n, i64 m, i64 blocks, unsigned first, unsigned key0, unsigned key1) { \
    EACH(b, n) { \
      i64 image = b / blocks, block = b % blocks; \
      unsigned c[4]; \
      draw_block(control, (unsigned)block, first + (unsigned)image, key0, key1, c); \
      for (int j = 0; j < 4 && 4 * block + j < m; j++) y[image * m + 4 * block + j] = of(c[j]); \
    } \
  } \
  REGISTER(name)
DRAW(draw_normals, normal)
DRAW(draw_signs, sign)

// Images of m = rows·width·channels entries out of those at place order[at,batch] of the set. Those whose word has its top
// bit are mirrored if flip is not 0.
#define GATHER(name, type, value) \
  KERNEL name(const double *control, const type *set, const float *levels, const int *order, float *y, i64 n, i64 m, int width, \
              int channels, int batch, unsigned first, unsigned key0, unsigned key1, int flip) { \
    (void)levels; \
    const int *images = order + (i64)control[AT] * batch + first; \
    EACH(i, n) { \
      i64 image = i / m, e = i % m; \
      if (flip) { \
        unsigned c[4]; \
        draw_block(control, 0, first + (unsigned)image, key0, key1, c); \
        i64 x = e / channels % width; \
        if (c[0] >> 31) e += (width - 1 - 2 * x) * channels; \
      } \
      type v = set[images[image] * m + e]; \
      y[i] = value; \
    } \
  } \
  REGISTER(name)
GATHER(gather_bytes, unsigned char, levels[v])
GATHER(gather_floats, float, v)

// draw_indices draws one of count for each of n images, by the distribution p where p[count] is not 0, else uniformly, and
// leaves 1/(count·p) in weight; p and weight may be null.
KERNEL draw_indices(const double *control, const double *p, float *ring, float *weight, i64 n, i64 stride, int count, unsigned first,
                    unsigned key0, unsigned key1) {
  float *index = ring + (i64)control[AT] * stride;
  EACH(i, n) {
    unsigned c[4];
    draw_block(control, 0, first + (unsigned)i, key0, key1, c);
    int at = (int)__umulhi(c[0], (unsigned)count);
    double w = 1;
    if (p && p[count] != 0) {
      double u = ((double)c[0] + 0.5) / 4294967296.0;
      for (at = 0; at < count - 1; at++)
        if ((u -= p[at]) < 0) break;
      w = 1 / __dmul_rn((double)count, p[at]);
    }
    index[first + i] = (float)at;
    if (weight) weight[i] = (float)w;
  }
}
REGISTER(draw_indices)

// look_up: y is the table's entry of each image's index.
KERNEL look_up(const double *control, const float *ring, const float *table, float *y, i64 n, i64 stride, unsigned first) {
  const float *index = ring + (i64)control[AT] * stride + first;
  EACH(i, n) y[i] = table[(int)index[i]];
}
REGISTER(look_up)

// counters: y [n,4] is the halves of the iteration and of the image's place in the batch, see dropout.
KERNEL counters(const double *control, float *y, i64 n, unsigned first) {
  EACH(i, n) {
    unsigned step = (unsigned)(unsigned long long)control[STEP], image = first + (unsigned)i;
    y[4 * i] = (float)(step & 0xffff), y[4 * i + 1] = (float)(step >> 16);
    y[4 * i + 2] = (float)(image & 0xffff), y[4 * i + 3] = (float)(image >> 16);
  }
}
REGISTER(counters)

// fill_scale: y is the loss's scale.
KERNEL fill_scale(const double *control, float *y, i64 n) {
  EACH(i, n) y[i] = (float)control[SCALE];
}
REGISTER(fill_scale)

// keep copies an output into the ring.
KERNEL keep(const double *control, const float *x, float *ring, i64 n, i64 stride) {
  EACH(i, n) ring[(i64)control[AT] * stride + i] = x[i];
}
REGISTER(keep)

// accumulate adds up the gradients of parts micro-batches, unscaled, and leaves the last sum where they were.
KERNEL accumulate(float *g, float *sum, const double *control, i64 n, int parts, int part) {
  float divisor = (float)parts * (float)control[SCALE];
  EACH(i, n) {
    float s = (part ? sum[i] : 0.0f) + g[i] / divisor;
    *(part == parts - 1 ? g + i : sum + i) = s;
  }
}
REGISTER(accumulate)

// judge ends an iteration. It leaves the norm of the gradient, whose parts are given, for adamw the numbers h with whether it
// is to be skipped, and control as the next iteration needs it. An iteration is good if its norm and the loss of each part,
// every each numbers of its row of the ring, are finite.
KERNEL __launch_bounds__(256) judge(const double *sums, int n, const float *ring, i64 stride, int parts, int each, const double *plan,
                                    int width, double *control, double *norms, float *h) {
  __shared__ double part[256];
  double sum = 0;
  for (int at = 0; at < n; at += 256) {
    int i = at + (int)threadIdx.x;
    part[threadIdx.x] = i < n ? sums[i] : 0.0;
    __syncthreads();
    if (threadIdx.x == 0)
      for (int j = 0; j < 256; j++) sum += part[j];
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  i64 at = (i64)control[AT];
  double norm = sqrt(sum);
  bool loss_finite = true;
  for (int i = 0; i < parts; i++) {
    float loss = ring[at * stride + (i64)i * each];
    loss_finite = loss_finite && loss - loss == 0; // an infinity or NaN less itself is NaN
  }
  bool good = control[STOPPED] == 0 && loss_finite && norm - norm == 0;
  const double *row = plan + at * width, *as = plan + (i64)control[GOOD] * width; // an update counts good iterations
  if (good) {
    h[0] = (float)(row[LR] / as[UNBIAS1]), h[1] = (float)row[GAIN1], h[2] = (float)row[GAIN2], h[3] = (float)as[UNBIAS2];
    h[4] = (float)row[EPS], h[5] = (float)row[DECAY], h[6] = (float)row[EMA];
    for (int i = RATES; i < width; i++) h[i] = (float)row[i];
    control[GOOD] += 1, control[BAD] = 0, control[SCALE] = __dmul_rn(control[SCALE], control[GROWTH]);
  } else if (loss_finite && control[SCALE] > control[FLOOR]) {
    control[SCALE] = fmax(control[FLOOR], control[SCALE] / 2);
  } else if ((control[BAD] += 1) >= control[MOST_BAD]) {
    control[STOPPED] = 1;
  }
  h[7] = good ? 0.0f : 1.0f;
  norms[at] = norm;
  control[AT] += 1, control[STEP] += 1;
}
REGISTER(judge)

// average moves a moving average of the weights by its number of h.
KERNEL average(float *ema, const float *w, const float *h, i64 n, int number) {
  if (h[7] != 0) return;
  EACH(i, n) ema[i] += h[number] * (w[i] - ema[i]);
}
REGISTER(average)

// learn follows a good iteration of importance sampling (Nichol and Dhariwal, 2021): it adds the losses of its images to
// the last history of their indices, the oldest first, and makes p, the distribution of the next, and whether it is ready.
// part is the number of images in a micro-batch, each that of its numbers in the ring, losses where those of its images begin.
KERNEL __launch_bounds__(256) learn(const double *control, const float *h, const float *ring, float *history, float *held, double *p, i64 stride,
                                    int count, int last, double uniform, int batch, int index, int part, int each, int losses) {
  if (h[7] != 0) return;
  const float *row = ring + ((i64)control[AT] - 1) * stride;
  for (int t = threadIdx.x; t < count; t += 256) {
    float *mine = history + (i64)t * last;
    int n = (int)held[t];
    for (int i = 0; i < batch; i++) {
      if (row[index + i] != (float)t) continue;
      if (n == last)
        for (int j = 1; j < last; j++) mine[j - 1] = mine[j];
      else
        n++;
      mine[n - 1] = row[i / part * each + losses + i % part];
    }
    held[t] = (float)n;
    double square = 0;
    for (int j = 0; j < last && n == last; j++) square = __dadd_rn(square, __dmul_rn((double)mine[j], (double)mine[j]));
    p[t] = n == last ? sqrt(square / last) : -1;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    double sum = 0;
    for (int t = 0; t < count && sum >= 0; t++) sum = p[t] < 0 ? -1 : sum + p[t];
    p[count] = sum > 0 && sum - sum == 0 ? sum : 0;
  }
  __syncthreads();
  for (int t = threadIdx.x; t < count && p[count] != 0; t += 256)
    p[t] = __dadd_rn(__dmul_rn(p[t] / p[count], 1 - uniform), uniform / count);
}
REGISTER(learn)
