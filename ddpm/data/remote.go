package data

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// remote is an archive (.tar.gz) as its authors publish it.
type remote struct {
	url    string
	bytes  int64
	sha256 string
}

// marker is the file in an unpacked archive's folder that says which archive that was. It is
// written last.
const marker = ".sha256"

// client waits for a server to answer, but not for a file to end, which may take hours.
func client() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = time.Minute
	return &http.Client{Transport: t}
}

// fetch brings the archive's files to the folder dir. What came before an interruption
// lies beside it, in dir.part, and is gone on with. The folder appears complete or not at
// all.
func (r remote) fetch(ctx context.Context, c *http.Client, dir string, progress func(done, total int64)) (Fetched, error) {
	if b, err := os.ReadFile(filepath.Join(dir, marker)); err == nil && strings.TrimSpace(string(b)) == r.sha256 {
		return Fetched{Path: dir}, nil
	}
	if _, err := os.Lstat(dir); err == nil {
		return Fetched{}, fmt.Errorf("%s is there already, and not from here; name another folder with --dir, or remove it", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Fetched{}, err
	}
	part := dir + ".part"
	if err := r.download(ctx, c, part, progress); err != nil {
		return Fetched{}, err
	}
	if err := r.unpack(part, dir); err != nil {
		return Fetched{}, err
	}
	return Fetched{Path: dir, From: r.url}, os.Remove(part)
}

// download completes the file part, and removes it if it turns out to be another.
func (r remote) download(ctx context.Context, c *http.Client, part string, progress func(done, total int64)) (err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	have, err := io.Copy(h, io.LimitReader(f, r.bytes+1))
	if err != nil {
		return err
	}
	if have < r.bytes {
		if have, err = r.get(ctx, c, f, h, have, progress); err != nil {
			return err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); have != r.bytes || got != r.sha256 {
		return errors.Join(fmt.Errorf("get %s: %d bytes with SHA-256 %s came, want %d with %s; try again, and if it stays so the file was changed",
			r.url, have, got, r.bytes, r.sha256), os.Remove(part))
	}
	return nil
}

// get appends to f what is missing after have bytes, whose sum is in h.
func (r remote) get(ctx context.Context, c *http.Client, f *os.File, h hash.Hash, have int64, progress func(done, total int64)) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return have, err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	resp, err := c.Do(req)
	if err != nil {
		return have, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusPartialContent && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)):
	case resp.StatusCode == http.StatusOK: // all of it, from the beginning
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return have, err
		}
		if err := f.Truncate(0); err != nil {
			return have, err
		}
		have = 0
		h.Reset()
	default:
		return have, fmt.Errorf("get %s: %s", r.url, resp.Status)
	}
	body := io.LimitReader(resp.Body, r.bytes-have+1)
	block := make([]byte, 1<<18)
	for {
		n, err := body.Read(block)
		if n > 0 {
			if _, err := f.Write(block[:n]); err != nil {
				return have, err
			}
			h.Write(block[:n])
			have += int64(n)
			progress(have, r.bytes)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return have, fmt.Errorf("get %s: %w after %d of %d MB, which are kept; run it again to go on", r.url, err, have>>20, r.bytes>>20)
		}
	}
	if have < r.bytes {
		return have, fmt.Errorf("get %s: it ended after %d of %d bytes, which are kept; run it again to go on", r.url, have, r.bytes)
	}
	return have, nil
}

// unpack makes the folder dir of the files in the archive, without the folders they are in
// there.
func (r remote) unpack(path, dir string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // gone already after the rename
	t := tar.NewReader(z)
	for {
		head, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		out, err := os.OpenFile(filepath.Join(tmp, filepath.Base(filepath.FromSlash(head.Name))), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, t)
		if err = errors.Join(err, out.Close()); err != nil {
			return fmt.Errorf("unpack %s: %w", path, err)
		}
	}
	if err := os.WriteFile(filepath.Join(tmp, marker), []byte(r.sha256+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}
