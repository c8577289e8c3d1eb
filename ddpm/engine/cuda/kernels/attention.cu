// attention.cu: softmax(Q·Kᵀ/√d)·V for each image and head, and its derivatives, without matrices of tokens by tokens in
// memory (Dao, 2023: FlashAttention-2). A warp of a block has 16 rows of the result; what these rows are paired with, of
// all tokens, comes in tiles of 32 rows through shared memory. Nothing is added up by several blocks, so that all sums have
// one order: the gradients for Q, and those for K and V, are kernels of their own, which compute the weights anew.
//
// Heads of more than W channels are taken W at a time: the scores add up over all, and a block, blockIdx.y, has W of the
// result's channels.
#include "tensor.h"

enum { TILE = 32 };

// A lane has entries of 16 rows by blocks of 8 columns as multiply gives them to it: entry e of block j is in row
// lane/4 + e/2·8 and column 8·j + lane_column(e).
__device__ __forceinline__ int lane_row(int e) { return threadIdx.x / 32 * 16 + (threadIdx.x & 31) / 4 + e / 2 * 8; }
__device__ __forceinline__ int lane_column(int e) { return threadIdx.x % 4 * 2 + e % 2; }

// float_heads and tensor_heads multiply in float32 and by tensor cores. Tiles have W channels a row, PITCH apart.
//   pairs(s, a, b)  adds to s the products of the warp's 16 rows of a with the rows of b
//   mix(y, s, x)    adds to y the products of s with the rows of x
//   nearest(v)      is what store makes of v
template <int WIDTH> struct float_heads {
  typedef float number;
  enum { W = WIDTH, PITCH = W + 4, WARPS = 2 };

  static __device__ __forceinline__ float nearest(float v) { return v; }

  static __device__ __forceinline__ void store(float *to, const float (&v)[4]) {
    UNROLL
    for (int i = 0; i < 4; i++) to[i] = v[i];
  }

  static __device__ __forceinline__ void pairs(float (&s)[TILE / 8][4], const float *a, const float *b) {
    a += lane_row(0) * PITCH, b += lane_column(0) * PITCH;
    for (int k = 0; k < W; k += 4) {
      float x[2][4], y[4];
      load_four(x[0], a + k);
      load_four(x[1], a + 8 * PITCH + k);
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 2; e++) {
          load_four(y, b + (8 * j + e) * PITCH + k);
          UNROLL
          for (int i = 0; i < 4; i++) {
            s[j][e] += x[0][i] * y[i];
            s[j][2 + e] += x[1][i] * y[i];
          }
        }
    }
  }

  // The four lanes of a row have its entries in turns.
  static __device__ __forceinline__ void mix(float (&y)[W / 8][4], const float (&s)[TILE / 8][4], const float *x) {
    UNROLL
    for (int turn = 0; turn < 4; turn++)
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 2; e++) {
          float upper = __shfl_xor_sync(WARP_ALL, s[j][e], turn), lower = __shfl_xor_sync(WARP_ALL, s[j][2 + e], turn);
          const float *row = x + (8 * j + ((threadIdx.x ^ turn) & 3) * 2 + e) * PITCH + lane_column(0);
          UNROLL
          for (int o = 0; o < W / 8; o++)
            UNROLL
            for (int i = 0; i < 2; i++) {
              y[o][i] += upper * row[8 * o + i];
              y[o][2 + i] += lower * row[8 * o + i];
            }
        }
  }
};

