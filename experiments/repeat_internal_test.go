package experiments

import (
	"encoding/json"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/internal/cell"
)

// A repetition has the same numbers bit for bit; another seed is other work.
func TestAgainst(t *testing.T) {
	s := labStore(t)
	c := small()
	r, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Rerun(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	was := r.Recorded()
	if x := again.Against(was); !x.Same() || len(x.Again) < 3 {
		t.Errorf("got %v, want all the same", x)
	}
	part := *r // as if it had been interrupted
	part.Step = 5
	if x := again.Against(part.Recorded()); !x.Same() || x.Again[0].SHA256 == was.Series[0].SHA256 {
		t.Errorf("got %v, want the same up to step 5, and another sum than of the whole", x)
	}
	c.Seed++
	other, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	if x := other.Against(was); x.Same() || x.SameWork || !strings.Contains(x.String(), "Not the same work") || !strings.Contains(x.String(), "differ") {
		t.Errorf("got %v, want that it is other work", x)
	}
}

// The notebook of a run holds its configuration, its numbers and the cells that led to it.
func TestNotebook(t *testing.T) {
	s := labStore(t)
	c, v := small(), ddpm.InputPerturbation(0.25)
	ctx := cell.NewContext(t.Context(), cell.Cell{Source: "lab.Train(ctx, c, v)", Before: []string{"c := small() // ```"}})
	r, err := s.Train(ctx, c, v)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Notebook(t.Context(), r.ID[:20])
	if err != nil {
		t.Fatal(err)
	}
	var nb struct {
		Cells []struct {
			Kind   string   `json:"cell_type"`
			Source []string `json:"source"`
		} `json:"cells"`
		Format int `json:"nbformat"`
	}
	if err := json.Unmarshal(text, &nb); err != nil || nb.Format != 4 {
		t.Fatalf("nbformat %d, error %v", nb.Format, err)
	}
	var code, words string
	for _, x := range nb.Cells {
		if x.Kind == "code" {
			code += strings.Join(x.Source, "") + "\n"
		} else {
			words += strings.Join(x.Source, "") + "\n"
		}
	}
	for _, want := range []string{"variant.Gamma = 0.25", "cfg.Iterations = 12", r.Key, "lab.Rerun(ctx, cfg, variant)", `{Name: "loss", Last: `, "plots.FDCurve"} {
		if !strings.Contains(code, want) {
			t.Errorf("its code lacks %q:\n%s", want, code)
		}
	}
	for _, want := range []string{r.ID, "12 of 12 steps, finished", "````go\nc := small() // ```\n````", "```go\nlab.Train(ctx, c, v)\n```"} {
		if !strings.Contains(words, want) {
			t.Errorf("its text lacks %q:\n%s", want, words)
		}
	}
	if _, err := s.Notebook(t.Context(), "nope"); err == nil {
		t.Error("got a notebook of no run")
	}
}

func TestGoConfig(t *testing.T) {
	c := ddpm.Tour()
	if got := goConfig(c); got != `cfg, _ := ddpm.Preset("tour")` {
		t.Errorf("got %s", got)
	}
	c.Seed, c.LR, c.Data, c.Flip, c.ExtraEMA, c.Model.Mult = 1<<63, 1e-30, `a"b`, true, []float64{0.5}, nil
	want := `cfg, _ := ddpm.Preset("tour")
cfg.Data = "a\"b"
cfg.Model.Mult = nil
cfg.LR = 1e-30
cfg.Flip = true
cfg.ExtraEMA = []float64{0.5}
cfg.Seed = 9223372036854775808`
	if got := goConfig(c); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if got := goConfig(ddpm.Config{Preset: "gone", T: 3}); got != "var cfg ddpm.Config\ncfg.Preset = \"gone\"\ncfg.T = 3" {
		t.Errorf("got %s", got)
	}
}
