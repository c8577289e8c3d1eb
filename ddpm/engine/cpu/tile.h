// tile.h: the two register-tiled inner loops under every convolution and matrix product.
//
// A panel holds MR rows of a matrix cut into blocks of CB = 16 columns: [column/16][MR][16]. A Winograd transform
// writes it with plain vector stores, both inner loops read it with constant offsets, and the output has the same
// form, so that one layout serves the forward pass and the weight gradient. The right-hand matrix is packed into
// strips of NR = NV*VL columns, [column/NR][row][NR]; the last strip may be min(NR,16) wide.
enum { CB = 16, NR = NV * VL, STRIP_MIN = NR < CB ? NR : CB, NV_MIN = STRIP_MIN / VL };

// panel_column is the offset of column k in a panel.
INLINE int64_t panel_column(int64_t k) { return k / CB * CB * MR + k % CB; }

// strip_width is the width of the strip that starts with `left` columns to go.
INLINE int64_t strip_width(int64_t left) { return left > STRIP_MIN ? NR : STRIP_MIN; }

INLINE void tile_step(const int nv, const float *a, const float *b, vec acc[MR][NV]) {
  vec bv[NV];
  UNROLL for (int j = 0; j < nv; j++) bv[j] = load(b + j * VL);
  UNROLL for (int i = 0; i < MR; i++) {
    float ai = a[i * CB];
    UNROLL for (int j = 0; j < nv; j++) acc[i][j] += ai * bv[j];
  }
}

// tile_dot: out[MR][nv*VL] = (add ? out : 0) + panel[MR][depth] * strip[depth][nv*VL].
// Element (i, j) of out is at i*row_stride + j/16*block_stride + j%16.
INLINE void tile_dot(const int nv, int64_t depth, const float *a, const float *b, float *out, const int64_t row_stride,
                     const int64_t block_stride, const int add) {
  vec acc[MR][NV];
  UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < nv; j++) acc[i][j] = (vec){0};
  for (int64_t block = depth / CB; block > 0; block--, a += MR * CB) {
    _Pragma("GCC unroll 2") for (int k = 0; k < CB; k++, b += nv * VL) tile_step(nv, a + k, b, acc);
  }
  for (int64_t k = 0; k < depth % CB; k++, b += nv * VL) tile_step(nv, a + k, b, acc);
  UNROLL for (int i = 0; i < MR; i++) UNROLL for (int j = 0; j < nv; j++) {
    float *p = out + i * row_stride + j * VL / CB * block_stride + j * VL % CB;
    store(p, add ? load(p) + acc[i][j] : acc[i][j]);
  }
}

// OUTER_ROWS is the height of tile_outer's tile; it divides CB.
enum { OUTER_ROWS = VL == 16 ? 8 : 4 };

// tile_outer: out[OUTER_ROWS][nv*VL] += sum over t < depth of a[t][0..OUTER_ROWS) (outer) b[t][0..nv*VL).
// Row t of a starts at a + t*a_stride, element j of row t of b at b + t*b_stride + j/16*b_block + j%16.
INLINE void tile_outer(const int nv, int64_t depth, const float *a, const int64_t a_stride, const float *b,
                       const int64_t b_stride, const int64_t b_block, vec acc[OUTER_ROWS][NV]) {
  for (int64_t t = 0; t < depth; t++, a += a_stride, b += b_stride) {
    vec bv[NV];
    UNROLL for (int j = 0; j < nv; j++) bv[j] = load(b + j * VL / CB * b_block + j * VL % CB);
    UNROLL for (int i = 0; i < OUTER_ROWS; i++) {
      float ai = a[i];
      UNROLL for (int j = 0; j < nv; j++) acc[i][j] += ai * bv[j];
    }
  }
}

INLINE void outer_clear(const int nv, vec acc[OUTER_ROWS][NV]) {
  UNROLL for (int i = 0; i < OUTER_ROWS; i++) UNROLL for (int j = 0; j < nv; j++) acc[i][j] = (vec){0};
}

// outer_add adds the tile to out[OUTER_ROWS][nv*VL], rows out_stride apart.
INLINE void outer_add(const int nv, vec acc[OUTER_ROWS][NV], float *out, int64_t out_stride) {
  UNROLL for (int i = 0; i < OUTER_ROWS; i++) UNROLL for (int j = 0; j < nv; j++) {
    float *p = out + i * out_stride + j * VL;
    store(p, load(p) + acc[i][j]);
  }
}

// epilogue is what is added to a convolution or product on the way out; either may be NULL, and add may be the
// output itself.
struct epilogue { const float *bias, *add; int relu; };

// The channels of a pixel outside the image.
enum { MAX_CHANNELS = 4096 };
static const float zero_pixel[MAX_CHANNELS];