template <int WIDTH> struct tensor_heads {
  typedef bf16 number;
  enum { W = WIDTH, PITCH = W + 8, WARPS = 4 };

  static __device__ __forceinline__ float nearest(float v) { return bf16_nearest(v); }

  static __device__ __forceinline__ void store(bf16 *to, const float (&v)[4]) { store_four(to, v); }

  static __device__ __forceinline__ void pairs(float (&s)[TILE / 8][4], const bf16 *a, const bf16 *b) {
    a += threadIdx.x / 32 * 16 * PITCH;
    UNROLL
    for (int k = 0; k < W; k += 16) {
      unsigned p[1][4], q[TILE / 16][4];
      load_fragment<true>(p[0], a + k, PITCH);
      UNROLL
      for (int j = 0; j < TILE / 16; j++) load_fragment<true>(q[j], b + 16 * j * PITCH + k, PITCH);
      multiply((float(&)[1][TILE / 8][4])s, p, q);
    }
  }

  // What a lane has of sums is what it needs of a fragment, once rounded.
  static __device__ __forceinline__ void mix(float (&y)[W / 8][4], const float (&s)[TILE / 8][4], const bf16 *x) {
    UNROLL
    for (int k = 0; k < TILE; k += 16) {
      unsigned p[1][4], q[W / 16][4];
      UNROLL
      for (int i = 0; i < 4; i++) p[0][i] = bf16_pair(s[k / 8 + i / 2][i % 2 * 2], s[k / 8 + i / 2][i % 2 * 2 + 1]);
      UNROLL
      for (int o = 0; o < W / 16; o++) load_fragment<false>(q[o], x + k * PITCH + 16 * o, PITCH);
      multiply((float(&)[1][W / 8][4])y, p, q);
    }
  }
};

// rows are those of a head in a tensor: where the first begins, and how far apart they are.
template <class Tensor> struct rows {
  Tensor x;
  i64 first;
  int apart;
  __device__ __forceinline__ i64 index(int row, int channel) const { return first + (i64)row * apart + channel; }
};

// tiles are those in shared memory: of rows of the block's own, and of others.
template <class H, int OWN, int OTHER> struct tiles {
  alignas(16) typename H::number own[OWN][16 * H::WARPS * H::PITCH], other[OTHER][TILE * H::PITCH];
};

// attending is what a block works on.
struct attending {
  int tokens, width, all; // width and all: channels of a head, and of all heads
  int head, image;        // head: among those of all images
  int channel;            // of all heads' the first of this one
  int first, chunk;       // the block's first row, and which W of the result's channels it has

  __device__ attending(int tokens, int heads, int width) : tokens(tokens), width(width), all(heads * width), chunk(blockIdx.y) {
    int tall = blockDim.x / 2, tiles = (tokens + tall - 1) / tall;
    head = blockIdx.x / tiles, image = head / heads;
    channel = head % heads * width, first = blockIdx.x % tiles * tall;
  }

  // part is Q, K or V (0, 1, 2) of x, which has them side by side, each with its heads side by side; merged is a head of
  // x that has nothing but heads side by side.
  template <class T> __device__ rows<T> part(T x, int i) const { return {x, (i64)image * tokens * 3 * all + i * all + channel, 3 * all}; }
  template <class T> __device__ rows<T> merged(T x) const { return {x, (i64)image * tokens * all + channel, all}; }
  // each is this head's part of x, which has a number for each row.
  template <class T> __device__ T *each(T *x) const { return x + (i64)head * tokens; }

  __device__ int row(int e) const { return first + lane_row(e); }

  // fill copies n rows from `from` on to shared memory, W channels from c on, and zeros where there are none.
  template <class H> __device__ __forceinline__ void fill(typename H::number *to, const rows<source> &of, int from, int n, int c) const {
    bool fours = (of.first | of.apart | width) % 4 == 0;
    for (int i = threadIdx.x; i < n * (H::W / 4); i += blockDim.x) {
      int r = i / (H::W / 4), k = i % (H::W / 4) * 4;
      float v[4] = {};
      if (from + r < tokens && c + k < width) {
        i64 at = of.index(from + r, c + k);
        if (fours)
          of.x.four(at, v);
        else
          for (int q = 0; q < 4; q++)
            if (c + k + q < width) v[q] = of.x[at + q];
      }
      H::store(to + r * H::PITCH + k, v);
    }
  }

