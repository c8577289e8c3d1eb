package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Fetched says what Fetch did with one file.
type Fetched struct {
	Path string // where the file is now
	From string // the file or address it was copied from; empty if it was there already
}

// Fetch brings the files of the set called name to dir, or to ddpmlab/data in the user's
// cache folder if dir is empty. progress is told bytes; it may be nil.
//
// Of Fashion-MNIST these are the 60,000 training images (26 MB), whichever of its two names
// is given, since the test images are built in: from Debian's package
// dataset-fashion-mnist where that is installed, otherwise from the authors' site.
// CIFAR-10 (162 MB) is the authors' binary version. Of the other sets none may be fetched by
// a program; the error tells how to get them.
//
// A file appears under its name only when its SHA-256 is right; one that is
// there and right is left alone. An interrupted download of an archive goes on where it
// stopped.
func Fetch(ctx context.Context, name, dir string, progress func(done, total int64)) ([]Fetched, error) {
	sub := name
	if name == fashionTrain {
		sub = fashionTest
	}
	if dir == "" {
		d, err := cacheFolder()
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w; name a folder", name, err)
		}
		dir = filepath.Join(d, sub)
	}
	if progress == nil {
		progress = func(int64, int64) {}
	}
	for _, k := range known {
		if k.name != name {
			continue
		}
		if k.fetch == nil {
			return nil, fmt.Errorf("fetch %s: nobody may fetch it without asking; %s, and train with --data PATH", name, k.get)
		}
		got, err := k.fetch.fetch(ctx, client(), dir, progress)
		if err != nil {
			return nil, fmt.Errorf("fetch %s: %w", name, err)
		}
		return []Fetched{got}, nil
	}
	f := fetcher{debian: debianFolder, mirrors: mirrors, client: &http.Client{Timeout: 10 * time.Minute}}
	return f.fetch(ctx, name, dir)
}

// mirrors publish the files under their names; the first is the address in the
// authors' README, the second their repository. Neither is trusted: sums are
// checked.
var mirrors = []string{
	"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
	"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
}

type fetcher struct {
	debian  string
	mirrors []string
	client  *http.Client
}

func (f fetcher) fetch(ctx context.Context, name, dir string) ([]Fetched, error) {
	if name != fashionTest && name != fashionTrain {
		return nil, fmt.Errorf("fetch %s: no such data set to fetch; there are %s and cifar10", name, fashionTrain)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("fetch %s: %w", name, err)
	}
	src := sources[fashionTrain]
	var done []Fetched
	for _, file := range []published{src.images, src.labels} {
		got, err := f.file(ctx, file, filepath.Join(dir, file.name))
		if err != nil {
			return done, fmt.Errorf("fetch %s: %w", file.name, err)
		}
		done = append(done, got)
	}
	return done, nil
}

// file brings one file to path, trying each place in turn.
func (f fetcher) file(ctx context.Context, p published, path string) (Fetched, error) {
	if r, err := os.Open(path); err == nil {
		_, err = p.content(r)
		r.Close()
		if err == nil {
			return Fetched{Path: path}, nil
		}
	}
	local := filepath.Join(f.debian, p.name)
	err := f.save(p, path, func() (io.ReadCloser, error) { return os.Open(local) })
	if err == nil {
		return Fetched{Path: path, From: local}, nil
	}
	var tried string // what each place answered, in one line
	if !errors.Is(err, os.ErrNotExist) {
		tried = fmt.Sprintf("%s: %v; ", local, err)
	}
	for _, m := range f.mirrors {
		err := f.save(p, path, func() (io.ReadCloser, error) { return f.get(ctx, m+p.name) })
		if err == nil {
			return Fetched{Path: path, From: m + p.name}, nil
		}
		if ctx.Err() != nil {
			return Fetched{}, ctx.Err()
		}
		tried += err.Error() + "; "
	}
	return Fetched{}, fmt.Errorf("%sinstall Debian's package dataset-fashion-mnist, or copy the file to %s", tried, path)
}

func (f fetcher) get(ctx context.Context, url string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("get %s: %s", url, resp.Status)
	}
	return resp.Body, nil
}

// save copies what open delivers to a temporary file beside path, checks it and
// renames it, so that path is never half written.
func (f fetcher) save(p published, path string, open func() (io.ReadCloser, error)) error {
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+p.name+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already after the rename
	defer tmp.Close()
	// The published file is smaller than its content; more than that is not it.
	if _, err := io.Copy(tmp, io.LimitReader(r, p.bytes+1)); err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := p.content(tmp); err != nil {
		return fmt.Errorf("what came is damaged: %w", err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
