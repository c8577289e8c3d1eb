package experiments

import (
	"context"
	"fmt"
	"slices"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
)

// BiasImages is the number of images that exposure bias is measured on unless the caller
// says otherwise: the first ones of the data.
const BiasImages = 32

// biasData is which images a bias is measured on.
type biasData struct {
	Data, DataSHA256 string
	N                int
}

// biasMethod is all but the network that an error of Alg. 3 depends on.
type biasMethod struct {
	Data, DataSHA256 string
	N, Steps         int
	ddpm.BiasOptions
}

// driftMethod is the same for the drift of sampling.
type driftMethod struct {
	biasData
	ddpm.Sampling
}

// errorMethod is the same for the errors of one-step predictions.
type errorMethod struct {
	biasData
	Every int // steps between two times
	ddpm.BiasOptions
}

// Bias measures the exposure bias of the runs in the ways there are, on the first n images
// of their data (0: BiasImages): the error of the deterministic chain of Alg. 3 over the
// given lengths, as 100, 300, 600, 1000, beside that of a single step; the drift of a
// sampling chain (Ning et al. 2024); and the errors of one-step predictions with their test
// for normality. What was measured before of the same checkpoint is looked up.
func (s *Store) Bias(ctx context.Context, runs Runs, n int, steps ...int) (*BiasResult, error) {
	if err := checkSteps(runs, steps); err != nil {
		return nil, err
	}
	if n == 0 {
		n = BiasImages
	}
	result := &BiasResult{Steps: steps, N: n, Sampling: driftSampling(runs)}
	for _, r := range runs {
		set, err := s.openData(r.Config)
		if err != nil {
			return nil, err
		}
		if n < 1 || n > set.Len() {
			return nil, fmt.Errorf("exposure bias on %d images; want 1 to %d, the images of %s", n, set.Len(), set.Name())
		}
		over := fmt.Sprintf("Mean over the first %d images of %s, ± standard error", n, set.Name())
		if n == 1 {
			over = fmt.Sprintf("The first image of %s; one image has no standard error", set.Name())
		}
		protocol := over + "; EMA weights, no dropout; predictions of x₀ clipped to [-1, 1] but where it says as written."
		if result.Protocol != "" && protocol != result.Protocol {
			return nil, fmt.Errorf("exposure bias of runs on different data: run %s is on %s; choose runs on the same data", r.ID, set.Name())
		}
		result.Protocol = protocol
		row, err := s.biasRow(ctx, r, set, result)
		if err != nil {
			return nil, err
		}
		result.Rows = append(result.Rows, row)
	}
	return result, nil
}

// driftSampling is the chain whose drift is measured: that of the first run's scores, with a
// variance that all runs have.
func driftSampling(runs Runs) ddpm.Sampling {
	p := runs[0].Config.Sampling()
	p.Seed = 0
	if p.Steps == 0 { // a run without scores
		p.Steps = 50
	}
	for _, r := range runs {
		p.Steps = min(p.Steps, r.Config.T)
		if p.Variance == "" || p.Variance == ddpm.LearnedRange && r.Config.Loss != ddpm.Hybrid {
			p.Variance = ddpm.FixedSmall
		}
	}
	return p
}

// biasImages is a run's newest checkpoint with the images that it is measured on.
type biasImages struct {
	store *Store
	run   *Run
	saved saved
	set   data.Set
	n     int
}

// biasRow is one run's bias: what is known of it, and what has to be measured.
func (s *Store) biasRow(ctx context.Context, r *Run, set data.Set, of *BiasResult) (row BiasRow, err error) {
	row.Run = r
	c, err := s.newest(ctx, r)
	if err != nil {
		return row, err
	}
	m := biasImages{s, r, c, set, of.N}
	if row.Bias, err = m.chains(ctx, of.Steps, true); err != nil {
		return row, err
	}
	if row.AsWritten, err = m.chains(ctx, of.Steps, false); err != nil {
		return row, err
	}
	if of.N >= 2 {
		if row.Drift, err = m.drift(ctx, of.Sampling); err != nil {
			return row, err
		}
	}
	if of.N >= 3 {
		row.Errors, err = m.errors(ctx)
	}
	return row, err
}

