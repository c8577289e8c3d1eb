package ddpm

import (
	"fmt"

	"ddpmlab/ddpm/engine/grad"
	"ddpmlab/ddpm/engine/op"
)

// lossInputs are the values of one training batch of N images, as inputs of the
// expression.
type lossInputs struct {
	x0, eps, xi *op.Node // x_0, ε, ξ: [N,H,W,C]; ξ is nil unless γ > 0
	signs       *op.Node // v of Hutchinson's estimate, ±1: [N,H,W,C]; nil in other modes
	a, s        *op.Node // √ᾱ_t and √(1-ᾱ_t): [N]
}

// lossOutputs are scalars: means over the batch.
type lossOutputs struct {
	total   *op.Node // what is minimised
	mse     *op.Node // Eq. 6's part of it
	penalty *op.Node // ‖∂ε_θ/∂x‖²_F of Eq. 9, before its factor; nil without
}

// buildLoss is what the variants differ in: Alg. 1 for ADM, ADM-GP and ADM-WD,
// Alg. 4 for DDPM-IP. network is ε_θ(x, t) with its parameters.
//
// The squared error is a mean over pixels, as in the authors' code, while the
// penalties are sums, as Eq. 9 and Eq. 10 write them: beside Eq. 9 read with sums
// throughout, the same λ weighs d times as much here, d = H·W·C.
func buildLoss(in lossInputs, v Variant, network func(x *op.Node) (out *op.Node, params []*op.Node, err error)) (lossOutputs, error) {
	noise := in.eps
	if v.Gamma > 0 {
		noise = op.Add(in.eps, op.Scale(in.xi, v.Gamma)) // ε + γ·ξ
	}
	x := op.Add(perSample(in.a, in.x0), perSample(in.s, noise)) // Eq. 5: x_t; Eq. 7: y_t
	out, params, err := network(x)
	if err != nil {
		return lossOutputs{}, err
	}

	d := op.Sub(in.eps, out)     // the target is ε, without ξ
	mse := op.Mean(op.Mul(d, d)) // Eq. 6
	l := lossOutputs{total: mse, mse: mse}
	if v.GradPenalty > 0 { // Eq. 9
		if l.penalty, err = jacobianNorm(out, x, in.signs); err != nil {
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
