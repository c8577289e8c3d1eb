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
