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
	kindRun        subjectKind = iota // an id, of which images are drawn
	kindFolder                        // of images
	kindArchive                       // .npz of images
	kindStatistics                    // .npz with mu and sigma
	kindSet                           // a data set's name
	kindCheckpoint                    // a file, of which images are drawn
)

// subject tells what an argument is.
func (e *evaluation) subject(arg string) (subject, error) {
	kind := kindRun
	switch info, err := os.Stat(arg); {
	case errors.Is(err, fs.ErrNotExist):
		switch {
		case slices.Contains(data.Names(), arg):
			kind = kindSet
		case strings.ContainsAny(arg, `/\.`):
			return subject{}, fmt.Errorf("%s: no such file or folder", arg)
		}
	case err != nil:
		return subject{}, err
	case info.IsDir():
		kind = kindFolder
	case strings.EqualFold(filepath.Ext(arg), ".npz"):
		kind = kindArchive
		if is, err := fid.IsReference(arg); err != nil {
			return subject{}, err
		} else if is {
			kind = kindStatistics
		}
	default:
		kind = kindCheckpoint
	}
	return subject{arg, kind}, nil
}

// openImages opens images that are there: a folder, an .npz file, a data set, of the size
// that e has if it is published in several.
func (e *evaluation) openImages(arg string) (*fid.Source, error) {
	s, err := e.subject(arg)
	if err != nil {
		return nil, err
	}
	switch s.kind {
	case kindFolder:
		return fid.OpenFolder(arg)
	case kindArchive, kindStatistics:
		return fid.OpenArchive(arg)
	case kindSet:
		set, err := data.Open(arg, cmp.Or(e.size, fullSize))
		if err != nil {
			return nil, err
		}
		return fid.OfSet(set), nil
	}
	return nil, fmt.Errorf("%s is neither a folder nor an .npz file nor a data set; those are %s", arg, strings.Join(data.Names(), ", "))
}

// source opens or draws images, and tells how they were drawn.
func (e *evaluation) source(ctx context.Context, s subject) (*fid.Source, fid.Protocol, error) {
	switch s.kind {
	case kindRun:
		var out *fid.Source
		var p fid.Protocol
		err := withExisting(*e.db, *e.threads, func(store *experiments.Store) error {
			r, err := store.Run(ctx, s.arg)
			if err != nil {
				return err
			}
			out, p, err = store.Source(ctx, r, e.how(nil))
			return err
		})
		return out, p, err
	case kindCheckpoint:
		return e.fromCheckpoint(ctx, s.arg)
	}
	out, err := e.openImages(s.arg)
	return out, fid.Protocol{}, err
}

// fromCheckpoint draws images from a checkpoint in a file.
func (e *evaluation) fromCheckpoint(ctx context.Context, path string) (_ *fid.Source, _ fid.Protocol, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fid.Protocol{}, err
	}
	c, err := ddpm.ReadCheckpoint(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fid.Protocol{}, fmt.Errorf("%s: %w", path, err)
	}
	n, p, told := e.how(nil).For(c.Config)
	net, err := ddpm.NewNetwork(c, ddpm.WithThreads(*e.threads))
	if err != nil {
		return nil, fid.Protocol{}, err
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	schedule, err := ddpm.NewSchedule(c.Config.Schedule, c.Config.T)
	if err != nil {
		return nil, fid.Protocol{}, err
	}
	m := c.Config.Model
	images, err := ddpm.Sample(ctx, net, schedule, p, 0, n, m.Size, m.Size, m.InChannels)
	if err != nil {
		return nil, fid.Protocol{}, err
	}
	name := fmt.Sprintf("%s, checkpoint of step %d", c.Variant, c.Step)
	return fid.Truncated(name, n, m.Size, m.Size, m.InChannels, images.Pix), told, nil
}

// against opens what samples are compared with.
func (e *evaluation) against(ctx context.Context, s subject) (fid.Against, error) {
	if s.kind == kindStatistics {
		r, err := fid.ReadReference(s.arg)
		return fid.Against{Statistics: r}, err
	}
	images, _, err := e.source(ctx, s)
	return fid.Against{Images: images}, err
}

// weightsVariable is the environment variable that names the weights of Inception.
const weightsVariable = "DDPMLAB_INCEPTION"

// openNetwork opens the extractor for images of that size: the built-in classifier for
// grey ones of 28×28 and 14×14, unless weights of Inception are named, else Inception.
func openNetwork(w world, height, width, channels int, weights string, threads int) (_ fid.Network, end func(), err error) {
	if weights == "" && channels == 1 && height == width && (height == 28 || height == 14) {
		e, err := fid.FashionCNN(threads)
		if err != nil {
			return nil, nil, err
		}
		return e, func() { e.Close() }, nil
	}
	path := cmp.Or(weights, w.env(weightsVariable))
	if path == "" {
		return nil, nil, fmt.Errorf("images of %d×%d×%d are scored by Inception, whose weights are not here; name the file pt_inception-2015-12-05-6726825d.pth by --weights or %s",
			height, width, channels, weightsVariable)
	}
	return openInception(path, threads)
}