// chains is the error of Alg. 3 at each of the steps.
func (m biasImages) chains(ctx context.Context, steps []int, clip bool) ([]ddpm.Bias, error) {
	opts := ddpm.BiasOptions{Clip: clip}
	found := make(map[int]ddpm.Bias)
	methods := make(map[int]method)
	var missing []int
	for _, k := range steps {
		var err error
		if methods[k], err = newMethod("exposure bias", biasMethod{m.set.Name(), m.set.SHA256(), m.n, k, opts}); err != nil {
			return nil, err
		}
		var b ddpm.Bias
		known, err := m.store.recall(ctx, m.saved.sum, methods[k], &b)
		if err != nil {
			return nil, err
		}
		if found[k] = b; !known && !slices.Contains(missing, k) {
			missing = append(missing, k)
		}
	}
	title := "exposure bias (Alg. 3)"
	if !clip {
		title = "exposure bias (Alg. 3 as written)"
	}
	var measured []ddpm.Bias
	if len(missing) > 0 {
		err := m.measure(ctx, title, func(ctx context.Context, net *ddpm.Network, schedule *ddpm.Schedule, x0 ddpm.Images) (err error) {
			measured, err = ddpm.ExposureBias(ctx, net, schedule, x0, missing, opts)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, b := range measured {
		if err := m.store.keep(ctx, m.saved.sum, methods[b.Steps], b); err != nil {
			return nil, err
		}
		found[b.Steps] = b
	}
	bias := make([]ddpm.Bias, len(steps))
	for i, k := range steps {
		bias[i] = found[k]
	}
	return bias, nil
}

// drift is that of the sampling chain p.
func (m biasImages) drift(ctx context.Context, p ddpm.Sampling) (drift []ddpm.Drift, err error) {
	how, err := newMethod("drift of sampling", driftMethod{m.data(), p})
	if err != nil {
		return nil, err
	}
	if known, err := m.store.recall(ctx, m.saved.sum, how, &drift); known || err != nil {
		return drift, err
	}
	err = m.measure(ctx, "drift of sampling", func(ctx context.Context, net *ddpm.Network, schedule *ddpm.Schedule, x0 ddpm.Images) (err error) {
		drift, err = ddpm.SamplingDrift(ctx, net, schedule, x0, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	return drift, m.store.keep(ctx, m.saved.sum, how, drift)
}

// errors are those of one-step predictions at a hundred times, as the authors have.
func (m biasImages) errors(ctx context.Context) (errors []ddpm.PredictionError, err error) {
	every, opts := max(1, m.run.Config.T/100), ddpm.BiasOptions{Clip: true}
	how, err := newMethod("errors of predictions", errorMethod{m.data(), every, opts})
	if err != nil {
		return nil, err
	}
	if known, err := m.store.recall(ctx, m.saved.sum, how, &errors); known || err != nil {
		return errors, err
	}
	var times []int
	for t := 0; t < m.run.Config.T; t += every {
		times = append(times, t)
	}
	err = m.measure(ctx, "errors of predictions", func(ctx context.Context, net *ddpm.Network, schedule *ddpm.Schedule, x0 ddpm.Images) (err error) {
		errors, err = ddpm.PredictionErrors(ctx, net, schedule, x0, times, opts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return errors, m.store.keep(ctx, m.saved.sum, how, errors)
}

func (m biasImages) data() biasData { return biasData{m.set.Name(), m.set.SHA256(), m.n} }

// measure calls f with the network and the images. Progress goes to the display of ctx.
func (m biasImages) measure(
	ctx context.Context, title string,
	f func(ctx context.Context, net *ddpm.Network, schedule *ddpm.Schedule, x0 ddpm.Images) error,
) error {
	pix, err := data.ReadRange(m.set, 0, m.n)
	if err != nil {
		return err
	}
	h, w, channels := m.set.Shape()
	x0 := ddpm.Images{N: m.n, H: h, W: w, C: channels, Pix: pix}
	return m.store.withNetwork(ctx, m.run, m.saved, func(net *ddpm.Network, schedule *ddpm.Schedule) error {
		report := newReport(ctx, "bias-"+m.run.ID, m.run.Variant.String()+": "+title)
		if err := f(report.context(ctx), net, schedule, x0); err != nil {
			return report.failed(err)
		}
		report.done()
		return nil
	})
}