  // stream visits all tokens by tiles: pairs(s) makes N matrices of scores s of the tiles of the block's own rows and of
  // others; then(s, t) has those of tokens from t on, and the others' tiles have the result's channels.
  template <int N, class H, int OWN, int OTHER, int A, int B, class Pairs, class Then>
  __device__ __forceinline__ void stream(tiles<H, OWN, OTHER> &at, const rows<source> (&own)[A], const rows<source> (&other)[B],
                                         Pairs pairs, Then then) const {
    int chunks = (width + H::W - 1) / H::W;
    for (int t = 0; t < tokens; t += TILE) {
      float s[N][TILE / 8][4] = {};
      for (int i = 1; i <= chunks; i++) {
        int c = (chunk + i) % chunks * H::W; // the result's last
        __syncthreads();
        if (t == 0 || chunks > 1)
          for (int x = 0; x < A; x++) fill<H>(at.own[x], own[x], first, blockDim.x / 2, c);
        for (int x = 0; x < B; x++) fill<H>(at.other[x], other[x], t, TILE, c);
        __syncthreads();
        pairs(s);
      }
      then(s, t);
    }
  }

  // write is a lane's part of the result, times a factor for each of its two rows.
  template <class H> __device__ __forceinline__ void write(const rows<target> &to, const float (&y)[H::W / 8][4], float upper, float lower) const {
    UNROLL
    for (int o = 0; o < H::W / 8; o++)
      UNROLL
      for (int e = 0; e < 4; e += 2) {
        int c = chunk * H::W + 8 * o + lane_column(e);
        float factor = e < 2 ? upper : lower;
        if (row(e) >= tokens || c >= width) continue;
        if (width % 2 == 0) {
          to.x.set_two(to.index(row(e), c), y[o][e] * factor, y[o][e + 1] * factor);
        } else {
          to.x.set(to.index(row(e), c), y[o][e] * factor);
          if (c + 1 < width) to.x.set(to.index(row(e), c + 1), y[o][e + 1] * factor);
        }
      }
  }
};

// row_sum is the same in the four lanes of a row.
__device__ __forceinline__ float row_sum(float v) {
  v += __shfl_xor_sync(WARP_ALL, v, 1);
  return v + __shfl_xor_sync(WARP_ALL, v, 2);
}

__device__ __forceinline__ float row_most(float v) {
  v = fmaxf(v, __shfl_xor_sync(WARP_ALL, v, 1));
  return fmaxf(v, __shfl_xor_sync(WARP_ALL, v, 2));
}

// row_product is the product of a row of x with one of y, the same in the four lanes of a row. That of x is rounded as where
// it makes scores, lest their errors have a mean.
template <class H> __device__ __forceinline__ float row_product(const attending &h, const rows<source> &x, const rows<source> &y, int row) {
  float sum = 0;
  for (int c = threadIdx.x % 4; row < h.tokens && c < h.width; c += 4) sum += H::nearest(x.x[x.index(row, c)]) * y.x[y.index(row, c)];
  return row_sum(sum);
}

#define SHARED_TILES(OWN, OTHER) __shared__ tiles<H, OWN, OTHER> at
#define LOG2_E 1.44269504f

// binary is a score to base 2: rounded, so that all kernels have the same.
__device__ __forceinline__ float binary(float score, float scale) { return __fmul_rn(score, scale * LOG2_E); }

// attention: out [N,P,C] of qkv [N,P,3C]. level is for each row the logarithm, to base 2, of the sum of its weights before
// they were divided by it: exp2(score·log2(e) - level) is a weight.
template <class H> __device__ __forceinline__ void attention_of(source qkv, target out, float *level, int tokens, int heads, int width, float scale) {
  attending h(tokens, heads, width);
  float y[H::W / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  SHARED_TILES(1, 2);
  h.stream<1>(at, {h.part(qkv, 0)}, {h.part(qkv, 1), h.part(qkv, 2)}, [&](auto &s) { H::pairs(s[0], at.own[0], at.other[0]); },
    [&](auto &s, int t) {
      float most[2] = {top[0], top[1]};
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) {
          s[0][j][e] = t + 8 * j + lane_column(e) < tokens ? binary(s[0][j][e], scale) : -INFINITY;
          most[e / 2] = fmaxf(most[e / 2], s[0][j][e]);
        }
      UNROLL
      for (int i = 0; i < 2; i++) {
        most[i] = row_most(most[i]);
        float factor = exp2f(top[i] - most[i]);
        sum[i] *= factor, top[i] = most[i];
        UNROLL
        for (int o = 0; o < H::W / 8; o++) y[o][2 * i] *= factor, y[o][2 * i + 1] *= factor;
      }
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) sum[e / 2] += s[0][j][e] = exp2f(s[0][j][e] - top[e / 2]);
      H::mix(y, s[0], at.other[1]);
    });
  sum[0] = row_sum(sum[0]), sum[1] = row_sum(sum[1]);
  h.write<H>(h.merged(out), y, 1 / sum[0], 1 / sum[1]);
  if (h.chunk == 0 && threadIdx.x % 4 == 0)
    for (int i = 0; i < 2; i++)
      if (h.row(2 * i) < tokens) h.each(level)[h.row(2 * i)] = top[i] + log2f(sum[i]);
}

