package parquet_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/internal/parquet"
)

var update = flag.Bool("update", false, "write testdata/table.parquet anew; testdata/check.py reads it with pyarrow")

func table() []parquet.Column {
	return []parquet.Column{
		{Name: "id", Kind: parquet.Text, Values: []any{"a", nil, "γ", "", "e", "f", "g", "h", "i", "j"}},
		{Name: "n", Kind: parquet.Int64, Values: []any{int64(1), int64(math.MaxInt64), int64(-3), nil, nil, nil, nil, nil, nil, int64(math.MinInt64)}},
		{Name: "x", Kind: parquet.Float64, Values: []any{0.1, nil, math.Inf(1), math.NaN(), -0.5, 1., 2., 3., 4., 5.}},
		{Name: "ok", Kind: parquet.Bool, Values: []any{true, false, nil, true, true, true, true, true, true, true}},
		{Name: "at", Kind: parquet.Time, Values: []any{int64(1_700_000_000_123_456), nil, nil, nil, nil, nil, nil, nil, nil, int64(0)}},
	}
}

// The bytes are those that pyarrow read the table from, value by value: testdata/check.py.
func TestWrite(t *testing.T) {
	var b bytes.Buffer
	if err := parquet.Write(&b, table()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "table.parquet")
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("got %d bytes, want the %d of %s", b.Len(), len(want), golden)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		columns []parquet.Column
		want    string
	}{
		{[]parquet.Column{{Name: "a", Values: []any{nil}}, {Name: "b"}}, "column b has 0 values, want 1"},
		{[]parquet.Column{{Name: "a", Kind: parquet.Int64, Values: []any{1}}}, "column a has the value 1 of type int"},
		{[]parquet.Column{{Name: "a", Kind: parquet.Bool, Values: []any{"x"}}}, "column a has the value x of type string"},
	} {
		if err := parquet.Write(io.Discard, tt.columns); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
	if err := parquet.Write(failing{}, table()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v, want the writer's error", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
