package ddpm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Schedule is a noise schedule β_1..β_T (Eq. 1-2), or a respaced part of one, with
// what sampling needs from it. Tables are float64; entry i stands for the paper's
// t = i+1.
type Schedule struct {
	Beta     []float64 // β_t
	AlphaBar []float64 // ᾱ_t = Π (1-β)
	Index    []int     // entry i of this schedule is entry Index[i] of the full one: the network's t

	name string
}

// scheduleNames holds the ways to make T betas.
var scheduleNames = map[string]func(T int) []float64{
	"cosine": cosineBetas,
	"linear": linearBetas,
}

// NewSchedule returns the "cosine" schedule (Nichol and Dhariwal 2021, the paper's)
// or the "linear" one (Ho et al. 2020) of T ≥ 2 steps.
func NewSchedule(name string, T int) (*Schedule, error) {
	betas := scheduleNames[name]
	if betas == nil {
		return nil, fmt.Errorf("unknown noise schedule %q; there are: cosine, linear", name)
	}
	if T < 2 {
		return nil, fmt.Errorf("a noise schedule of %d steps; want 2 or more", T)
	}
	s := &Schedule{Beta: betas(T), name: name}
	abar := 1.0
	for i, b := range s.Beta {
		abar *= 1 - b
		s.AlphaBar = append(s.AlphaBar, abar)
		s.Index = append(s.Index, i)
	}
	return s, nil
}

// cosineBetas has ᾱ(u) = cos²((u+0.008)/1.008·π/2), and β at most 0.999, which at
// T = 1000 clips the last one only.
func cosineBetas(T int) []float64 {
	abar := func(u float64) float64 {
		c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	b := make([]float64, T)
	for i := range b {
		b[i] = min(1-abar(float64(i+1)/float64(T))/abar(float64(i)/float64(T)), 0.999)
	}
	return b
}

// linearBetas runs from 1e-4 to 2e-2 at T = 1000; other T scale both ends, so that
// ᾱ_T stays about the same (guided-diffusion, gaussian_diffusion.py).
func linearBetas(T int) []float64 {
	lo, hi := 1e-4*1000/float64(T), 2e-2*1000/float64(T)
	b := make([]float64, T)
	for i := range b {
		b[i] = min(lo+(hi-lo)*float64(i)/float64(T-1), 0.999)
	}
	return b
}

// T is the number of steps.
func (s *Schedule) T() int { return len(s.Beta) }

// String names the schedule and its length, as "cosine, 1000 steps".
func (s *Schedule) String() string { return fmt.Sprintf("%s, %d steps", s.name, s.T()) }

// Respace picks the steps of a shorter chain: "100" takes 100 of them, "10,10,5"
// divides the schedule into as many equal sections as there are numbers and takes so
// many steps of each. A section begins with its first and ends with its last step;
// the stride between is fractional, is summed in float64, and rounds half to even,
// as in guided-diffusion's space_timesteps. "ddim50" takes 50 at an equal whole stride from
// the first (Song, Meng and Ermon 2021), and so ends before the last; there may be no such
// stride. Indices are ascending.
func (s *Schedule) Respace(steps string) ([]int, error) {
	if n, ok := strings.CutPrefix(steps, "ddim"); ok {
		return s.respaceDDIM(steps, n)
	}
	counts := strings.Split(steps, ",")
	section, extra := s.T()/len(counts), s.T()%len(counts)
	var use []int
	start := 0
	for i, c := range counts {
		size := section
		if i < extra {
			size++
		}
		n, err := strconv.Atoi(strings.TrimSpace(c))
		if err != nil {
			return nil, fmt.Errorf("respacing %q: want a number of steps, as \"100\", or numbers by section, as \"50,25,25\"", steps)
		}
		if n < 1 || n > size {
			return nil, fmt.Errorf("respacing %q: %d steps of a section of %d; want 1 to %d", steps, n, size, size)
		}
		stride := 1.0
		if n > 1 {
			stride = float64(size-1) / float64(n-1)
		}
		at := 0.0
		for range n {
			use = append(use, start+int(math.RoundToEven(at)))
			at += stride
		}
		start += size
	}
	return use, nil
}

func (s *Schedule) respaceDDIM(steps, number string) ([]int, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > s.T() {
		return nil, fmt.Errorf("respacing %q: want ddimN with N from 1 to %d", steps, s.T())
	}
	// The reference tries the strides from 1 and takes the first that gives n steps.
	for stride := 1; stride <= s.T(); stride++ {
		if (s.T()+stride-1)/stride == n {
			use := make([]int, n)
			for i := range use {
				use[i] = i * stride
			}
			return use, nil
		}
	}
	return nil, fmt.Errorf("respacing %q: no whole stride makes %d steps of %d; use %q", steps, n, s.T(), number)
}

// Sub is the schedule of the shorter chain over the given entries of s, ascending:
// the same ᾱ there, with β = 1 - ᾱ_i/ᾱ_(i-1) between them.
func (s *Schedule) Sub(use []int) (*Schedule, error) {
	sub := &Schedule{name: s.name}
	last := 1.0
	for i, at := range use {
		if at < 0 || at >= s.T() || i > 0 && at <= use[i-1] {
			return nil, fmt.Errorf("part of a schedule of %d steps: step %d at place %d; want ascending steps from 0 to %d", s.T(), at, i, s.T()-1)
		}
		sub.Beta = append(sub.Beta, 1-s.AlphaBar[at]/last)
		sub.AlphaBar = append(sub.AlphaBar, s.AlphaBar[at])
		sub.Index = append(sub.Index, s.Index[at])
		last = s.AlphaBar[at]
	}
	if len(use) == 0 {
		return nil, fmt.Errorf("part of a schedule of %d steps: no step; want 1 or more", s.T())
	}
	return sub, nil
}

// respaced is Sub of Respace of a number of steps; all of them: s itself.
func (s *Schedule) respaced(steps int) (*Schedule, error) {
	if steps == s.T() {
		return s, nil
	}
	use, err := s.Respace(strconv.Itoa(steps))
	if err != nil {
		return nil, err
	}
	return s.Sub(use)
}

// alphaBarBefore is ᾱ_(t-1); ᾱ_0 = 1.
func (s *Schedule) alphaBarBefore(i int) float64 {
	if i == 0 {
		return 1
	}
	return s.AlphaBar[i-1]
}

// posterior gives the mean of q(x_(t-1) | x_t, x_0) as a·x_0 + b·x_t, and its
// variance β̃ = β·(1-ᾱ_(t-1))/(1-ᾱ_t) (below Eq. 4; Ho et al. 2020, eq. 7). With
// x_0 = (x_t - √(1-ᾱ)·ε)/√ᾱ this mean is line 4 of Alg. 2.
func (s *Schedule) posterior(i int) (a, b, variance float64) {
	before, abar, beta := s.alphaBarBefore(i), s.AlphaBar[i], s.Beta[i]
	a = beta * math.Sqrt(before) / (1 - abar)
	b = (1 - before) * math.Sqrt(1-beta) / (1 - abar)
	return a, b, beta * (1 - before) / (1 - abar)
}
