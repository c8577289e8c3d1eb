package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
	"ddpmlab/experiments"
)

// subject is one of the things that evaluate takes.
type subject struct {
	arg  string
	kind subjectKind
}

type subjectKind int

const (
	kindNone       subjectKind = iota
	kindRun                    // an id, of which images are drawn
	kindWeights                // a checkpoint or file of weights, of which images are drawn
	kindFolder                 // of images
	kindArchive                // .npz of images
	kindStatistics             // .npz with mu and sigma
	kindSet                    // a data set's name, or files in another of its formats
)

// drawn reports whether images are drawn of it.
func (s subject) drawn() bool { return s.kind == kindRun || s.kind == kindWeights }

// weightEndings are those of files of weights.
var weightEndings = []string{".pt", ".pth", ".ckpt", ".safetensors"}

// subjectOf tells what an argument is.
func subjectOf(arg string) (subject, error) {
	kind := kindSet
	ending := strings.ToLower(filepath.Ext(arg))
	switch info, err := os.Stat(arg); {
	case slices.Contains(data.Names(), arg):
	case errors.Is(err, fs.ErrNotExist):
		if looksLikeFile(arg) {
			return subject{}, fmt.Errorf("%s: no such file or folder", arg)
		}
		if err := misspelt(arg); err != nil {
			return subject{}, err
		}
		kind = kindRun
	case err != nil:
		return subject{}, err
	case info.IsDir():
		kind = kindFolder
	case ending == ".npz":
		kind = kindArchive
		if is, err := fid.IsReference(arg); err != nil {
			return subject{}, err
		} else if is {
			kind = kindStatistics
		}
	case slices.Contains(weightEndings, ending):
		kind = kindWeights
	default:
		foreign, err := ddpm.NeedsConfig(arg)
		if err != nil {
			return subject{}, err
		}
		if !foreign {
			kind = kindWeights
		}
	}
	return subject{arg, kind}, nil
}

// run is the run that the argument means, for all other things are not there.
func (s subject) run(ctx context.Context, store *experiments.Store) (*experiments.Run, error) {
	r, err := store.Run(ctx, s.arg)
	if errors.Is(err, experiments.ErrNoRun) {
		return nil, fmt.Errorf("%q is no file, folder or data set, nor a run: %w", s.arg, err)
	}
	return r, err
}

// images opens images that are there, those of a set that comes in several sizes in that
// one; 0: the largest.
func (s subject) images(size int) (*fid.Source, error) {
	switch s.kind {
	case kindArchive, kindStatistics:
		return fid.OpenArchive(s.arg)
	case kindFolder:
		images, err := fid.OpenFolder(s.arg)
		if !errors.Is(err, fid.ErrNoImages) {
			return images, err
		} // batches of arrays, or LSUN's
	case kindSet:
	default:
		return nil, fmt.Errorf("%s is neither a folder nor a file of images nor a data set; those are %s", s.arg, strings.Join(data.Names(), ", "))
	}
	switch {
	case !data.Fixed(s.arg):
		size = 0
	case size == 0:
		size = fullSizeOf(s.arg)
	}
	set, err := data.Open(s.arg, size)
	if _, ok := errors.AsType[*data.MixedError](err); ok {
		return nil, fmt.Errorf("%w; make a reference of them first, as `ddpmlab evaluate ref %s --size 64 --out ref.npz`", err, s.arg)
	}
	if err != nil {
		return nil, err
	}
	return ofFiles(set, s.arg), nil
}

// ofFiles are the images of a set. Those of files are known by their bytes, as in all other
// formats.
func ofFiles(set data.Set, arg string) *fid.Source {
	source := fid.OfSet(set)
	if !slices.Contains(data.Names(), arg) {
		source.Name, source.SHA256 = filepath.Base(filepath.Clean(arg)), ""
	}
	return source
}

// real opens images that are there, for a reference: image files cropped to --size.
func (e *evaluation) real(arg string) (*fid.Source, error) {
	s, err := subjectOf(arg)
	if err != nil {
		return nil, err
	}
	if e.size == 0 || s.drawn() {
		return s.images(0)
	}
	set, err := data.Open(arg, e.size)
	if err != nil {
		return nil, err
	}
	return ofFiles(set, arg), nil
}

// opened is images that are there, or that can be drawn.
type opened struct {
	images *fid.Source // of those to be drawn only what they will be is known
	draw   func(ctx context.Context) (*fid.Source, error)
	seed   uint64 // that they are drawn with
}

