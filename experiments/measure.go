package experiments

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
)

// checkSteps refuses a measurement of nothing.
func checkSteps(runs Runs, steps []int) error {
	if len(runs) == 0 {
		return errors.New("no runs to measure; train one first")
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
	out := &Samples{Run: r, Sampling: p, Images: ddpm.NewImages(n, model.Size, model.Size, model.InChannels)}
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

// DrawTo is Draw that hands the images to take as they are ready, so that many take no
// more memory than few. Nothing is looked up or kept.
func (s *Store) DrawTo(ctx context.Context, r *Run, n int, p ddpm.Sampling, take func(ddpm.Images) error) error {
	if n < 1 {
		return fmt.Errorf("%d samples; want 1 or more", n)
	}
	if err := p.Validate(r.Config.T); err != nil {
		return err
	}
	c, err := s.newest(ctx, r)
	if err != nil {
		return err
	}
	return s.withNetwork(ctx, r, c, func(net *ddpm.Network, schedule *ddpm.Schedule) error {
		report := newReport(ctx, "samples-"+r.ID, fmt.Sprintf("%s: samples in %s", r.Variant, inSteps(p.Steps)))
		m := r.Config.Model
		if err := ddpm.SampleTo(report.context(ctx), net, schedule, p, 0, n, m.Size, m.Size, m.InChannels, take); err != nil {
			return report.failed(err)
		}
		report.done()
		return nil
	})
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
