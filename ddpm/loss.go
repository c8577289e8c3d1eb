package ddpm

import (
	"fmt"

	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
)

// lossInputs are the values of one training batch of N images, as inputs of the
// expression.
type lossInputs struct {
	x0, eps, xi *op.Node      // x_0, ε, ξ: [N,H,W,C]; ξ is nil unless γ > 0
	gamma       *op.Node      // γ_t: [N]; nil where γ is constant
	probes      []*op.Node    // v of each product vᵀJ: [N,H,W,C]; none in mode Ones
	a, s        *op.Node      // √ᾱ_t and √(1-ᾱ_t): [N]
	weight      *op.Node      // 1/(T·p_t) of importance sampling: [N]; nil: 1
	hybrid      *hybridInputs // nil for Simple
}

// lossOutputs are scalars, means over the batch, but for losses.
type lossOutputs struct {
	total   *op.Node // what is minimised
	mse     *op.Node // Eq. 6's part of it
	bound   *op.Node // Hybrid's part, before its factor; nil for Simple
	penalty *op.Node // ‖∂ε_θ/∂x‖²_F of Eq. 9, before its factor; nil without
	losses  *op.Node // [N]: each image's loss, without weight and penalties
}

// buildLoss is what the variants differ in: Alg. 1 for ADM, ADM-GP and ADM-WD,
// Alg. 4 for DDPM-IP. network is ε_θ(x, t) with its parameters, and with twice the
// channels, the second half for the variance, where the loss is Hybrid.
//
// The squared error is a mean over pixels, as in the authors' code, while the
// penalties are sums, as Eq. 9 and Eq. 10 write them: beside Eq. 9 read with sums
// throughout, the same λ weighs d times as much here, d = H·W·C.
func buildLoss(in lossInputs, v Variant, network func(x *op.Node) (out *op.Node, params []*op.Node, err error)) (lossOutputs, error) {
	noise := in.eps
	switch {
	case in.gamma != nil:
		noise = op.Add(in.eps, perSample(in.gamma, in.xi)) // ε + γ_t·ξ
	case v.Gamma > 0:
		noise = op.Add(in.eps, op.Scale(in.xi, v.Gamma)) // ε + γ·ξ
	}
	x := op.Add(perSample(in.a, in.x0), perSample(in.s, noise)) // Eq. 5: x_t; Eq. 7: y_t
	both, params, err := network(x)
	if err != nil {
		return lossOutputs{}, err
	}
	out := both
	c := in.eps.Shape()[3]
	if in.hybrid != nil {
		out = op.Slice(both, 0, c)
	}

	d := op.Sub(in.eps, out) // the target is ε, without ξ
	square := op.Mul(d, d)
	mse := op.Mean(square) // Eq. 6
	l := lossOutputs{total: mse, mse: mse, losses: perSampleMean(square)}
	if in.hybrid != nil {
		bound := variationalBound(in.hybrid, in.x0, op.Sub(out, noise), op.Slice(both, c, c))
		l.bound = op.Mean(bound)
		l.losses = op.Add(l.losses, op.Scale(bound, in.hybrid.factor))
	}
	switch {
	case in.weight != nil:
		l.total = op.Mean(op.Mul(in.weight, l.losses))
	case in.hybrid != nil:
		l.total = op.Mean(l.losses)
	}
	if v.GradPenalty > 0 { // Eq. 9
		if l.penalty, err = penalty(out, x, in.probes, v.GradPenaltyMode); err != nil {
			return lossOutputs{}, fmt.Errorf("gradient penalty: %w", err)
		}
		l.total = op.Add(l.total, op.Scale(l.penalty, v.GradPenalty))
	}
	if v.WeightDecay > 0 && v.WeightDecayMode == Coupled { // Eq. 10; Decoupled is AdamW's
		for _, p := range params {
			l.total = op.Add(l.total, op.Scale(op.SquareSum(p), v.WeightDecay))
		}
	}
	return l, nil
}

// penalty is ‖J‖²_F or what stands for it: the norm for ones, the mean over the probes of
// Hutchinson, their sum for Exact, where they are the unit vectors.
func penalty(out, x *op.Node, probes []*op.Node, mode string) (*op.Node, error) {
	if len(probes) == 0 {
		return jacobianNorm(out, x, nil)
	}
	var sum *op.Node
	for _, v := range probes {
		n, err := jacobianNorm(out, x, v)
		if err != nil {
			return nil, err
		}
		if sum == nil {
			sum = n
		} else {
			sum = op.Add(sum, n)
		}
	}
	if mode == Exact || len(probes) == 1 {
		return sum, nil
	}
	return op.Scale(sum, 1/float64(len(probes))), nil
}

// jacobianNorm is ‖vᵀJ‖² of each sample's Jacobian J = ∂out/∂x, mean over the batch.
// With random signs v its expectation is ‖J‖²_F (Hutchinson 1990), because E[vvᵀ] is
// the identity; with v = nil, ones, it is the squared norm of the gradient of the
// sum of outputs. A sample's output depends on no other sample, so one
// differentiation of the batch's sum gives all of them; the gradient of the result
// with respect to the weights is a second one.
func jacobianNorm(out, x, v *op.Node) (*op.Node, error) {
	if v != nil {
		out = op.Mul(v, out)
	}
	g, err := grad.Grad(op.Sum(out, op.Scalar, 0), x) // vᵀJ
	if err != nil {
		return nil, err
	}
	return op.Scale(op.SquareSum(g[0]), 1/float64(x.Shape()[0])), nil
}

// perSample multiplies each sample of x [N,...] by its factor in f [N].
func perSample(f, x *op.Node) *op.Node {
	return op.Mul(op.Broadcast(f, op.PerSample, x.Shape(), 0), x)
}
