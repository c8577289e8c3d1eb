package experiments

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
)

// BiasImages is the number of images that exposure bias is measured on unless the caller
// says otherwise: the first ones of the data.
const BiasImages = 32

// biasMethod is all but the network that an exposure bias depends on.
type biasMethod struct {
	Data, DataSHA256 string
	N, Steps         int
	ddpm.BiasOptions
}

// Bias measures the exposure bias (Alg. 3) of the runs over chains of the given lengths,
// as 100, 300, 600, 1000, on the first n images of their data (0: BiasImages). What was
// measured before of the same checkpoint is looked up.
func (s *Store) Bias(ctx context.Context, runs Runs, n int, steps ...int) (*BiasResult, error) {
	if err := checkSteps(runs, steps); err != nil {
		return nil, err
	}
	if n == 0 {
		n = BiasImages
	}
	result := &BiasResult{Steps: steps, N: n}
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
		protocol := over + "; EMA weights, predictions of x₀ clipped to [-1, 1]."
		if result.Protocol != "" && protocol != result.Protocol {
			return nil, fmt.Errorf("exposure bias of runs on different data: run %s is on %s; choose runs on the same data", r.ID, set.Name())
		}
		result.Protocol = protocol
		bias, err := s.runBias(ctx, r, set, n, steps)
		if err != nil {
			return nil, err
		}
		result.Rows = append(result.Rows, BiasRow{Run: r, Bias: bias})
	}
	return result, nil
}

// checkSteps refuses a measurement of nothing.
func checkSteps(runs Runs, steps []int) error {
	if len(runs) == 0 {
		return errors.New("no runs to measure; train one first, or pass lab.Runs(cfg)")
	}
	if len(steps) == 0 {
		return errors.New("no numbers of steps to measure at; pass some, as 25, 50, 100")
	}
	for _, r := range runs {
		for _, k := range steps {
			if k < 1 || k > r.Config.T {
				return fmt.Errorf("%d steps; run %s has 1 to %d", k, r.ID, r.Config.T)
			}
		}
	}
	return nil
}

