package op

import (
	"slices"

	"gorgonia.org/tensor"
)

// rule is what the engine knows about a kind.
type rule struct {
	name   string
	arity  int
	smooth int // the first so many inputs have a derivative
	// diff returns the gradients of the inputs in, given the output y and its
	// gradient g. Without it, expand is differentiated.
	diff func(o *Op, in []*Node, y, g *Node) []*Node
	// expand returns the same function of in, in simpler kinds.
	expand func(o *Op, in []*Node) *Node
}

var rules [NumKinds]rule

// Arity is the number of inputs of an operation of kind k.
func (k Kind) Arity() int { return rules[k].arity }

func init() {
	rules = [NumKinds]rule{
		// The three convolutions are bilinear, and each other's derivatives.
		KindConv: {"conv", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{convDX(o, in[1], g, o.In[0]), convDW(o, in[0], g, o.In[1])}
		}, nil},
		KindConvDX: {"convDX", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{convDW(o, g, in[1], o.In[0]), ConvPadded(g, in[0], o.Stride(), o.Padding(), o.PaddingX())}
		}, nil},
		KindConvDW: {"convDW", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{convDX(o, g, in[1], o.In[0]), ConvPadded(in[0], g, o.Stride(), o.Padding(), o.PaddingX())}
		}, nil},
		KindMatMul: {"matmul", 2, 2, diffMatMul, nil},

		KindAdd: {"add", 2, 2, func(_ *Op, _ []*Node, _, g *Node) []*Node { return []*Node{g, g} }, nil},
		KindMul: {"mul", 2, 2, func(_ *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{Mul(g, in[1]), Mul(g, in[0])}
		}, nil},
		KindScale:    {"scale", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node { return []*Node{Scale(g, o.F)} }, nil},
		KindAddConst: {"addconst", 1, 1, func(_ *Op, _ []*Node, _, g *Node) []*Node { return []*Node{g} }, nil},
		KindPow: {"pow", 1, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{Mul(g, Scale(Pow(in[0], o.F-1), o.F))}
		}, nil},
		KindLog: {"log", 1, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{logSlope(o, in[0], g)}
		}, nil},
		KindLog1: {"log1", 2, 2, func(o *Op, in []*Node, y, g *Node) []*Node {
			return []*Node{Scale(logSlope(o, in[0], Mul(y, g)), -1), logSlope(o, in[0], g)}
		}, nil},
		KindFill: {"fill", 1, 0, noDerivative, nil},
		KindCopy: {"copy", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			if o.I[stopped] != 0 {
				return []*Node{nil}
			}
			return []*Node{g}
		}, nil},

		KindReLU: {"relu", 1, 1, func(_ *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{derived(KindReLU1, in[0], g)}
		}, nil},
		KindReLU1: {"relu1", 2, 2, func(_ *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{nil, derived(KindReLU1, in[0], g)} // constant almost everywhere in x
		}, nil},
		KindSigmoid: {"sigmoid", 1, 1, func(_ *Op, _ []*Node, y, g *Node) []*Node {
			return []*Node{Mul(g, Sub(y, Mul(y, y)))}
		}, nil},
		KindSiLU: {"silu", 1, 1, func(_ *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{derived(KindSiLU1, in[0], g)}
		}, func(_ *Op, in []*Node) *Node { return Mul(in[0], Sigmoid(in[0])) }},
		KindSiLU1: {"silu1", 2, 2, func(_ *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{derived(KindSiLU2, in[0], in[1], g), derived(KindSiLU1, in[0], g)}
		}, derivativeOf(KindSiLU, 0)},
		KindSiLU2:   {"silu2", 3, 3, nil, derivativeOf(KindSiLU1, 0)},
		KindSoftmax: {"softmax", 1, 1, func(_ *Op, _ []*Node, y, g *Node) []*Node { return []*Node{derived(KindSoftmaxDX, y, g)} }, nil},
		KindSoftmaxDX: {"softmaxDX", 2, 2, nil, func(o *Op, in []*Node) *Node {
			y, g := in[0], in[1]
			return Mul(y, Sub(g, Broadcast(Sum(Mul(g, y), PerRow, 0), PerRow, o.Out, 0)))
		}},
		KindLogSoftmax: {"logsoftmax", 1, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			total := Broadcast(Sum(g, PerRow, 0), PerRow, o.Out, 0)
			return []*Node{Sub(g, Mul(Softmax(in[0]), total))}
		}, nil},

		KindGroupNorm: {"groupnorm", 1, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{o.norm(KindGroupNorm1, in[0], g)}
		}, expandGroupNorm},
		KindGroupNorm1: {"groupnorm1", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{o.norm(KindGroupNorm2, in[0], in[1], g), o.norm(KindGroupNorm1, in[0], g)}
		}, derivativeOf(KindGroupNorm, 0)},
		KindGroupNorm2: {"groupnorm2", 3, 3, nil, derivativeOf(KindGroupNorm1, 0)},
		KindGNAct: {"gnact", 3, 3, func(o *Op, in []*Node, _, g *Node) []*Node {
			return o.gnAct(KindGNActDX, in, g)
		}, func(o *Op, in []*Node) *Node { _, u := o.affine(in); return SiLU(u) }},
		KindGNActDX: {"gnactDX", 4, 4, func(o *Op, in []*Node, _, h *Node) []*Node {
			return o.gnAct(KindGNActDXDX, in, h)
		}, func(o *Op, in []*Node) *Node {
			_, u := o.affine(in)
			gu := derived(KindSiLU1, u, in[3])
			return o.norm(KindGroupNorm1, in[0], Mul(gu, Broadcast(in[1], PerSampleChannel, o.In[0], 0)))
		}},
		KindGNActDA: {"gnactDA", 4, 4, nil, func(o *Op, in []*Node) *Node {
			xhat, u := o.affine(in)
			return Sum(Mul(derived(KindSiLU1, u, in[3]), xhat), PerSampleChannel, 0)
		}},
		KindGNActDB: {"gnactDB", 4, 4, nil, func(o *Op, in []*Node) *Node {
			_, u := o.affine(in)
			return Sum(derived(KindSiLU1, u, in[3]), PerSampleChannel, 0)
		}},
		KindGNActDXDX: {"gnactDXDX", 5, 5, nil, derivativeOf(KindGNActDX, 0)},
		KindGNActDXDA: {"gnactDXDA", 5, 5, nil, derivativeOf(KindGNActDX, 1)},
		KindGNActDXDB: {"gnactDXDB", 5, 5, nil, derivativeOf(KindGNActDX, 2)},
		KindGNActDXDG: {"gnactDXDG", 5, 5, nil, derivativeOf(KindGNActDX, 3)},

		KindAttention: {"attention", 1, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{o.attention(KindAttentionDX, in[0], g)}
		}, expandAttention},
		KindAttentionDX: {"attentionDX", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{o.attention(KindAttentionDX2, in[0], in[1], g), o.attention(KindAttentionJVP, in[0], g)}
		}, derivativeOf(KindAttention, 0)},
		KindAttentionJVP: {"attentionJVP", 2, 2, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{o.attention(KindAttentionDX2, in[0], g, in[1]), o.attention(KindAttentionDX, in[0], g)}
		}, expandAttentionJVP},
		KindAttentionDX2: {"attentionDX2", 3, 3, nil, derivativeOf(KindAttentionDX, 0)},

		KindBroadcast: {"broadcast", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{Sum(g, o.Axes(), o.Groups())}
		}, nil},
		KindSum: {"sum", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{Broadcast(g, o.Axes(), o.In[0], o.Groups())}
		}, nil},
		KindReshape: {"reshape", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{Reshape(g, o.In[0]...)}
		}, nil},
		KindConcat: {"concat", 2, 2, func(o *Op, _ []*Node, _, g *Node) []*Node {
			a, b := channels(o.In[0]), channels(o.In[1])
			return []*Node{Slice(g, 0, a), Slice(g, a, b)}
		}, nil},
		KindSlice: {"slice", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{Pad(g, o.Offset(), channels(o.In[0]))}
		}, nil},
		KindPad: {"pad", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{Slice(g, o.Offset(), channels(o.In[0]))}
		}, nil},
		KindPoolSum:  {"poolsum", 1, 1, func(_ *Op, _ []*Node, _, g *Node) []*Node { return []*Node{Upsample(g)} }, nil},
		KindUpsample: {"upsample", 1, 1, func(_ *Op, _ []*Node, _, g *Node) []*Node { return []*Node{PoolSum(g)} }, nil},
		// Of networks that score images; nobody trains through them.
		KindMaxPool:  {"maxpool", 1, 1, nil, nil},
		KindMeanPool: {"meanpool", 1, 1, nil, nil},
		KindResize:   {"resize", 1, 1, nil, nil},
		KindSplitHeads: {"splitheads", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{MergeHeads(g, o.Heads())}
		}, nil},
		KindMergeHeads: {"mergeheads", 1, 1, func(o *Op, _ []*Node, _, g *Node) []*Node {
			return []*Node{SplitHeads(g, o.Heads())}
		}, nil},

		KindTimeEmbedding: {"timeembedding", 1, 0, noDerivative, nil},
		KindDropout: {"dropout", 2, 1, func(o *Op, in []*Node, _, g *Node) []*Node {
			return []*Node{Dropout(g, in[1], o.F, o.Key)}
		}, nil},
	}
}

