package plots_test

import (
	"math"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/display"
	"ddpmlab/plots"
)

func TestNothingToShow(t *testing.T) {
	bare := experiments.Detached(experiments.Run{Config: config(1), Status: experiments.StatusRunning}, nil, nil)
	for _, tt := range []struct {
		name string
		call func() (any, error)
		want string
	}{
		{"fd nil", func() (any, error) { return plots.FDCurve(nil) }, "no runs to show"},
		{"fd nil run", func() (any, error) { return plots.FDCurve(experiments.Runs{nil}) }, "no runs to show"},
		{"fd no scores", func() (any, error) { return plots.FDCurve(experiments.Runs{bare}) }, "no run has a score yet"},
		{"loss nil", func() (any, error) { return plots.LossCurve(nil) }, "no runs to show"},
		{"loss none", func() (any, error) { return plots.LossCurve(experiments.Runs{bare}) }, "none of the runs has recorded a loss"},
		{"variants nil", func() (any, error) { return plots.VariantsTable(nil) }, "no runs to show"},
		{"variants no scores", func() (any, error) { return plots.VariantsTable(experiments.Runs{bare}) }, "no run has a score yet"},
		{"bias nil", func() (any, error) { return plots.BiasTable(nil) }, "no runs to show"},
		{"bias empty", func() (any, error) { return plots.BiasTable(&experiments.BiasResult{}) }, "no runs to show"},
		{"bias short row", func() (any, error) {
			return plots.BiasTable(&experiments.BiasResult{Steps: []int{100}, Rows: []experiments.BiasRow{{Run: bare}}})
		}, "0 values for 1 chain lengths"},
		{"drift nil", func() (any, error) { return plots.DriftTable(nil) }, "no runs to show"},
		{"drift none", func() (any, error) {
			return plots.DriftCurve(&experiments.BiasResult{Rows: []experiments.BiasRow{{Run: bare}}})
		}, "row 1 has 0 values of the drift; measure it again with lab.Bias, on 3 images or more"},
		{"norms nil", func() (any, error) { return plots.NormCurve(nil) }, "no runs to show"},
		{"errors nil", func() (any, error) { return plots.ErrorTable(nil) }, "no runs to show"},
		{"errors none", func() (any, error) {
			return plots.ErrorCurve(&experiments.BiasResult{Rows: []experiments.BiasRow{{Run: bare}}})
		}, "row 1 has 0 values of the prediction errors"},
		{"steps nil", func() (any, error) { return plots.StepsTable(nil) }, "no runs to show"},
		{"steps without run", func() (any, error) {
			return plots.StepsTable(&experiments.SweepResult{Steps: []int{10}, Rows: []experiments.SweepRow{{FD: []float64{1}}}})
		}, "row 1"},
		{"samples none", func() (any, error) { return plots.SampleGrid() }, "no samples to show"},
		{"samples nil", func() (any, error) { return plots.SampleGrid(nil, nil) }, "no samples to show"},
		{"samples broken", func() (any, error) {
			return plots.SampleGrid(&experiments.Samples{Images: ddpm.Images{N: 2, H: 4, W: 4, C: 1, Pix: make([]float32, 3)}})
		}, "2 images of 4×4×1 with 3 values"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := tt.call()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestMixedProtocolsAreRefused(t *testing.T) {
	other := protocol()
	other.N = 1000
	other.ID = other.Hash()
	runs := tour()
	runs[3] = withScores(runs[3], other, experiments.Point{Step: 10, Value: 1})
	_, figureErr := plots.FDCurve(runs)
	_, tableErr := plots.VariantsTable(runs)
	for _, err := range []error{figureErr, tableErr} {
		if err == nil || !strings.Contains(err.Error(), "ADM and DDPM-IP do not compare: N 500 against 1000") {
			t.Errorf("got error %v, want one that says whose protocols differ, and in N", err)
		}
	}
}

func TestOddValues(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for name, ys := range map[string][]float64{
		"one point":        {3},
		"constant":         {2, 2, 2},
		"all zero":         {0, 0},
		"NaN only":         {nan, nan},
		"with a gap":       {3, nan, 2, 1},
		"lone point":       {nan, 2, nan},
		"infinite":         {inf, 1, -inf},
		"negative":         {-1, 2, -3},
		"huge":             {1e308, -1e308, 1},
		"tiny":             {1e-308, 5e-324, 1e-12},
		"many magnitudes":  {1e-200, 1, 1e200},
		"almost the same":  {1, 1 + 1e-15, 1 - 1e-15},
		"large and almost": {1e15, 1e15 + 1},
	} {
		for _, logY := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				xs := make([]float64, len(ys))
				for i := range xs {
					xs[i] = float64(10 * i)
				}
				f := plots.Curve(display.Curve{Title: name, LogY: logY, Lines: []display.Line{{Name: "ADM", X: xs, Y: ys}}})
				wellFormed(t, f.SVG())
				if f.String() == "" || !testing.Short() && len(f.PNG()) == 0 {
					t.Error("empty figure")
				}
			})
		}
		var points []experiments.Point
		for i, y := range ys {
			points = append(points, experiments.Point{Step: int64(10 * i), Value: y})
		}
		f, err := plots.FDCurve(experiments.Runs{withScores(tour()[0], protocol(), points...)})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		wellFormed(t, f.SVG())
		table, err := plots.VariantsTable(experiments.Runs{withScores(tour()[0], protocol(), points...)})
		if err != nil || len(table.Rows) == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOddCurves(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]display.Curve{
		"no lines":     {},
		"no points":    {LogY: true, Lines: []display.Line{{Name: "a"}}},
		"lengths":      {Lines: []display.Line{{X: []float64{1, 2, 3}, Y: []float64{1}}}},
		"x is NaN":     {Lines: []display.Line{{X: []float64{nan, math.Inf(1), 2}, Y: []float64{1, 2, 3}}}},
		"control text": {Title: "a\x00<b>&\n\"", Lines: []display.Line{{Name: "\x1b[31m", X: []float64{1}, Y: []float64{1}}}},
		"other script": {Title: "拡散モデル ε̂ 😀", XLabel: "\u202eabc"},
	} {
		t.Run(name, func(t *testing.T) { wellFormed(t, plots.Curve(c).SVG()) })
	}
}

func TestControlCharactersInNames(t *testing.T) {
	p := protocol()
	p.Metric, p.Reference = "FD (a\x01b)", "set\x1b[31m"
	f, err := plots.FDCurve(experiments.Runs{withScores(tour()[0], p, experiments.Point{Step: 10, Value: 5})})
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, f.SVG())
}

