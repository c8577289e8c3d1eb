package experiments

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

// The fields of a run are what its row of parameters has: names, texts, order.
func TestFields(t *testing.T) {
	all := ddpm.CIFAR10()
	all.MicroBatch, all.Anneal, all.ExtraEMA, all.Seed = 64, true, []float64{0.99, 0.9}, 1<<64-1
	v := ddpm.InputPerturbation(0.1)
	v.GammaSchedule, v.GradPenalty, v.GradPenaltyDraws, v.WeightDecay = "linear", 1e-6, 3, 1e6
	for _, r := range []*Run{
		{Config: all, Variant: v},
		{Config: ddpm.Tour(), Variant: ddpm.ADM()},
		{Config: ddpm.Toy(), Variant: ddpm.WeightDecay(0.03)},
	} {
		params, err := r.params()
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, p := range params {
			want = append(want, fmt.Sprintf("%s=%v", p.name, p.value))
		}
		for _, f := range fields() {
			if x := f.text(r); x != "" || !f.omit {
				got = append(got, fmt.Sprintf("%s=%v", f.name, x))
			}
		}
		if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
			t.Errorf("got\n%s\nwant\n%s", g, w)
		}
	}
}

// Configurations that are decoded together share nothing: changing one leaves the others.
func TestParsedConfigs(t *testing.T) {
	p := newParsedConfigs()
	var decoded []ddpm.Config
	for seed := range uint64(3) {
		c := ddpm.CIFAR10()
		c.Seed, c.ExtraEMA = 1<<63+seed, []float64{0.99}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.config(text)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, error %v, want %+v", got, err, c)
		}
		decoded = append(decoded, got)
	}
	if len(p.configs) != 1 {
		t.Errorf("decoded %d times, want once", len(p.configs))
	}
	for _, f := range fields() {
		if f.typ.Kind() == reflect.Slice && f.of == reflect.TypeFor[ddpm.Config]() {
			a, b := f.value(&Run{Config: decoded[0]}), f.value(&Run{Config: decoded[1]})
			if a.Len() == 0 || a.Pointer() == b.Pointer() {
				t.Errorf("%s is shared, or the test does not set it", f.name)
			}
		}
	}
}
