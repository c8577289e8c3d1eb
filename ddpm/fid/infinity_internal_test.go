package fid

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

func TestIntercept(t *testing.T) {
	var golden struct{ Line float64 }
	b, err := os.ReadFile("testdata/distances.json")
	if err == nil {
		err = json.Unmarshal(b, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := intercept([]int{500, 1000, 2000, 4000}, []float64{9.1, 5.2, 3.3, 2.2}); math.Abs(got-golden.Line) > 1e-9 {
		t.Errorf("got %.12g, want %.12g", got, golden.Line)
	}
}
