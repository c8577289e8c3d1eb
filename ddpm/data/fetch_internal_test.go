package data

import (
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
)

// A small file stands for the published ones; its sum is real.
func testFile(t *testing.T) (published, []byte) {
	t.Helper()
	content := bytes.Repeat([]byte("shoe and bag. "), 1000)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	return published{"train-x.gz", int64(len(content)), hex.EncodeToString(sum[:])}, b.Bytes()
}

// entries lists what is in dir: nothing half-written may stay.
func entries(t *testing.T, dir string) string {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range es {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFetchFile(t *testing.T) {
	p, good := testFile(t)
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	mux := http.NewServeMux()
	serve := func(path string, b []byte) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { w.Write(b) })
	}
	serve("/good/train-x.gz", good)
	serve("/bad/train-x.gz", bad)
	serve("/cut/train-x.gz", good[:len(good)/2])
	srv := httptest.NewServer(mux)
	defer srv.Close()
	debian := t.TempDir()
	if err := os.WriteFile(filepath.Join(debian, p.name), good, 0o644); err != nil {
		t.Fatal(err)
	}

	for _, tt := range []struct {
		name    string
		there   []byte // what lies at the destination before
		debian  string
		mirrors []string
		from    string // suffix
		err     string
	}{
		{"debian", nil, debian, nil, p.name, ""},
		{"there already", good, "", nil, "", ""},
		{"damaged before", bad, "", []string{"/good/"}, "/good/train-x.gz", ""},
		{"download", nil, "", []string{"/good/"}, "/good/train-x.gz", ""},
		{"second mirror", nil, "", []string{"/gone/", "/bad/", "/cut/", "/good/"}, "/good/train-x.gz", ""},
		{"gone", nil, "", []string{"/gone/"}, "", "404"},
		{"damaged", nil, "", []string{"/bad/"}, "", "damaged"},
		{"truncated", nil, "", []string{"/cut/"}, "", "damaged"},
		{"nowhere", nil, "", nil, "", "install Debian's package"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, p.name)
			if tt.there != nil {
				if err := os.WriteFile(path, tt.there, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			f := fetcher{debian: filepath.Join(tt.debian, "."), client: srv.Client()}
			if tt.debian == "" {
				f.debian = filepath.Join(dir, "none")
			}
			for _, m := range tt.mirrors {
				f.mirrors = append(f.mirrors, srv.URL+m)
			}
			got, err := f.file(t.Context(), p, path)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				if e := entries(t, dir); e != "" {
					t.Errorf("left behind: %s", e)
				}
				return
			}
			if err != nil || got.Path != path || !strings.HasSuffix(got.From, tt.from) {
				t.Errorf("got %+v, %v", got, err)
			}
			if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, good) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if e := entries(t, dir); e != p.name {
				t.Errorf("left behind: %s", e)
			}
		})
	}
}

func TestFetchCancelled(t *testing.T) {
	p, good := testFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(good[:10])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	dir := t.TempDir()
	f := fetcher{debian: filepath.Join(dir, "none"), mirrors: []string{srv.URL + "/", srv.URL + "/"}, client: srv.Client()}
	if _, err := f.file(ctx, p, filepath.Join(dir, p.name)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if e := entries(t, dir); e != "" {
		t.Errorf("left behind: %s", e)
	}
}

func TestFetchUnknown(t *testing.T) {
	for name, want := range map[string]string{"cifar": "fashion-mnist-train and cifar10", "imagenet32": "image-net.org"} {
		if _, err := Fetch(t.Context(), name, t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

// What is fetched is what OpenFrom reads. The 60,000 images must be somewhere on
// this machine.
func TestFetchedOpens(t *testing.T) {
	path, err := sources[fashionTrain].images.find("")
	if err != nil || testing.Short() {
		t.Skip("needs the 60,000 training images and some seconds")
	}
	dir := t.TempDir()
	f := fetcher{debian: filepath.Dir(path)}
	if _, err := f.fetch(t.Context(), fashionTest, filepath.Join(dir, fashionTest)); err != nil {
		t.Fatal(err)
	}
	if s, err := OpenFrom(fashionTrain, 28, dir); err != nil || s.Len() != 60000 {
		t.Fatal(err)
	}
}