// level_of is a row's, of level.
__device__ __forceinline__ float level_of(const attending &h, const float *level, int row) { return row < h.tokens ? h.each(level)[row] : 0; }

// weight is that of a token's score, 0 beyond the last token.
__device__ __forceinline__ float weight(float score, float scale, float level, bool token) {
  return token ? exp2f(binary(score, scale) - level) : 0;
}

// attention_dq: the gradient for Q, of dx [N,P,3C], given g for out. With weights W, B = G·Vᵀ and the rows' products of g
// with out, which are the sums of W·B: dS = W·(B - sums), dQ = dS·K. The sums are kept for attention_dkv.
template <class H>
__device__ __forceinline__ void attention_dq_of(source qkv, source g, source out, const float *level, float *sums, target dx,
                                                int tokens, int heads, int width, float scale) {
  attending h(tokens, heads, width);
  float dq[H::W / 8][4] = {}, of_row[2], sum[2];
  for (int i = 0; i < 2; i++) {
    int r = h.row(2 * i);
    of_row[i] = level_of(h, level, r);
    sum[i] = row_product<H>(h, h.merged(g), h.merged(out), r);
    if (r < tokens && h.chunk == 0 && threadIdx.x % 4 == 0) h.each(sums)[r] = sum[i];
  }
  SHARED_TILES(2, 2);
  h.stream<2>(at, {h.part(qkv, 0), h.merged(g)}, {h.part(qkv, 1), h.part(qkv, 2)},
    [&](auto &s) {
      H::pairs(s[0], at.own[0], at.other[0]);
      H::pairs(s[1], at.own[1], at.other[1]);
    },
    [&](auto &s, int t) {
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++)
          s[1][j][e] = (s[1][j][e] - sum[e / 2]) * weight(s[0][j][e], scale, of_row[e / 2], t + 8 * j + lane_column(e) < tokens);
      H::mix(dq, s[1], at.other[0]);
    });
  h.write<H>(h.part(dx, 0), dq, scale, scale);
}

// attention_dkv: those for K and V: dK = dSᵀ·Q, dV = Wᵀ·G.
template <class H>
__device__ __forceinline__ void attention_dkv_of(source qkv, source g, const float *level, const float *sums, target dx, int tokens,
                                                 int heads, int width, float scale) {
  attending h(tokens, heads, width);
  float dk[H::W / 8][4] = {}, dv[H::W / 8][4] = {};
  SHARED_TILES(2, 2);
  h.stream<2>(at, {h.part(qkv, 1), h.part(qkv, 2)}, {h.part(qkv, 0), h.merged(g)},
    [&](auto &s) {
      H::pairs(s[0], at.own[0], at.other[0]);
      H::pairs(s[1], at.own[1], at.other[1]);
    },
    [&](auto &s, int t) {
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) {
          int token = t + 8 * j + lane_column(e);
          bool is = token < tokens;
          s[0][j][e] = weight(s[0][j][e], scale, is ? h.each(level)[token] : 0, is);
          s[1][j][e] = s[0][j][e] * (s[1][j][e] - (is ? h.each(sums)[token] : 0));
        }
      H::mix(dv, s[0], at.other[1]);
      H::mix(dk, s[1], at.other[0]);
    });
  h.write<H>(h.part(dx, 1), dk, scale, scale);
  h.write<H>(h.part(dx, 2), dv, 1, 1);
}

