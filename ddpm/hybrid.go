package ddpm

import (
	"math"

	"ddpmlab/ddpm/engine/op"
)

// hybridInputs are what the variational bound needs to know of each image's t: [N].
type hybridInputs struct {
	logBeta, logTilde *op.Node // log β_t and log β̃_t, between which the network's variance lies
	logK              *op.Node // log k_t: an error e of ε_θ moves the mean of x_(t-1) by k_t·e
	first             *op.Node // 1 at the first step, t = 0, and 0 elsewhere
	factor            float64  // of the bound in the loss, T/1000
}

// variationalBound is each image's term of the bound at its t, in bits and as a mean over
// pixels, [N]: the Kullback-Leibler divergence of p_θ(x_(t-1)|x_t) from the posterior, and
// at the first step the negative log-likelihood of x_0, taken for one of 256 levels. err
// is ε_θ - ε, with the ε that made x_t, ξ included: the reference compares both with the
// perturbed y_t. Only the variance, from the network's v, is differentiated. (Nichol and
// Dhariwal 2021; guided-diffusion's losses.py, with its approximation of Φ and its floor
// of 1e-12.)
func variationalBound(h *hybridInputs, x0, err, v *op.Node) *op.Node {
	s := x0.Shape()
	spread := func(f *op.Node) *op.Node { return op.Broadcast(f, op.PerSample, s, 0) }
	err = op.Stop(err)

	// log σ² = v'·log β + (1-v')·log β̃, v' = (v+1)/2, not clipped
	span := op.Scale(op.Sub(h.logBeta, h.logTilde), 0.5)
	logVar := op.Add(op.Mul(spread(span), op.AddConst(v, 1)), spread(h.logTilde))

	// KL of two normals with means k·err apart:
	// ½(-1 + log σ² - log β̃ + β̃/σ² + k²·err²/σ²)
	tilde := spread(h.logTilde)
	ratio := op.Sub(tilde, logVar)
	moved := op.Mul(op.Mul(err, err), op.Exp(op.Sub(spread(op.Scale(h.logK, 2)), logVar)))
	kl := op.Scale(op.AddConst(op.Add(op.Sub(op.Exp(ratio), ratio), moved), -1), 0.5)

	// At the first step the mean is the predicted x_0, and x_0 - mean = k·err.
	inverse := op.Mul(spread(h.first), op.Exp(op.Scale(logVar, -0.5))) // 1/σ; 0 elsewhere, where it might overflow
	centre := op.Mul(err, op.Exp(spread(h.logK)))
	above := normalCDF(op.Mul(inverse, op.AddConst(centre, 1./255)))
	below := normalCDF(op.Mul(inverse, op.AddConst(centre, -1./255)))
	const floor = 1e-12
	inside := op.Log(op.Sub(above, below), floor)
	// The lowest and highest level reach to infinity. A steep sigmoid is a step function here:
	// levels are far from ±0.999.
	step := func(x *op.Node, sign float64) *op.Node {
		return op.Sigmoid(op.Scale(op.AddConst(x, -0.999*sign), 1e6*sign))
	}
	lowest, highest := step(x0, -1), step(x0, 1)
	choose := func(mask, a, b *op.Node) *op.Node { return op.Add(b, op.Mul(mask, op.Sub(a, b))) }
	logP := choose(highest, op.Log(op.AddConst(op.Scale(below, -1), 1), floor), inside)
	logP = choose(lowest, op.Log(above, floor), logP)

	bound := op.Add(kl, op.Mul(spread(h.first), op.Sub(op.Scale(logP, -1), kl)))
	return op.Scale(perSampleMean(bound), 1/math.Ln2)
}

// normalCDF is about Φ(x): ½(1 + tanh(√(2/π)·(x + 0.044715·x³))).
func normalCDF(x *op.Node) *op.Node {
	cube := op.Mul(x, op.Mul(x, x))
	return op.Sigmoid(op.Scale(op.Add(x, op.Scale(cube, 0.044715)), 2*math.Sqrt(2/math.Pi)))
}

// perSampleMean is the mean of each image's values, [N].
func perSampleMean(x *op.Node) *op.Node {
	s := x.Shape()
	return op.Scale(op.Sum(x, op.PerSample, 0), float64(s[0])/float64(op.Size(s)))
}

// learnedRange is log β_t, log β̃_t (that of the first step is that of the second, as β̃_1
// is 0) and log k_t of hybridInputs.
func (s *Schedule) learnedRange(t int) (logBeta, logTilde, logK float64) {
	_, _, tilde := s.posterior(max(t, min(1, s.T()-1)))
	beta := s.Beta[t]
	return math.Log(beta), math.Log(tilde), math.Log(beta) - 0.5*math.Log(1-s.AlphaBar[t]) - 0.5*math.Log(1-beta)
}
