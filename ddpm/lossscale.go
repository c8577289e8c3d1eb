package ddpm

import "math"

// lossScale is the factor by which the loss is multiplied before it is differentiated, on
// devices whose numbers have the range of float16: small gradients would be 0 there, and
// large ones infinite (Micikevicius et al. 2018). It is as large as it can be, as in
// guided-diffusion's fp16_util.py: a little larger after each good iteration, half as
// large after one whose gradient is not finite, which is skipped. Theirs has no bottom and
// runs away once the network itself is broken; this one ends at 1, and an iteration that
// fails there is a bad one (see Config.MaxBadSteps).
type lossScale struct {
	factor float64
}

const (
	startScale = 1 << 20
	floorScale = 1
)

var scaleGrowth = math.Exp2(0.001) // of a good iteration

// good follows an iteration whose gradient was finite.
func (s *lossScale) good() { s.factor *= scaleGrowth }

// overflow follows one whose gradient was not, and reports whether there was room below.
func (s *lossScale) overflow() bool {
	if s.factor <= floorScale {
		return false
	}
	s.factor = max(floorScale, s.factor/2)
	return true
}
