// all.cu: everything, as one image.
#include "conv.cu"
#include "elementwise.cu"
#include "matmul.cu"
#include "move.cu"
#include "norm.cu"
#include "optimizer.cu"
#include "random.cu"
#include "rows.cu"
