// peak_fma makes n rounds of independent fused multiply-adds, in the widest vectors that the processor has, and returns
// how many multiplications and additions those were.
double peak_fma(long n);

// peak_triad computes a = b + 3c over n numbers.
void peak_triad(float *a, const float *b, const float *c, long n);
