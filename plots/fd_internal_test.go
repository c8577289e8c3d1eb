package plots

import (
	"errors"
	"testing"

	"ddpmlab/experiments"
)

func TestCaught(t *testing.T) {
	want := errors.New("runs.db: disk is gone")
	if err := caught(func() { panic(&experiments.CellError{Err: want}) }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err := caught(func() {}); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic of another kind is swallowed")
		}
	}()
	_ = caught(func() { panic("a programmer's error") })
}

// A first score far above the others is cut off, and a floor far below them.
func TestCutFirst(t *testing.T) {
	for _, tt := range []struct {
		name      string
		y         []float64
		cut       float64
		showFloor bool
		notes     int
	}{
		{"near", []float64{20, 9, 8}, 0, true, 0},
		{"far", []float64{183.4, 9, 4}, 10, true, 1},
		{"far, floor too", []float64{183.4, 9, 8.6}, 10, false, 2},
		{"one", []float64{183.4}, 0, true, 0},
	} {
		ch := &chart{logY: true}
		lines := []scoreLine{{xs: [][]float64{[]float64{10, 500, 1000}[:len(tt.y)]}, ys: [][]float64{tt.y}}}
		notes, showFloor := ch.cutFirst(lines, 2)
		if ch.cut != tt.cut || ch.logY != (tt.cut == 0) || showFloor != tt.showFloor || len(notes) != tt.notes {
			t.Errorf("%s: cut at %v, log %v, floor %v, notes %q", tt.name, ch.cut, ch.logY, showFloor, notes)
		}
	}
}
