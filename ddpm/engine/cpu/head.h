// head.h: one head of one image, of attention.

struct head {
  int64_t tokens, width;  // width: d
  int64_t c, at, at3;     // channels; where the head starts in a tensor of rows of C, and of 3C
  int64_t padded, wide;   // tokens and width in whole blocks
  float scale;
};

INLINE struct head head_of(const struct cpu_step *s, int64_t index) {
  const int64_t tokens = s->d[0], c = s->d[1], heads = s->d[2], width = c / heads;
  const int64_t row = index / heads * tokens, first = index % heads * width;
  return (struct head){tokens, width, c, row * c + first, row * 3 * c + first, round_up(tokens, CB), round_up(width, CB), s->f[0]};
}

INLINE float *take(float **scratch, int64_t n) {
  float *p = *scratch;
  *scratch += n;
  return p;
}
