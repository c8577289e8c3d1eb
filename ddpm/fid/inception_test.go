package fid_test

import (
	"archive/zip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/fid"
	"ddpmlab/ddpm/inception"
	"ddpmlab/ddpm/inception/inceptiontest"
	"ddpmlab/ddpm/tensorfile"
)

// writeInception writes a file of weights of Inception's shapes, random ones, and returns
// its path.
func writeInception(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "weights.pth")
	if err := inceptiontest.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// saveNPZ writes the weights of a file as numpy.savez does, and returns its path.
func saveNPZ(t *testing.T, path string) string {
	t.Helper()
	in, err := tensorfile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out := filepath.Join(t.TempDir(), "weights.npz")
	file, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(file)
	for _, x := range in.Tensors {
		dims := strings.Trim(strings.ReplaceAll(fmt.Sprint(x.Shape), " ", ", "), "[]") + ","
		head := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }\n", dims)
		numbers, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: x.Name + ".npy", Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		text := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(head)))
		if _, err := w.Write(slices.Concat(text, []byte(head), numbers)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInception(t *testing.T) {
	if testing.Short() {
		t.Skip("writes and reads 95 MB of weights")
	}
	path := writeInception(t)
	if _, err := fid.OpenInception(path, fid.InceptionOptions{}); err == nil || !strings.Contains(err.Error(), "want "+inception.SHA256) || !strings.Contains(err.Error(), "--any-weights") {
		t.Errorf("got %v for other weights, want an error that shows both checksums", err)
	}
	e, err := fid.OpenInception(path, fid.InceptionOptions{AnyWeights: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if name := fid.MetricName(e.Name()); !strings.HasPrefix(name, "FD (inception, weights ") || !strings.Contains(name, e.SHA256()[:8]) {
		t.Errorf("with other weights the metric is %q; want one that is not FID and tells the checksum", name)
	}
	var _ fid.Network = e

	// 17 images are more than a batch. Images do not see each other.
	const n, h, w = 17, 8, 10
	bytes := make([]byte, n*h*w*3)
	for i := range bytes {
		bytes[i] = byte(i * i / 7)
	}
	ctx := context.Background()
	all, err := e.Outputs(ctx, bytes, n, h, w, 3)
	if err != nil {
		t.Fatal(err)
	}
	last, err := e.Outputs(ctx, bytes[16*h*w*3:], 1, h, w, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		name      string
		all, last []float32
		dim       int
	}{
		{"pool", all.Pool, last.Pool, e.Dim()}, {"spatial", all.Spatial, last.Spatial, e.SpatialDim()}, {"logits", all.Logits, last.Logits, e.Classes()},
	} {
		if len(o.all) != n*o.dim || !slices.Equal(o.all[16*o.dim:], o.last) {
			t.Errorf("%s: %d numbers, want %d; the last image alone differs: %v", o.name, len(o.all), n*o.dim, !slices.Equal(o.all[len(o.all)-o.dim:], o.last))
		}
		if slices.Equal(o.all[:o.dim], o.last) {
			t.Errorf("%s: two images have the same", o.name)
		}
	}

	// Floats in [-1, 1] are the bytes on another scale, grey images three equal colours.
	grey, x, rgb := bytes[:h*w], make([]float32, h*w), make([]byte, 3*h*w)
	for i, b := range grey {
		x[i] = float32(b)/127.5 - 1
		rgb[3*i], rgb[3*i+1], rgb[3*i+2] = b, b, b
	}
	colours, err := e.Outputs(ctx, rgb, 1, h, w, 3)
	if err != nil {
		t.Fatal(err)
	}
	features, err := e.Features(ctx, x, 1, h, w, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range colours.Pool {
		if d := math.Abs(features[i] - float64(v)); !(d <= 1e-4*(1+math.Abs(float64(v)))) {
			t.Fatalf("feature %d of a grey image of floats %g, of colours of bytes %g", i, features[i], v)
		}
	}

	if _, err := e.Outputs(ctx, bytes[:4*4*2], 1, 4, 4, 2); err == nil || !strings.Contains(err.Error(), "want 1 or 3 channels") {
		t.Errorf("got %v for 2 channels", err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := e.Outputs(cancelled, bytes, n, h, w, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was cancelled", err)
	}
	// The same weights as NumPy saves them.
	saved, err := fid.OpenInception(saveNPZ(t, path), fid.InceptionOptions{AnyWeights: true})
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	again, err := saved.Outputs(ctx, bytes[:h*w*3], 1, h, w, 3)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(again.Pool, all.Pool[:e.Dim()]) || saved.Name() == e.Name() {
		t.Errorf("weights of an .npz give other features, or are called %q as those of the .pth", saved.Name())
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Outputs(ctx, bytes, n, h, w, 3); err == nil || !strings.Contains(err.Error(), "after Close") {
		t.Errorf("got %v after Close", err)
	}
}

func TestOpenInceptionRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weights.pth")
	if _, err := fid.OpenInception(path, fid.InceptionOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v for no file", err)
	}
	if err := os.WriteFile(path, []byte("not weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		any  bool
		want string
	}{{false, "has SHA-256 "}, {true, path}} {
		if _, err := fid.OpenInception(path, fid.InceptionOptions{AnyWeights: tt.any}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v for a text, want an error with %q", err, tt.want)
		}
	}
}
