package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/engine/device"
	"ddpmlab/experiments"
)

var sample = command{
	name:     "sample",
	args:     "RUN|FILE",
	synopsis: "Draw images from a run or a file of weights into a picture or array",
	help: `With the moving average of the run's weights, or with those in FILE: a checkpoint, or a state dict of the authors'
code as .pt or .safetensors, for which --preset (and --set) says what network it is. --out NAME.png is a grid of all
images; --out NAME.npz is one array arr_0 of N×H×W×C bytes, truncated as in the authors' code and as their evaluation
reads it. Image i of a seed is the same whatever N is. How they were drawn is written inside: in the PNG's text, and in
the archive's comment.

--steps is a number, or numbers by section of the schedule as 50,25,25, or ddimN.

With --json: an object {out, n, shape, source, sha256, sampling, evaluations, protocol}.`,
	examples: []string{
		"sample 01JZ8M -n 64 --steps 50 --out grid.png",
		"sample 01JZ8M -n 10000 --sampler ddim --eta 0.5 --steps ddim50 --out samples.npz",
		"sample ema_0.9999_460000.pt --preset cifar10 --steps 100 -n 50000 --out samples.npz",
	},
	setup: func(f *flag.FlagSet) action {
		n := f.Int("n", 64, "draw `N` images")
		steps := f.String("steps", "50", "in so many `STEPS` of the reverse chain, up to the run's T")
		out := f.String("out", "samples.png", "write to `FILE`, .png or .npz")
		seed := f.Uint64("seed", 0, "seed `N` of the noise; default: the run's")
		how := newSamplingFlags(f)
		net := newNetworkFlags(f)
		db := dbFlag(f)
		threads := threadsFlag(f)
		deviceFlag(f)
		asJSON := jsonFlag(f)
		return func(ctx context.Context, args []string, w world) error {
			ending := strings.ToLower(filepath.Ext(*out))
			if ending != ".png" && ending != ".npz" {
				return usagef("--out is %q; want a name that ends in .png (a grid) or .npz (an array)", *out)
			}
			if err := checkOut("--out", *out); err != nil {
				return err
			}
			if *n < 1 {
				return usagef("-n is %d; want 1 or more images", *n)
			}
			if ending == ".png" && *n > maxGrid {
				return usagef("-n is %d; a picture takes up to %d images: want --out NAME.npz", *n, maxGrid)
			}
			finish := func(c ddpm.Config, source, sum string, foreign bool, draw func(context.Context, ddpm.Sampling, func(ddpm.Images) error) error) error {
				p, err := how.apply(f, c.Sampling(), *steps, c.T)
				if err != nil {
					return err
				}
				as := experiments.Evaluating{N: *n, Sampling: p}
				if given(f, "seed") {
					as.Seeds = []uint64{*seed}
				}
				_, p, told := as.For(c)
				if foreign {
					told.EMA = emaUntold
				}
				d := drawing{
					Out: *out, N: *n, Shape: [3]int{c.Model.Size, c.Model.Size, c.Model.InChannels},
					Source: source, SHA256: sum, Sampling: p, Evaluations: p.Evaluations(),
					Protocol: told.Fields(),
				}
				shown, done := watch(ctx, w)
				err = d.write(func(take func(ddpm.Images) error) error { return draw(shown, p, take) })
				done()
				if err != nil {
					return err
				}
				if *asJSON {
					return printJSON(w.out, d)
				}
				return printf(w.out, "%v\n", d)
			}
			if exists(args[0]) {
				ck, err := net.read(args[0])
				if err != nil {
					return err
				}
				foreign, err := ddpm.NeedsConfig(args[0])
				if err != nil {
					return err
				}
				return finish(ck.Config, filepath.Base(args[0]), ck.SHA256(), foreign, func(ctx context.Context, p ddpm.Sampling, take func(ddpm.Images) error) error {
					return sampleFile(ctx, ck, p, *n, *threads, take)
				})
			}
			if looksLikeFile(args[0]) {
				return fmt.Errorf("%s: no such file", args[0])
			}
			if extra := net.given(f); extra != "" {
				return usagef("a run knows its network; leave out %s, or name a file", extra)
			}
			return withExisting(*db, *threads, func(s *experiments.Store) error {
				r, err := s.Run(ctx, args[0])
				if err != nil {
					return err
				}
				return finish(r.Config, r.ID, "", false, func(ctx context.Context, p ddpm.Sampling, take func(ddpm.Images) error) error {
					return s.DrawTo(ctx, r, *n, p, take)
				})
			})
		}
	},
}

