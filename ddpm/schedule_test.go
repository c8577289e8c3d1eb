package ddpm_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

// schedule.json holds numbers of guided-diffusion (commit 22e0df8): tables sampled
// from its float64 schedules, and lists that its space_timesteps returns.
func readSchedules(t *testing.T) (g struct {
	Cosine struct{ Beta, Abar map[string]float64 } `json:"cosine1000"`
	Linear struct{ Beta, Abar map[string]float64 } `json:"linear1000"`
	Space  map[string][]int                        `json:"space"`
},
) {
	t.Helper()
	text, err := os.ReadFile("testdata/schedule.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func newSchedule(t testing.TB, name string, T int) *ddpm.Schedule {
	t.Helper()
	s, err := ddpm.NewSchedule(name, T)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScheduleTables(t *testing.T) {
	g := readSchedules(t)
	cosine, linear := newSchedule(t, "cosine", 1000), newSchedule(t, "linear", 1000)
	for _, tt := range []struct {
		name string
		got  []float64
		want map[string]float64
	}{
		{"cosine beta", cosine.Beta, g.Cosine.Beta},
		{"cosine abar", cosine.AlphaBar, g.Cosine.Abar},
		{"linear beta", linear.Beta, g.Linear.Beta},
		{"linear abar", linear.AlphaBar, g.Linear.Abar},
	} {
		if len(tt.want) == 0 {
			t.Errorf("%s: no reference values", tt.name)
		}
		for at, want := range tt.want {
			i, err := strconv.Atoi(at)
			if err != nil {
				t.Fatal(err)
			}
			// abar is a product of up to 1000 factors: 1000·2^-53, and cos near π/2 loses some.
			if rel := math.Abs(tt.got[i]-want) / want; rel > 1e-11 {
				t.Errorf("%s[%d] = %v, want %v (relative difference %.2g)", tt.name, i, tt.got[i], want, rel)
			}
		}
	}
	clipped := 0
	for _, b := range cosine.Beta {
		if b == 0.999 {
			clipped++
		}
	}
	if clipped != 1 {
		t.Errorf("%d betas are clipped to 0.999, want the last one only", clipped)
	}
}

func TestRespace(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	n := 0
	for steps, want := range readSchedules(t).Space {
		if strings.HasPrefix(steps, "ddim") { // strides of another sampler
			continue
		}
		n++
		got, err := s.Respace(steps)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Respace(%q) = %v, %v, want %v", steps, got, err, want)
		}
	}
	if n < 10 {
		t.Errorf("%d reference lists, want at least 10", n)
	}
	// A stride of exactly 1.5: halves round to even, as Python's round does.
	if got, err := s.Respace("667"); err != nil || !slices.Equal(got[:6], []int{0, 2, 3, 4, 6, 8}) || got[666] != 999 {
		t.Errorf("Respace(\"667\") = %v, %v, want 0, 2, 3, 4, 6, 8 ... 999", got, err)
	}
	if got, err := s.Respace("1"); err != nil || !slices.Equal(got, []int{0}) {
		t.Errorf("Respace(\"1\") = %v, %v, want [0]", got, err)
	}
	for _, bad := range []string{"", "0", "-3", "1001", "600,10", "ten", "10,,10", "1e2"} {
		if got, err := s.Respace(bad); err == nil {
			t.Errorf("Respace(%q) = %v, want an error", bad, got)
		}
	}
}

func TestSub(t *testing.T) {
	s := newSchedule(t, "cosine", 1000)
	use, err := s.Respace("50")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := s.Sub(use)
	if err != nil {
		t.Fatal(err)
	}
	if sub.T() != 50 || !slices.Equal(sub.Index, use) {
		t.Errorf("indices = %v, want %v", sub.Index, use)
	}
	abar := 1.0
	for i, b := range sub.Beta {
		abar *= 1 - b
		if want := s.AlphaBar[use[i]]; math.Abs(abar-want) > 1e-12 {
			t.Errorf("product of 1-beta up to %d = %v, want abar = %v", i, abar, want)
		}
	}
	for _, bad := range [][]int{nil, {3, 3}, {5, 4}, {-1}, {1000}} {
		if _, err := s.Sub(bad); err == nil {
			t.Errorf("Sub(%v): no error", bad)
		}
	}
	for _, bad := range []struct {
		name string
		T    int
	}{{"sigmoid", 1000}, {"cosine", 1}} {
		if _, err := ddpm.NewSchedule(bad.name, bad.T); err == nil {
			t.Errorf("NewSchedule(%q, %d): no error", bad.name, bad.T)
		}
	}
}
