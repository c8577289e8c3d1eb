package experiments_test

import (
	"testing"

	"ddpmlab/experiments"
)

// The measurement works on a small scale; what it finds depends on the machine.
func TestMeasure(t *testing.T) {
	v, err := experiments.Measure(t.Context(), t.TempDir(), 5000, 20)
	if err != nil {
		t.Fatal(err)
	}
	if v.LogP50 <= 0 || v.LogP99 < v.LogP50 || v.PerSecond < 1000 || v.ReadBack <= 0 || v.Megabytes < 5 || v.Megabytes > 200 || v.Compare <= 0 {
		t.Errorf("got %+v", v)
	}
	if _, err := experiments.Measure(t.Context(), t.TempDir(), 0, 20); err == nil {
		t.Error("got no error for no points")
	}
}
