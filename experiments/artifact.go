package experiments

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxInside is the size in bytes up to which an artifact lies inside the database.
const maxInside = 256 << 10

// errChanged is returned when an artifact's bytes do not have its SHA-256.
var errChanged = errors.New("its bytes have changed")

const (
	insertArtifact = `INSERT INTO artifact (sha256, size, body, created) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`
	selectArtifact = `SELECT size, body FROM artifact WHERE sha256 = ?`
)

// file is where an artifact lies in the store folder: ab/abcdef...
func (s *Store) file(sum string) string { return filepath.Join(s.files, sum[:2], sum) }

// saveFile writes an artifact into the store folder: to a temporary file, to disk, and
// then under its SHA-256, so that no name ever means half a file.
func (s *Store) saveFile(write func(io.Writer) error) (sum string, size int64, err error) {
	if err := os.MkdirAll(s.files, 0o777); err != nil {
		return "", 0, explain(s.files, err)
	}
	f, err := os.CreateTemp(s.files, "new-*")
	if err != nil {
		return "", 0, explain(s.files, err)
	}
	defer func() {
		f.Close()           // a second Close does nothing
		os.Remove(f.Name()) // gone already, when all went well
	}()
	h := sha256.New()
	if err := write(io.MultiWriter(f, h)); err != nil {
		return "", 0, explain(s.files, err)
	}
	if size, err = f.Seek(0, io.SeekEnd); err != nil {
		return "", 0, explain(s.files, err)
	}
	if err := errors.Join(f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return "", 0, explain(s.files, err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	path := s.file(sum)
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return "", 0, explain(s.files, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", 0, explain(s.files, err)
	}
	for _, dir := range []string{filepath.Dir(path), s.files} { // the name too survives a power cut
		if err := syncFolder(dir); err != nil {
			return "", 0, explain(s.files, err)
		}
	}
	return sum, size, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// putInside stores a small artifact in the database.
func (s *Store) putInside(ctx context.Context, tx *sql.Tx, body []byte) (sum string, err error) {
	if len(body) > maxInside {
		return "", fmt.Errorf("artifact of %d bytes; the database takes up to %d", len(body), maxInside)
	}
	sum = sha256Hex(body)
	_, err = tx.ExecContext(ctx, insertArtifact, sum, len(body), body, s.micros())
	return sum, err
}

// artifact opens an artifact. Its reader fails at the end when the bytes are not those
// of its SHA-256.
func (s *Store) artifact(ctx context.Context, sum string) (io.ReadCloser, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	var size int64
	var body []byte
	err = db.QueryRowContext(ctx, selectArtifact, sum).Scan(&size, &body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("artifact %s: %w", sum, fs.ErrNotExist)
	case err != nil:
		return nil, explain(s.path, err)
	case body != nil || size == 0:
		return &checked{r: io.NopCloser(bytes.NewReader(body)), h: sha256.New(), sum: sum}, nil
	}
	f, err := os.Open(s.file(sum))
	if err != nil {
		return nil, err
	}
	return &checked{r: f, h: sha256.New(), sum: sum}, nil
}

// checked reads an artifact and compares its sum.
type checked struct {
	r   io.ReadCloser
	h   hash.Hash
	sum string
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(c.h.Sum(nil)) != c.sum {
		return n, errChanged
	}
	return n, err
}

func (c *checked) Close() error { return c.r.Close() }
