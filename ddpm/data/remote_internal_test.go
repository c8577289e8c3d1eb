package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testArchive is CIFAR-10's archive in small: a folder with batches of testdata.
func testArchive(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range []string{"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"} {
		body, err := os.ReadFile("testdata/cifar-bin/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: "../cifar-10-batches-bin/" + name, Mode: 0o600, Size: int64(len(body)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A download that breaks off goes on where it stopped, is checked, and opens.
func TestRemote(t *testing.T) {
	archive := testArchive(t)
	sum := sha256.Sum256(archive)
	ranges := []string{}
	cut := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if cut { // promise all, send a third
			w.Header().Set("Content-Length", "1000000")
			w.Write(archive[:len(archive)/3])
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(archive))
	}))
	defer srv.Close()
	r := remote{url: srv.URL, bytes: int64(len(archive)), sha256: hex.EncodeToString(sum[:])}
	parent := t.TempDir()
	dir := filepath.Join(parent, "cifar10")
	told := int64(0)
	progress := func(done, total int64) { told = done }

	if _, err := r.fetch(t.Context(), srv.Client(), dir, progress); err == nil || !strings.Contains(err.Error(), "run it again to go on") {
		t.Fatalf("error %v", err)
	}
	if e := entries(t, parent); e != "cifar10.part" || told != int64(len(archive)/3) {
		t.Fatalf("left behind: %s, %d bytes told", e, told)
	}
	cut = false
	got, err := r.fetch(t.Context(), srv.Client(), dir, progress)
	if err != nil || got.From != srv.URL || told != r.bytes {
		t.Fatalf("got %+v, %v", got, err)
	}
	if len(ranges) != 2 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") {
		t.Errorf("asked for %q", ranges)
	}
	if e := entries(t, parent); e != "cifar10" {
		t.Errorf("left behind: %s", e)
	}
	if s, err := OpenPath(dir, 32, Options{}); err != nil || s.Len() != 5 {
		t.Errorf("what was fetched: %v, %v", s, err)
	}
	if got, err = r.fetch(t.Context(), srv.Client(), dir, progress); err != nil || got.From != "" || len(ranges) != 2 {
		t.Errorf("fetched again: %+v, %v", got, err)
	}

	// Another file than the published one is not kept.
	r.sha256 = strings.Repeat("0", 64)
	other := filepath.Join(parent, "other")
	if _, err := r.fetch(t.Context(), srv.Client(), other, progress); err == nil || !strings.Contains(err.Error(), "want") {
		t.Errorf("error %v", err)
	}
	if e := entries(t, parent); e != "cifar10" {
		t.Errorf("left behind: %s", e)
	}
	// Nor is a user's folder touched.
	if _, err := r.fetch(t.Context(), srv.Client(), dir, progress); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.fetch(ctx, srv.Client(), other, progress); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
