package bench

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// Our worker takes PyTorch's places, too.
func TestEvaluate(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 24 million weights")
	}
	o := options(t, "SELF")
	o.Rounds = 1
	r, err := Evaluate(t.Context(), o, 1)
	if err != nil {
		t.Fatal(err)
	}
	got := r.Results[0]
	if got.Name != "inception-b1" || !(got.Ours > 0) || got.Unit != "images/s" || math.Abs(got.Ratio-got.Ours/got.Base) > 1e-12 {
		t.Errorf("got %+v", got)
	}
	if mode, ok := strings.CutPrefix(got.BaseMode, "f32 "); !ok || !slices.Contains(inceptionModes, mode) {
		t.Errorf("the base is %q, want one of %q", got.BaseMode, inceptionModes)
	}
	if len(r.Samples) != 1+len(inceptionModes) {
		t.Errorf("samples of %d sides, want %d", len(r.Samples), 1+len(inceptionModes))
	}

	o.Python = options(t, "echo 'no torch' >&2; exit 1").Python
	if _, err := Evaluate(t.Context(), o, 1); err == nil || !strings.Contains(err.Error(), "no torch") {
		t.Errorf("got %v, want what PyTorch's side said", err)
	}
}