// attention_jvp: along, the derivative of out along dir [N,P,3C]. With A that of the scores, it is J·V + W·V', of which
// J = W·(A - sum(W·A)) is that of the weights, and V' is dir's.
template <class H>
__device__ __forceinline__ void attention_jvp_of(source qkv, source dir, const float *level, target along, int tokens, int heads,
                                                 int width, float scale) {
  attending h(tokens, heads, width);
  float y[H::W / 8][4] = {}, of_row[2] = {level_of(h, level, h.row(0)), level_of(h, level, h.row(2))}, sum[2] = {};
  SHARED_TILES(2, 4);
  auto pairs = [&](auto &s) {
    H::pairs(s[0], at.own[0], at.other[0]);
    H::pairs(s[1], at.own[1], at.other[0]);
    H::pairs(s[1], at.own[0], at.other[1]);
  };
  auto weights = [&](auto &s, int t) {
    UNROLL
    for (int j = 0; j < TILE / 8; j++)
      UNROLL
      for (int e = 0; e < 4; e++) {
        s[0][j][e] = weight(s[0][j][e], scale, of_row[e / 2], t + 8 * j + lane_column(e) < tokens);
        s[1][j][e] = s[0][j][e] * (s[1][j][e] * scale - sum[e / 2]);
      }
  };
  float all[2] = {};
  h.stream<2>(at, {h.part(qkv, 0), h.part(dir, 0)}, {h.part(qkv, 1), h.part(dir, 1)}, pairs, [&](auto &s, int t) {
    weights(s, t);
    UNROLL
    for (int j = 0; j < TILE / 8; j++)
      UNROLL
      for (int e = 0; e < 4; e++) all[e / 2] += s[1][j][e];
  });
  sum[0] = row_sum(all[0]), sum[1] = row_sum(all[1]);
  h.stream<2>(at, {h.part(qkv, 0), h.part(dir, 0)}, {h.part(qkv, 1), h.part(dir, 1), h.part(qkv, 2), h.part(dir, 2)}, pairs,
    [&](auto &s, int t) {
      weights(s, t);
      H::mix(y, s[1], at.other[2]);
      H::mix(y, s[0], at.other[3]);
    });
  h.write<H>(h.merged(along), y, 1, 1);
}

// second is what the second derivative knows of a row: its level, and the means by its weights W of A, of B and of F, where
// A is the derivative of the scores along dir, B = G·Vᵀ and F = A·B + G·V'ᵀ. With what A, B and F have beyond their means,
// the gradients for the scores, for A and for B are dS = W·(F - mean(B)·A - mean(A)·B), dA = W·B and dB = W·A.
struct second {
  float level, a, b, f;

  // replace turns a score, A, B and G·V'ᵀ into dA, dB, B and dS.
  __device__ __forceinline__ void replace(float &s, float &av, float bv, float &fv, float scale, bool token) const {
    float w = weight(s, scale, level, token);
    av *= scale;
    fv = w * (av * bv + fv - f - b * (av - a) - a * (bv - b));
    av = w * (av - a);
    s = w * (bv - b);
  }
};

