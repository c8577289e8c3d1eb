package experiments

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Artifacts come back as they were stored, or with an error: never changed.
func TestArtifact(t *testing.T) {
	s := testStore(t)
	const text = "some bytes"
	sum, size, err := s.saveFile(func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
	if err != nil || size != int64(len(text)) || sum != sha256Hex([]byte(text)) {
		t.Fatalf("got %s of %d bytes, error %v", sum, size, err)
	}
	inside := ""
	err = s.do(false, func(tx *sql.Tx) (err error) {
		if _, err := tx.Exec(insertArtifact, sum, size, nil, 0); err != nil {
			return err
		}
		inside, err = s.putInside(context.Background(), tx, []byte("other bytes"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	read := func(sum string) (string, error) {
		f, err := s.artifact(t.Context(), sum)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		return string(b), err
	}
	if got, err := read(sum); got != text || err != nil {
		t.Errorf("got %q, error %v, want %q", got, err, text)
	}
	if got, err := read(inside); got != "other bytes" || err != nil {
		t.Errorf("got %q, error %v, want the bytes from inside", got, err)
	}
	if err := os.WriteFile(s.file(sum), []byte("some bytez"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := read(sum); !errors.Is(err, errChanged) {
		t.Errorf("got %v of a changed file, want errChanged", err)
	}
	if err := os.Remove(s.file(sum)); err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{sum, "00"} {
		if _, err := read(absent); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v of an absent artifact, want ErrNotExist", err)
		}
	}
	if err := s.do(false, func(tx *sql.Tx) error {
		_, err := s.putInside(context.Background(), tx, make([]byte, maxInside+1))
		return err
	}); err == nil {
		t.Error("got no error for an artifact that is too large for the database")
	}
}

// A file that cannot be completed leaves nothing behind.
func TestSaveFileFails(t *testing.T) {
	s := testStore(t)
	want := errors.New("no more")
	_, _, err := s.saveFile(func(w io.Writer) error {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return err
		}
		return want
	})
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if left, _ := filepath.Glob(filepath.Join(s.files, "*")); len(left) != 0 {
		t.Errorf("got %v left behind, want nothing", left)
	}
}
