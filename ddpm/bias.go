package ddpm

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"ddpmlab/ddpm/philox"
	"ddpmlab/internal/display"
)

// Bias is one column of Table 1: how far the deterministic reverse chain of Alg. 3
// ends from the image it began with.
type Bias struct {
	Steps  int     // length of the chain; it starts at the paper's t = Steps
	N      int     // images
	L1     float64 // δ̄_t: mean over images and pixels of |x̂_0 - x_0|, pixels in [-1, 1]
	StdErr float64 // standard error of L1 over the images

	// OneStepL1 is the control beside it: the same distance for the x_0 that ε_θ
	// implies at t in one step. It is a posterior mean, blurry at large t, and no lower
	// bound: L1 may be below it. Where the two are nearly equal, the error is
	// information that x_t no longer holds; only what a chain has more than this can be
	// accumulated error.
	OneStepL1     float64
	OneStepStdErr float64
}

// String is the bias in one line.
func (b Bias) String() string {
	return fmt.Sprintf("%d steps: L1 %.4f ± %.4f, one-step prediction %.4f ± %.4f (n = %d)",
		b.Steps, b.L1, b.StdErr, b.OneStepL1, b.OneStepStdErr, b.N)
}

// biasJSON is a Bias in JSON, which has no NaN and no infinities: a chain as Alg. 3 is
// written may leave the range of numbers, and is null there.
type biasJSON struct {
	Steps         int      `json:"steps"`
	N             int      `json:"n"`
	L1            *float64 `json:"l1"`
	StdErr        *float64 `json:"std_err"`
	OneStepL1     *float64 `json:"one_step_l1"`
	OneStepStdErr *float64 `json:"one_step_std_err"`
}

// MarshalJSON writes numbers that are not finite as null.
func (b Bias) MarshalJSON() ([]byte, error) {
	number := func(v float64) *float64 {
		if !finite(v) {
			return nil
		}
		return &v
	}
	return json.Marshal(biasJSON{b.Steps, b.N, number(b.L1), number(b.StdErr), number(b.OneStepL1), number(b.OneStepStdErr)})
}

// UnmarshalJSON reads null as NaN.
func (b *Bias) UnmarshalJSON(text []byte) error {
	var j biasJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	number := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	*b = Bias{j.Steps, j.N, number(j.L1), number(j.StdErr), number(j.OneStepL1), number(j.OneStepStdErr)}
	return nil
}

// BiasOptions says how ExposureBias measures.
type BiasOptions struct {
	// Clip clips each predicted x_0 to [-1, 1], as the authors' code does (branch
	// exposure_bias_deterministic, and so Table 1); false is Alg. 3 as written,
	// which at t = T may blow up.
	Clip bool `json:"clip"`
	// Seed gives ε; the same one for all chain lengths and runs.
	Seed uint64 `json:"seed"`
}

// ExposureBias measures, by Alg. 3, the error of the deterministic reverse chain of
// each length in steps (1 to T, as 100, 300, 600, 1000), on all images of x0 and the
// full schedule s. The authors' code leaves dropout on while it measures; a Denoiser
// of this package has none.
func ExposureBias(ctx context.Context, d Denoiser, s *Schedule, x0 Images, steps []int, o BiasOptions) ([]Bias, error) {
	if x0.N < 1 {
		return nil, fmt.Errorf("exposure bias of %d images; want 1 or more", x0.N)
	}
	work := int64(0)
	for _, k := range steps {
		if k < 1 || k > s.T() {
			return nil, fmt.Errorf("exposure bias over %d steps; want 1 to %d", k, s.T())
		}
		work += int64(k) * int64(x0.N)
	}
	report := newProgress(ctx, "bias", "exposure bias (Alg. 3)", work, "steps")
	var out []Bias
	done := int64(0)
	for _, k := range steps {
		var chain, once meanErr
		for from := 0; from < x0.N; from += chunk {
			part := x0.Part(from, min(from+chunk, x0.N))
			tick := func(t int) { report(done+int64(part.N*(k-t)), display.Running) }
			if err := biasChain(ctx, d, s, part, from, k, o, tick, &chain, &once); err != nil {
				state := stateOf(err)
				report(done, state)
				if state == display.Interrupted {
					return nil, fmt.Errorf("exposure bias stopped after %d of %d images over %d steps: %w", from, x0.N, k, cause(err))
				}
				return nil, fmt.Errorf("exposure bias over %d steps: %w", k, err)
			}
			done += int64(part.N) * int64(k)
		}
		out = append(out, Bias{
			Steps: k, N: x0.N, L1: chain.mean(), StdErr: chain.stdErr(),
			OneStepL1: once.mean(), OneStepStdErr: once.stdErr(),
		})
	}
	report(work, display.Done)
	return out, nil
}

// biasChain is lines 5-10 of Alg. 3 for the images x0, whose first has number first.
func biasChain(
	ctx context.Context, d Denoiser, s *Schedule, x0 Images, first, k int, o BiasOptions,
	tick func(t int), all, once *meanErr,
) error {
	x := forward(s, x0, first, k-1, o.Seed) // lines 5-6
	c := newChain(d, s, s, Sampling{ClipDenoised: o.Clip}, first)
	if err := c.evaluate(ctx, k-1, x); err != nil {
		return err
	}
	guess := NewImages(x.N, x.H, x.W, x.C)
	for i, v := range x.Pix {
		guess.Pix[i] = float32(denoised(s, k-1, v, c.eps[i], o.Clip))
	}
	once.add(guess, x0)
	for t := k - 1; t >= 0; t-- { // lines 7-9
		if err := c.reverseMean(ctx, t, x); err != nil {
			return err
		}
		tick(t)
	}
	all.add(x, x0) // line 10
	return nil
}

// forward is x_t of Eq. 5 at entry t of s, with ε from the stream of the image's number.
func forward(s *Schedule, x0 Images, first, t int, seed uint64) Images {
	xt := NewImages(x0.N, x0.H, x0.W, x0.C)
	a, b := float32(math.Sqrt(s.AlphaBar[t])), float32(math.Sqrt(1-s.AlphaBar[t]))
	stream := philox.Key(seed, "bias")
	for i := range x0.N {
		eps := xt.At(i)
		stream.Normals(eps, uint64(t), uint32(first+i))
		for j, v := range x0.At(i) {
			eps[j] = float32(a*v) + float32(b*eps[j])
		}
	}
	return xt
}

// meanErr is the mean of a number of each image, as its L1 distance, and its standard error.
type meanErr struct{ n, sum, squares float64 }

func (m *meanErr) add(x, y Images) {
	for i := range x.N {
		d := 0.0
		for j, v := range x.At(i) {
			d += math.Abs(float64(v) - float64(y.At(i)[j]))
		}
		m.take(d / float64(x.Size()))
	}
}

// take adds one image's number.
func (m *meanErr) take(d float64) { m.n, m.sum, m.squares = m.n+1, m.sum+d, m.squares+d*d }

func (m *meanErr) mean() float64 { return m.sum / m.n }

// stdErr is 0 for one image, of which no error can be told.
func (m *meanErr) stdErr() float64 {
	if m.n < 2 {
		return 0
	}
	return math.Sqrt(max(0, m.squares-m.sum*m.sum/m.n) / (m.n - 1) / m.n)
}
