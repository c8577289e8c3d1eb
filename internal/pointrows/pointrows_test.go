package pointrows_test

import (
	"database/sql"
	"math"
	"testing"

	"ddpmlab/internal/pointrows"
)

func TestBlock(t *testing.T) {
	if !pointrows.Available {
		t.Skip("not on this system")
	}
	if err := pointrows.Register(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite3", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var block []byte
	if err := db.QueryRow("SELECT point_rows(1, 2, 3) WHERE false").Scan(&block); err != nil || pointrows.Count(block) != 0 {
		t.Errorf("got %d rows of none, error %v", pointrows.Count(block), err)
	}
	const n = 5000 // its memory grows
	if err := db.QueryRow(`WITH RECURSIVE s(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s LIMIT ?)
		SELECT point_rows(i, -i, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN i / 7.0 ELSE 9e999 END) FROM s`, n).Scan(&block); err != nil {
		t.Fatal(err)
	}
	if pointrows.Count(block) != n {
		t.Fatalf("got %d rows, want %d", pointrows.Count(block), n)
	}
	for i := range n {
		step, time, value := pointrows.At(block, i)
		want := []float64{math.NaN(), float64(i) / 7, math.Inf(1)}[i%3]
		if step != int64(i) || time != -int64(i) || value != want && !(math.IsNaN(value) && math.IsNaN(want)) {
			t.Fatalf("row %d: got %d %d %v, want %d %d %v", i, step, time, value, i, -i, want)
		}
	}
}
