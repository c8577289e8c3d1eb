package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"testing"
)

// TestFresh fails when a table is not what the generator makes of the package today.
func TestFresh(t *testing.T) {
	if testing.Short() {
		t.Skip("takes over 2 s")
	}
	out, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	want := out.tables
	have, err := filepath.Glob("../table_*.go")
	if err != nil {
		t.Fatal(err)
	}
	if len(have) != len(want) {
		t.Errorf("%d tables, want %d; run `go generate ./kernel/symbols`", len(have), len(want))
	}
	for name, src := range want {
		b, err := os.ReadFile(filepath.Join("..", name))
		if err != nil || !bytes.Equal(b, src) {
			t.Errorf("%s is stale; run `go generate ./kernel/symbols`", name)
		}
	}
	for name, want := range out.archives() {
		have, err := readArchive(filepath.Join("..", "export", name))
		if err != nil || !maps.EqualFunc(have, want, bytes.Equal) {
			t.Errorf("export/%s is stale (%v); run `go generate ./kernel/symbols`", name, err)
		}
	}
}

// TestWrite checks that tables of packages no longer listed go, and others stay.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"table_old.go", "table_kept.go", "symbols.go"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("package symbols\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeTables(dir, map[string][]byte{"table_kept.go": []byte("package symbols\n"), "table_new.go": nil}); err != nil {
		t.Fatal(err)
	}
	got, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	for i, name := range []string{"symbols.go", "table_kept.go", "table_new.go"} {
		if len(got) != 3 || filepath.Base(got[i]) != name {
			t.Fatalf("files %q", got)
		}
	}
}