// attention_dx2_q: the gradient for Q of <dir, dx(qkv, g)>: dQ = dS·K + dA·K'. What it knows of the rows is kept in seconds,
// four numbers each.
template <class H>
__device__ __forceinline__ void attention_dx2_q_of(source qkv, source g, source dir, const float *level, float *seconds,
                                                   target dx, int tokens, int heads, int width, float scale) {
  attending h(tokens, heads, width);
  float dq[H::W / 8][4] = {};
  second of_row[2] = {};
  SHARED_TILES(3, 4);
  auto stream = [&](auto then) {
    h.stream<4>(at, {h.part(qkv, 0), h.part(dir, 0), h.merged(g)}, {h.part(qkv, 1), h.part(dir, 1), h.part(qkv, 2), h.part(dir, 2)},
      [&](auto &s) {
        H::pairs(s[0], at.own[0], at.other[0]);
        H::pairs(s[1], at.own[1], at.other[0]);
        H::pairs(s[1], at.own[0], at.other[1]);
        H::pairs(s[2], at.own[2], at.other[2]);
        H::pairs(s[3], at.own[2], at.other[3]);
      }, then);
  };
  float a[2] = {}, b[2] = {}, f[2] = {};
  for (int i = 0; i < 2; i++) of_row[i].level = level_of(h, level, h.row(2 * i));
  stream([&](auto &s, int t) {
    UNROLL
    for (int j = 0; j < TILE / 8; j++)
      UNROLL
      for (int e = 0; e < 4; e++) {
        float w = weight(s[0][j][e], scale, of_row[e / 2].level, t + 8 * j + lane_column(e) < tokens), av = s[1][j][e] * scale;
        a[e / 2] += w * av;
        b[e / 2] += w * s[2][j][e];
        f[e / 2] += w * (av * s[2][j][e] + s[3][j][e]);
      }
  });
  for (int i = 0; i < 2; i++) {
    second &of = of_row[i];
    of.a = row_sum(a[i]), of.b = row_sum(b[i]), of.f = row_sum(f[i]);
    if (h.row(2 * i) < tokens && h.chunk == 0 && threadIdx.x % 4 == 0) ((second *)seconds)[(i64)h.head * tokens + h.row(2 * i)] = of;
  }
  stream([&](auto &s, int t) {
    UNROLL
    for (int j = 0; j < TILE / 8; j++)
      UNROLL
      for (int e = 0; e < 4; e++)
        of_row[e / 2].replace(s[0][j][e], s[1][j][e], s[2][j][e], s[3][j][e], scale, t + 8 * j + lane_column(e) < tokens);
    H::mix(dq, s[3], at.other[0]);
    H::mix(dq, s[0], at.other[1]);
  });
  h.write<H>(h.part(dx, 0), dq, scale, scale);
}

// attention_dx2_kv: those for K and V: dK = dSᵀ·Q + dAᵀ·Q', dV = dBᵀ·G.
template <class H>
__device__ __forceinline__ void attention_dx2_kv_of(source qkv, source g, source dir, const float *seconds, target dx, int tokens,
                                                    int heads, int width, float scale) {
  attending h(tokens, heads, width);
  float dk[H::W / 8][4] = {}, dv[H::W / 8][4] = {};
  const second *of_row = (const second *)seconds + (i64)h.head * tokens;
  SHARED_TILES(4, 3);
  h.stream<4>(at, {h.part(qkv, 1), h.part(dir, 1), h.part(qkv, 2), h.part(dir, 2)}, {h.part(qkv, 0), h.part(dir, 0), h.merged(g)},
    [&](auto &s) {
      H::pairs(s[0], at.own[0], at.other[0]);
      H::pairs(s[1], at.own[0], at.other[1]);
      H::pairs(s[1], at.own[1], at.other[0]);
      H::pairs(s[2], at.own[2], at.other[2]);
      H::pairs(s[3], at.own[3], at.other[2]);
    },
    [&](auto &s, int t) {
      UNROLL
      for (int j = 0; j < TILE / 8; j++)
        UNROLL
        for (int e = 0; e < 4; e++) {
          int token = t + 8 * j + lane_column(e);
          second of = token < tokens ? of_row[token] : second{};
          of.replace(s[0][j][e], s[1][j][e], s[2][j][e], s[3][j][e], scale, token < tokens);
        }
      H::mix(dk, s[3], at.other[0]);
      H::mix(dk, s[0], at.other[1]);
      H::mix(dv, s[1], at.other[2]);
    });
  h.write<H>(h.part(dx, 1), dk, scale, scale);
  h.write<H>(h.part(dx, 2), dv, 1, 1);
}