// runBias is one run's bias at each of the steps.
func (s *Store) runBias(ctx context.Context, r *Run, set data.Set, n int, steps []int) ([]ddpm.Bias, error) {
	c, err := s.newest(ctx, r)
	if err != nil {
		return nil, err
	}
	opts := ddpm.BiasOptions{Clip: true}
	found := make(map[int]ddpm.Bias)
	methods := make(map[int]method)
	var missing []int
	for _, k := range steps {
		if methods[k], err = newMethod("exposure bias", biasMethod{set.Name(), set.SHA256(), n, k, opts}); err != nil {
			return nil, err
		}
		var b ddpm.Bias
		known, err := s.recall(ctx, c.sum, methods[k], &b)
		if err != nil {
			return nil, err
		}
		if found[k] = b; !known && !slices.Contains(missing, k) {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		measured, err := s.measureBias(ctx, r, c, set, n, missing, opts)
		if err != nil {
			return nil, err
		}
		for _, b := range measured {
			if err := s.keep(ctx, c.sum, methods[b.Steps], b); err != nil {
				return nil, err
			}
			found[b.Steps] = b
		}
	}
	bias := make([]ddpm.Bias, len(steps))
	for i, k := range steps {
		bias[i] = found[k]
	}
	return bias, nil
}

func (s *Store) measureBias(ctx context.Context, r *Run, c saved, set data.Set, n int, steps []int, opts ddpm.BiasOptions) ([]ddpm.Bias, error) {
	pix, err := data.ReadRange(set, 0, n)
	if err != nil {
		return nil, err
	}
	h, w, channels := set.Shape()
	x0 := ddpm.Images{N: n, H: h, W: w, C: channels, Pix: pix}
	var bias []ddpm.Bias
	err = s.withNetwork(ctx, r, c, func(net *ddpm.Network, schedule *ddpm.Schedule) error {
		report := newReport(ctx, "bias-"+r.ID, r.Variant.String()+": exposure bias")
		if bias, err = ddpm.ExposureBias(report.context(ctx), net, schedule, x0, steps, opts); err != nil {
			return report.failed(err)
		}
		report.done()
		return nil
	})
	return bias, err
}

// withNetwork calls f with a checkpoint's network on the store's device.
func (s *Store) withNetwork(ctx context.Context, r *Run, c saved, f func(*ddpm.Network, *ddpm.Schedule) error) (err error) {
	ck, err := s.load(ctx, r, c)
	if err != nil {
		return err
	}
	schedule, err := ddpm.NewSchedule(r.Config.Schedule, r.Config.T)
	if err != nil {
		return err
	}
	device, end, err := s.openDevice()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	net, err := ddpm.NewNetwork(ck, ddpm.WithDevice(device))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	return f(net, schedule)
}

// Sweep measures the Fréchet distance of n samples (0: as many as the runs' own scores
// have) of each run, drawn in the given numbers of sampling steps. What was measured
// before of the same checkpoint is looked up. Runs whose scores do not compare, as for
// another data set, are refused.
func (s *Store) Sweep(ctx context.Context, runs Runs, n int, steps ...int) (*SweepResult, error) {
	if err := checkSteps(runs, steps); err != nil {
		return nil, err
	}
	result := &SweepResult{Steps: steps}
	for i, r := range runs {
		row, p, err := s.sweepRun(ctx, r, n, steps)
		if err != nil {
			return nil, err
		}
		p.Steps = 0
		p.ID = p.Hash()
		if i == 0 {
			result.Protocol = p
		}
		if err := fid.Same(result.Protocol.Protocol, p.Protocol); err != nil {
			return nil, fmt.Errorf("runs %s and %s: %w", runs[0].ID, r.ID, err)
		}
		result.Rows = append(result.Rows, row)
	}
	return result, nil
}

// sweepRun scores a run's newest checkpoint in each of the numbers of steps.
func (s *Store) sweepRun(ctx context.Context, r *Run, n int, steps []int) (row SweepRow, p Protocol, err error) {
	c, err := s.newest(ctx, r)
	if err != nil {
		return row, p, err
	}
	set, err := s.openData(r.Config)
	if err != nil {
		return row, p, err
	}
	if n == 0 {
		n = r.Config.EvalSamples
	}
	sc, err := s.newScorer(ctx, r.Config, set, n, steps[0])
	if err != nil {
		return row, p, err
	}
	row.Run = r
	for _, k := range steps {
		if err := sc.steps(k); err != nil {
			return row, p, err
		}
		var fd float64
		known, err := s.recall(ctx, c.sum, sc.method(), &fd)
		if err == nil && !known {
			fd, err = s.sweepOne(ctx, r, c, sc)
		}
		if err != nil {
			return row, p, err
		}
		row.FD = append(row.FD, fd)
	}
	return row, sc.protocol, nil
}

// sweepOne measures one score and keeps it.
func (s *Store) sweepOne(ctx context.Context, r *Run, c saved, sc *scorer) (fd float64, err error) {
	k := sc.protocol.Steps
	err = s.withNetwork(ctx, r, c, func(net *ddpm.Network, _ *ddpm.Schedule) error {
		fd, err = sc.score(ctx, net, fmt.Sprintf("sweep-%s-%d", r.ID, k), fmt.Sprintf("%s: samples in %s", r.Variant, inSteps(k)))
		return err
	})
	if err != nil {
		return 0, err
	}
	return fd, s.keep(ctx, c.sum, sc.method(), fd)
}

// samplesMethod is all but the network that samples depend on.
type samplesMethod struct {
	N int
	ddpm.Sampling
}

// Samples draws n images from the run's network as its scores do, in the given number of
// sampling steps (0: as many as its scores have).
func (s *Store) Samples(ctx context.Context, r *Run, n, steps int) (*Samples, error) {
	p := r.Config.Sampling()
	if steps != 0 {
		p.Steps = steps
	}
	if p.Variance == "" { // a run without scores
		p.Variance = ddpm.FixedSmall
	}
	return s.Draw(ctx, r, n, p)
}

// Draw draws n images from the run's network in the way p says. Small batches that were
// drawn before from the same checkpoint are looked up.
func (s *Store) Draw(ctx context.Context, r *Run, n int, p ddpm.Sampling) (*Samples, error) {
	if n < 1 {
		return nil, fmt.Errorf("%d samples; want 1 or more", n)
	}
	if err := p.Validate(r.Config.T); err != nil {
		return nil, err
	}
	c, err := s.newest(ctx, r)
	if err != nil {
		return nil, err
	}
	m, err := newMethod("samples", samplesMethod{n, p})
	if err != nil {
		return nil, err
	}
	model := r.Config.Model
	out := &Samples{Run: r, Steps: p.Steps, Seed: p.Seed, Images: ddpm.NewImages(n, model.Size, model.Size, model.InChannels)}
	known, err := s.recallImages(ctx, c.sum, m, out.Images.Pix)
	if known || err != nil {
		return out, err
	}
	err = s.withNetwork(ctx, r, c, func(net *ddpm.Network, schedule *ddpm.Schedule) error {
		report := newReport(ctx, "samples-"+r.ID, fmt.Sprintf("%s: samples in %s", r.Variant, inSteps(p.Steps)))
		if out.Images, err = ddpm.Sample(report.context(ctx), net, schedule, p, 0, n, model.Size, model.Size, model.InChannels); err != nil {
			return report.failed(err)
		}
		report.done()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, s.keepImages(ctx, r, c, m, out.Images.Pix)
}

// recallImages reads pixels that were drawn before.
func (s *Store) recallImages(ctx context.Context, subject string, m method, pix []float32) (bool, error) {
	var sum string
	if known, err := s.recall(ctx, subject, m, &sum); !known || err != nil {
		return false, err
	}
	body, err := s.artifact(ctx, sum)
	if err != nil {
		return false, err
	}
	defer body.Close()
	if err := binary.Read(body, binary.LittleEndian, pix); err != nil {
		return false, fmt.Errorf("stored samples %s: %w", sum, err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return false, fmt.Errorf("stored samples %s: %w", sum, err)
	}
	return true, nil
}

// keepImages stores pixels in the database, unless they are too many: drawing them again
// gives the same.
func (s *Store) keepImages(ctx context.Context, r *Run, c saved, m method, pix []float32) error {
	if 4*len(pix) > maxInside {
		return nil
	}
	var body bytes.Buffer
	if err := binary.Write(&body, binary.LittleEndian, pix); err != nil {
		return err
	}
	return s.tryKeep(ctx, func(tx *sql.Tx) error {
		sum, err := s.putInside(ctx, tx, body.Bytes())
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertLink, r.ID, "samples "+m.id[:16], c.step, sum, s.micros()); err != nil {
			return err
		}
		return s.keepIn(ctx, tx, c.sum, m, sum)
	})
}