func noDerivative(*Op, []*Node, *Node, *Node) []*Node { return nil }

func channels(s tensor.Shape) int { return s[s.Dims()-1] }

// logSlope is the derivative of the Log o at x, times g.
func logSlope(o *Op, x, g *Node) *Node {
	return apply(Op{Kind: KindLog1, Out: x.Shape().Clone(), F: o.F}, x, g)
}

func convDX(o *Op, w, gy *Node, x tensor.Shape) *Node {
	return apply(Op{Kind: KindConvDX, Out: x.Clone(), I: o.I}, w, gy)
}

func convDW(o *Op, x, gy *Node, w tensor.Shape) *Node {
	return apply(Op{Kind: KindConvDW, Out: w.Clone(), I: o.I}, x, gy)
}

// diffMatMul: for y = a·b, ga = g·bᵀ and gb = aᵀ·g, read through whatever
// transposition a and b already have.
func diffMatMul(o *Op, in []*Node, _, g *Node) []*Node {
	a, b, ta, tb := in[0], in[1], o.TransA(), o.TransB()
	ga := func() *Node {
		if ta {
			return MatMul(b, g, tb, true)
		}
		return MatMul(g, b, false, !tb)
	}
	gb := func() *Node {
		if tb {
			return MatMul(g, a, true, ta)
		}
		return MatMul(a, g, !ta, false)
	}
	return []*Node{ga(), gb()}
}