// open opens a subject that has images. Those of a network are drawn with the first of the
// seeds; none: its own.
func (e *evaluation) open(ctx context.Context, s subject, size int, seeds []uint64) (opened, error) {
	switch s.kind {
	case kindRun:
		var r *experiments.Run
		var how experiments.Evaluating
		if err := withExisting(*e.db, *e.threads, func(store *experiments.Store) (err error) {
			if r, err = s.run(ctx, store); err == nil {
				how, err = e.how(r.Config, seeds, nil)
			}
			return err
		}); err != nil {
			return opened{}, err
		}
		n, p, told := how.For(r.Config)
		o := toDraw(fmt.Sprintf("%s, run %s", r.Variant, r.ID), n, r.Config, p, told)
		o.draw = func(ctx context.Context) (out *fid.Source, err error) {
			err = withExisting(*e.db, *e.threads, func(store *experiments.Store) (err error) {
				out, err = store.Source(ctx, r, how)
				return err
			})
			return out, err
		}
		return o, nil
	case kindWeights:
		c, err := e.network.read(s.arg)
		if err != nil {
			return opened{}, err
		}
		how, err := e.how(c.Config, seeds, nil)
		if err != nil {
			return opened{}, err
		}
		n, p, told := how.For(c.Config)
		foreign, err := ddpm.NeedsConfig(s.arg)
		if err != nil {
			return opened{}, err
		}
		name := fmt.Sprintf("%s, checkpoint of step %d", c.Variant, c.Step)
		if foreign {
			name, told.EMA = filepath.Base(s.arg), emaUntold
		}
		o := toDraw(name, n, c.Config, p, told)
		o.draw = func(ctx context.Context) (*fid.Source, error) {
			m := c.Config.Model
			all := ddpm.NewImages(n, m.Size, m.Size, m.InChannels)
			at := 0
			if err := sampleFile(ctx, c, p, n, *e.threads, func(part ddpm.Images) error {
				at += copy(all.Pix[at:], part.Pix)
				return nil
			}); err != nil {
				return nil, err
			}
			out := fid.Truncated(name, n, m.Size, m.Size, m.InChannels, all.Pix)
			out.Drawn = told
			return out, nil
		}
		return o, nil
	}
	images, err := s.images(size)
	return opened{images: images, draw: func(context.Context) (*fid.Source, error) { return images, nil }}, err
}

// toDraw is images that a network with this configuration will draw.
func toDraw(name string, n int, c ddpm.Config, p ddpm.Sampling, told fid.Protocol) opened {
	m := c.Model
	o := opened{images: fid.Truncated(name, n, m.Size, m.Size, m.InChannels, nil), seed: p.Seed}
	o.images.Drawn = told
	return o
}

// against opens what samples of that size are compared with, and draws it if need be.
func (e *evaluation) against(ctx context.Context, s subject, size int) (fid.Against, error) {
	if s.kind == kindStatistics {
		r, err := fid.ReadReference(s.arg)
		return fid.Against{Statistics: r}, err
	}
	o, err := e.open(ctx, s, size, e.seeds[:min(1, len(e.seeds))])
	if err != nil {
		return fid.Against{}, err
	}
	images, err := o.draw(ctx)
	return fid.Against{Images: images}, err
}

// weightsVariable is the environment variable that names the weights of Inception.
const weightsVariable = "DDPMLAB_INCEPTION"

// extractor opens the extractor for images of that size: the built-in classifier for grey
// ones of 28×28 and 14×14, unless weights of Inception are named, else Inception.
func (e *evaluation) extractor(w world, height, width, channels int) (_ fid.Network, end func(), err error) {
	if e.weights == "" && channels == 1 && height == width && (height == 28 || height == 14) {
		x, err := fid.FashionCNN(*e.threads)
		if err != nil {
			return nil, nil, err
		}
		return x, func() { x.Close() }, nil
	}
	path := cmp.Or(e.weights, w.env(weightsVariable))
	if path == "" {
		return nil, nil, fmt.Errorf("images of %d×%d×%d are scored by Inception, whose weights are not here (grey ones of 28×28 and 14×14 need none); name the file pt_inception-2015-12-05-6726825d.pth by --weights or %s",
			height, width, channels, weightsVariable)
	}
	x, err := fid.OpenInception(path, fid.InceptionOptions{Threads: *e.threads, AnyWeights: e.anyWeights})
	if err != nil {
		return nil, nil, err
	}
	return x, func() { x.Close() }, nil
}