func TestScoresThatCannotBeDrawnAreNamed(t *testing.T) {
	r := withScores(tour()[0], protocol(),
		experiments.Point{Step: 10, Value: 5}, experiments.Point{Step: 500, Value: math.NaN()}, experiments.Point{Step: 1000, Value: -1e-9})
	f, err := plots.FDCurve(experiments.Runs{r})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NaN at step 500 cannot be drawn", "0.0000 at step 1,000 cannot be drawn"} {
		if !strings.Contains(f.Caption, want) {
			t.Errorf("caption lacks %q: %s", want, f.Caption)
		}
	}
}

func TestSampleGridNotes(t *testing.T) {
	s := samples(tour()[0], 130, 8, 1)
	s.Images.Pix[3] = float32(math.NaN())
	other := samples(tour()[1], 4, 8, 1)
	other.Seed = 2
	f, err := plots.SampleGrid(s, nil, other)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"the first 100 of 130", "1 value is not finite, drawn black", "Blocks differ in sampling steps or seed"} {
		if !strings.Contains(f.Caption, want) {
			t.Errorf("caption lacks %q: %s", want, f.Caption)
		}
	}
}

func TestFiguresOfLargeImages(t *testing.T) {
	f, err := plots.SampleGrid(samples(nil, 2, 700, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(f.SVG()), `width="1420"`) {
		t.Error("images wider than a figure are to be shown whole, pixel by pixel")
	}
}
