package experiments

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
)

// A run's evaluation has its own score, several seeds give means, and what was measured
// is looked up: without checkpoints nothing can be computed.
func TestEvaluateRun(t *testing.T) {
	if testing.Short() {
		t.Skip("draws and scores samples")
	}
	s := testStore(t)
	s.Threads = 2
	c := small()
	c.Data = "fashion-mnist"
	r, err := s.Train(t.Context(), c, ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	lab := &Lab{store: s}
	e := lab.Evaluate(t.Context(), r)
	own, _ := r.Last(MetricFD)
	protocol, _ := r.Protocol(MetricFD)
	if len(e.Scores) != 5 || math.Abs(e.Scores[0].Value/own-1) > 1e-4 || e.Scores[0].ID != protocol.ID {
		t.Errorf("got %+v, want the run's own score %v under the protocol %+v", e.Scores, own, protocol)
	}
	how := Evaluating{N: 12, Steps: 2, Seeds: []uint64{3, 4}, Metrics: []string{fid.MetricFD, fid.MetricScore}}
	e = lab.Evaluate(t.Context(), r, how)
	fd := e.Scores[0]
	if len(fd.Values) != 2 || fd.Values[0] == fd.Values[1] || fd.Value != (fd.Values[0]+fd.Values[1])/2 || fd.SD == 0 || fd.Protocol.Seeds != "3, 4" || fd.ID != fd.Protocol.Hash() {
		t.Errorf("of two seeds: %+v", fd)
	}
	one := how
	one.Seeds = []uint64{4}
	if alone := lab.Evaluate(t.Context(), r, one).Scores; alone[0].Value != fd.Values[1] || alone[0].Protocol.Seeds != "4" || alone[1].SD != 0 && alone[1].Protocol.N < fid.ScoreSplit {
		t.Errorf("of the second seed alone: %+v, want %v", alone, fd.Values[1])
	}
	other, err := s.Train(t.Context(), c, ddpm.InputPerturbation(0.1))
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Difference(t.Context(), r, other, Evaluating{N: 12, Steps: 2}, 20)
	if err != nil || d.N != 12 || d.Draws != 20 || d.Diff != d.A-d.B || !(d.SD > 0) || d.ID != d.Protocol.Hash() || d.Protocol.N != 12 {
		t.Errorf("difference %+v, %v", d, err)
	}
	if same, err := s.Difference(t.Context(), r, r, Evaluating{N: 12, Steps: 2}, 20); err != nil || same.Diff != 0 || same.SD != 0 {
		t.Errorf("difference from itself %+v, %v", same, err)
	}

	if err := os.RemoveAll(s.files); err != nil {
		t.Fatal(err)
	}
	again := lab.Evaluate(t.Context(), r, how)
	if again.Scores[0].Value != fd.Value || again.Scores[1].Value != e.Scores[1].Value {
		t.Errorf("looked up: %+v, want %+v", again.Scores, e.Scores)
	}
	how.Steps = 3
	if _, err := s.Evaluate(t.Context(), r, how); !errors.Is(err, ErrNoCheckpoint) {
		t.Errorf("without a checkpoint: %v", err)
	}
	how.Metrics = []string{fid.MetricFD, "x"}
}

func evaluated(name string, n int, fd float64) *Evaluation {
	p := fid.Protocol{
		Metric: "FD (x)", Extractor: "x", N: n, Reference: "r", ReferenceSHA256: "0", ReferenceN: 9,
		Samples: fid.Found,
	}
	return &Evaluation{
		Samples: fid.Described{Name: name, N: n}, Reference: fid.Described{Name: "r", N: 9},
		Scores: []Score{{Metric: fid.MetricFD, Name: "FD (x)", Value: fd, Protocol: p, ID: p.Hash()}},
	}
}

// Evaluations of different protocols are refused with the field that differs; forced, they
// are set back, and it says so.
func TestSideBySide(t *testing.T) {
	a, b, c := evaluated("a", 100, 3), evaluated("b", 100, 2), evaluated("c", 200, 1)
	table, err := SideBySide([]*Evaluation{a, b}, false)
	if err != nil || len(table.Rows) != 2 || table.Rows[1].Class != "" || !strings.Contains(table.String(), "FD (x)") {
		t.Errorf("%v, %v", table, err)
	}
	if _, err := SideBySide([]*Evaluation{a, b, c}, false); err == nil || !strings.Contains(err.Error(), "FD (x) of a and of c do not compare: N 100 against 200") || !strings.Contains(err.Error(), "--force") {
		t.Errorf("error %v", err)
	}
	table, err = SideBySide([]*Evaluation{a, b, c}, true)
	if err != nil || table.Rows[1].Class != "" || table.Rows[2].Class == "" || !strings.Contains(table.String(), "Not comparable, set back: FD (x) of a and of c") {
		t.Errorf("%v, %v", table, err)
	}
	renamed := evaluated("d", 100, 2)
	renamed.Scores[0].Protocol.Reference = "r.npz"
	if _, err := SideBySide([]*Evaluation{a, renamed}, false); err != nil {
		t.Errorf("the same reference under another name: %v", err)
	}
	renamed.Scores[0].Protocol.ReferenceSHA256 = "1"
	if _, err := SideBySide([]*Evaluation{a, renamed}, false); err == nil || !strings.Contains(err.Error(), "Reference r against r.npz") {
		t.Errorf("another reference: %v", err)
	}
	if _, err := SideBySide([]*Evaluation{a}, false); err == nil {
		t.Error("one evaluation was compared")
	}
	text, err := json.Marshal(a)
	var back Evaluation
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back.Scores[0].ID != back.Scores[0].Protocol.Hash() || back.Scores[0].Protocol != a.Scores[0].Protocol {
		t.Errorf("through JSON: %+v, %v", back, err)
	}
}