// derived is an elementwise derivative kind, in the shape of its first input.
func derived(k Kind, in ...*Node) *Node {
	return apply(Op{Kind: k, Out: in[0].Shape().Clone()}, in...)
}

// derivativeOf expands a derivative kind: its inputs are those of base and, last,
// the gradient of base's output; it is the gradient for base's input arg.
func derivativeOf(base Kind, arg int) func(*Op, []*Node) *Node {
	return func(o *Op, in []*Node) *Node {
		args, g := in[:len(in)-1], in[len(in)-1]
		b := *o
		b.Kind, b.In, b.Out = base, o.In[:len(args)], g.Shape()
		// The walk must end at every argument: in a network one may depend on another.
		grads, err := VJP(rules[base].expand(&b, args), g, args)
		if err != nil {
			panic(err) // the rules above are incomplete
		}
		return grads[arg]
	}
}

// norm is a derivative of the group norm o, with o's groups and epsilon.
func (o *Op) norm(k Kind, in ...*Node) *Node {
	return apply(Op{Kind: k, Out: in[0].Shape().Clone(), I: o.I, F: o.F}, in...)
}

func expandGroupNorm(o *Op, in []*Node) *Node {
	x, s := in[0], o.In[0]
	n := float64(Size(s) / s[0] / o.Groups()) // entries of a group
	mean := func(v *Node) *Node { return Scale(Sum(v, PerGroup, o.Groups()), 1/n) }
	spread := func(v *Node) *Node { return Broadcast(v, PerGroup, s, o.Groups()) }
	d := Sub(x, spread(mean(x)))
	return Mul(d, spread(Pow(AddConst(mean(Mul(d, d)), o.F), -0.5)))
}

// gnAct returns the gradients for all inputs of o, a GNAct or its derivative: the
// kinds from first on, in the order of the inputs.
func (o *Op) gnAct(first Kind, in []*Node, g *Node) []*Node {
	grads := make([]*Node, len(in))
	for i := range in {
		grads[i] = apply(Op{Kind: first + Kind(i), Out: o.In[i].Clone(), I: o.I, F: o.F}, append(slices.Clone(in), g)...)
	}
	return grads
}

// affine returns the normalised x and u = xhat·A + B of a GNAct or one of its derivatives.
func (o *Op) affine(in []*Node) (xhat, u *Node) {
	s := o.In[0]
	xhat = apply(Op{Kind: KindGroupNorm, Out: s.Clone(), I: o.I, F: o.F}, in[0])
	u = Add(Mul(xhat, Broadcast(in[1], PerSampleChannel, s, 0)), Broadcast(in[2], PerSampleChannel, s, 0))
	return xhat, u
}
