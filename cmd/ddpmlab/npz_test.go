package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

// The format is numpy/lib/format.py's version 1.0, read here step by step. NumPy 2.4
// reads the same file (checked by hand).
func TestNPZ(t *testing.T) {
	m := ddpm.NewImages(3, 2, 5, 1)
	for i := range m.Pix {
		m.Pix[i] = float32(i)/15 - 1
	}
	var buf bytes.Buffer
	out, err := newNPZ(&buf, 3, 2, 5, 1, `{"steps": 7}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.write(m.Part(0, 2)); err != nil {
		t.Fatal(err)
	}
	if err := out.close(); err == nil {
		t.Error("closed with an image missing")
	}
	if err := errors.Join(out.write(m.Part(2, 3)), out.close()); err != nil {
		t.Fatal(err)
	}
	if out.write(m.Part(0, 1)) == nil {
		t.Error("written more than there is room for")
	}
	file := buf.Bytes()
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil || len(z.File) != 1 || z.File[0].Name != "arr_0.npy" {
		t.Fatalf("got %v, %v, want arr_0.npy alone", z, err)
	}
	if z.Comment != `{"steps": 7}` {
		t.Errorf("comment %q", z.Comment)
	}
	r, err := z.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if magic := "\x93NUMPY\x01\x00"; !strings.HasPrefix(string(b), magic) {
		t.Fatalf("got % x, want %q first", b[:8], magic)
	}
	end := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	head := string(b[10:end])
	if end%64 != 0 || !strings.HasSuffix(head, "\n") {
		t.Errorf("the data begin at %d, want a multiple of 64 after a line end", end)
	}
	if want := "{'descr': '|u1', 'fortran_order': False, 'shape': (3, 2, 5, 1), }"; strings.TrimSpace(head) != want {
		t.Errorf("got %s, want %s", head, want)
	}
	if got, want := b[end:], m.Bytes(); !bytes.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