// Bit i of narrow tells whether pointer i is of bfloat16 numbers. Asked for two blocks a multiprocessor, the compiler keeps
// all in registers.
#define KERNEL_OF(H, name) KERNEL __launch_bounds__(32 * H::WARPS, 2) name
#define HEADS int tokens, int heads, int width, float scale, unsigned narrow
#define OPERAND(x, i) source(x, narrow, i)
#define RESULT(x, i) target(x, narrow, i)

#define ATTENTION(name, H) \
  KERNEL_OF(H, name)(const void *qkv, void *out, float *level, HEADS) { \
    attention_of<H>(OPERAND(qkv, 0), RESULT(out, 1), level, tokens, heads, width, scale); \
  } \
  REGISTER(name)

#define ATTENTION_DQ(name, H) \
  KERNEL_OF(H, name)(const void *qkv, const void *g, const void *out, const float *level, float *sums, void *dx, HEADS) { \
    attention_dq_of<H>(OPERAND(qkv, 0), OPERAND(g, 1), OPERAND(out, 2), level, sums, RESULT(dx, 5), tokens, heads, width, scale); \
  } \
  REGISTER(name)

#define ATTENTION_DKV(name, H) \
  KERNEL_OF(H, name)(const void *qkv, const void *g, const float *level, const float *sums, void *dx, HEADS) { \
    attention_dkv_of<H>(OPERAND(qkv, 0), OPERAND(g, 1), level, sums, RESULT(dx, 4), tokens, heads, width, scale); \
  } \
  REGISTER(name)

#define ATTENTION_JVP(name, H) \
  KERNEL_OF(H, name)(const void *qkv, const void *dir, const float *level, void *along, HEADS) { \
    attention_jvp_of<H>(OPERAND(qkv, 0), OPERAND(dir, 1), level, RESULT(along, 3), tokens, heads, width, scale); \
  } \
  REGISTER(name)

#define ATTENTION_DX2_Q(name, H) \
  KERNEL_OF(H, name)(const void *qkv, const void *g, const void *dir, const float *level, float *seconds, void *dx, HEADS) { \
    attention_dx2_q_of<H>(OPERAND(qkv, 0), OPERAND(g, 1), OPERAND(dir, 2), level, seconds, RESULT(dx, 5), tokens, heads, width, scale); \
  } \
  REGISTER(name)

#define ATTENTION_DX2_KV(name, H) \
  KERNEL_OF(H, name)(const void *qkv, const void *g, const void *dir, const float *seconds, void *dx, HEADS) { \
    attention_dx2_kv_of<H>(OPERAND(qkv, 0), OPERAND(g, 1), OPERAND(dir, 2), seconds, RESULT(dx, 4), tokens, heads, width, scale); \
  } \
  REGISTER(name)

ATTENTION(attention_32, float_heads<32>)
ATTENTION(attention_64, float_heads<64>)
ATTENTION(attention_bf16_32, tensor_heads<32>)
ATTENTION(attention_bf16_64, tensor_heads<64>)
ATTENTION_DQ(attention_dq_32, float_heads<32>)
ATTENTION_DQ(attention_dq_64, float_heads<64>)
ATTENTION_DQ(attention_dq_bf16_32, tensor_heads<32>)
ATTENTION_DQ(attention_dq_bf16_64, tensor_heads<64>)
ATTENTION_DKV(attention_dkv_32, float_heads<32>)
ATTENTION_DKV(attention_dkv_64, float_heads<64>)
ATTENTION_DKV(attention_dkv_bf16_32, tensor_heads<32>)
ATTENTION_DKV(attention_dkv_bf16_64, tensor_heads<64>)
ATTENTION_JVP(attention_jvp_32, float_heads<32>)
ATTENTION_JVP(attention_jvp_bf16_32, tensor_heads<32>)
ATTENTION_DX2_Q(attention_dx2_q_32, float_heads<32>)
ATTENTION_DX2_Q(attention_dx2_q_bf16_32, tensor_heads<32>)
ATTENTION_DX2_KV(attention_dx2_kv_32, float_heads<32>)
ATTENTION_DX2_KV(attention_dx2_kv_bf16_32, tensor_heads<32>)