// emaUntold stands in a protocol for the moving average that a state dict is, which does not
// tell it.
const emaUntold = "not told by the file"

// maxGrid is the largest number of images in a picture.
const maxGrid = 10_000

// sampleFile draws from a network that is in no database.
func sampleFile(ctx context.Context, c *ddpm.Checkpoint, p ddpm.Sampling, n, threads int, take func(ddpm.Images) error) (err error) {
	schedule, err := ddpm.NewSchedule(c.Config.Schedule, c.Config.T)
	if err != nil {
		return err
	}
	d, err := device.Open(os.Getenv(experiments.EnvDevice), threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	net, err := ddpm.NewNetwork(c, ddpm.WithDevice(d))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	m := c.Config.Model
	return ddpm.SampleTo(ctx, net, schedule, p, 0, n, m.Size, m.Size, m.InChannels, take)
}

// drawing is images that were drawn, and how: what is written beside and inside them.
type drawing struct {
	Out         string        `json:"out,omitempty"`
	N           int           `json:"n"`
	Shape       [3]int        `json:"shape"`
	Source      string        `json:"source"`           // the run, or the file
	SHA256      string        `json:"sha256,omitempty"` // of the weights, of a file
	Sampling    ddpm.Sampling `json:"sampling"`
	Evaluations int           `json:"evaluations"` // of the network, for each image
	// Protocol is what a score's protocol says of how they were drawn.
	Protocol map[string]any `json:"protocol"`
}

func (d drawing) String() string {
	p := d.Sampling
	name := p.Sampler
	if name == "" {
		name = ddpm.Ancestral + ", " + p.Variance + " variance"
	}
	steps := fmt.Sprintf("%d steps", p.Steps)
	if p.Steps == 1 {
		steps = "1 step"
	}
	if p.Respacing != "" {
		steps += " (" + p.Respacing + ")"
	}
	if d.Evaluations != p.Steps {
		steps += fmt.Sprintf(", %d evaluations of the network", d.Evaluations)
	}
	return fmt.Sprintf("%s: %d images of %d×%d×%d from %s; %s, in %s, seed %d",
		d.Out, d.N, d.Shape[0], d.Shape[1], d.Shape[2], d.Source, name, steps, p.Seed)
}

// write fills the file with what draw hands over. It appears complete or not at all.
func (d drawing) write(draw func(take func(ddpm.Images) error) error) error {
	inside := d
	inside.Out = "" // files of the same images are the same
	about, err := json.Marshal(inside)
	if err != nil {
		return err
	}
	h, w, c := d.Shape[0], d.Shape[1], d.Shape[2]
	if strings.ToLower(filepath.Ext(d.Out)) == ".png" {
		all := ddpm.NewImages(d.N, h, w, c)
		at := 0
		if err := draw(func(m ddpm.Images) error {
			at += copy(all.Pix[at:], m.Pix)
			return nil
		}); err != nil {
			return err
		}
		file, err := gridPNG(all, about)
		if err != nil {
			return fmt.Errorf("write %s: %w", d.Out, err)
		}
		return writeFile(d.Out, file)
	}
	return createFile(d.Out, func(f *os.File) error {
		buf := bufio.NewWriterSize(f, 1<<20)
		out, err := newNPZ(buf, d.N, h, w, c, string(about))
		if err != nil {
			return err
		}
		if err := draw(out.write); err != nil {
			return err
		}
		return errors.Join(out.close(), buf.Flush())
	})
}

// gridPNG is the images in a square, small ones enlarged, with what made them.
func gridPNG(m ddpm.Images, about []byte) ([]byte, error) {
	text := map[string]string{"Software": "ddpmlab"}
	if about != nil {
		text["ddpmlab"] = string(about)
	}
	return m.PNG(0, max(1, 56/m.W), text)
}
