package ddpm

import "math"

// secondMoment is the state of LossSecondMoment (improved-diffusion's
// LossSecondMomentResampler): the last losses of every t.
type secondMoment struct {
	losses []float32 // T × momentHistory, the oldest first
	count  []float32 // T: how many there are, up to momentHistory
	p      []float64 // T: what distribution returns
}

const (
	momentHistory = 10
	momentUniform = 0.001 // share of uniform sampling
)

func newSecondMoment(T int) *secondMoment {
	return &secondMoment{make([]float32, T*momentHistory), make([]float32, T), make([]float64, T)}
}

// add takes the loss of an image at t.
func (m *secondMoment) add(t int, loss float32) {
	l := m.losses[t*momentHistory : (t+1)*momentHistory]
	if n := int(m.count[t]); n < momentHistory {
		l[n] = loss
		m.count[t]++
		return
	}
	copy(l, l[1:])
	l[momentHistory-1] = loss
}

// distribution is p_t; nil while some t has too few losses, and after losses that were all
// zero: uniform. The next call overwrites it.
func (m *secondMoment) distribution() []float64 {
	p := m.p
	sum := 0.0
	for t, n := range m.count {
		if n < momentHistory {
			return nil
		}
		square := 0.0
		for _, l := range m.losses[t*momentHistory : (t+1)*momentHistory] {
			square += float64(l) * float64(l)
		}
		p[t] = math.Sqrt(square / momentHistory)
		sum += p[t]
	}
	if !(sum > 0) || math.IsInf(sum, 1) {
		return nil
	}
	for t := range p {
		p[t] = p[t]/sum*(1-momentUniform) + momentUniform/float64(len(p))
	}
	return p
}

// pick is the t of distribution p for u in [0, 1).
func pick(p []float64, u float64) int {
	for t, q := range p {
		if u -= q; u < 0 {
			return t
		}
	}
	return len(p) - 1
}
