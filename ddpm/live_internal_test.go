package ddpm

import (
	"math"
	"testing"
	"time"

	"ddpmlab/internal/display"
)

// The curve of a long training stays short, spans all of it, and keeps the mean.
func TestLiveCurve(t *testing.T) {
	rec := &display.Recording{}
	clock := time.Time{}
	l := &live{sink: rec, now: func() time.Time { return clock }, total: 10_000, bucket: 1, batch: 64}
	for step := int64(1); step <= 10_000; step++ {
		clock = clock.Add(time.Second / 10)
		l.update(step, float64(step), 640)
	}
	curves := rec.AllCurves()
	line := curves[len(curves)-1].Lines[0]
	if n := len(line.X); n < curvePoints/4 || n > curvePoints {
		t.Errorf("%d points of 10000 iterations, want %d to %d", n, curvePoints/4, curvePoints)
	}
	width := line.X[1] - line.X[0]
	for i, x := range line.X {
		if want := x - (width-1)/2; math.Abs(line.Y[i]-want) > 1e-9 {
			t.Fatalf("point at %v is %v, want the mean %v of the %v iterations up to it", x, line.Y[i], want, width)
		}
	}
	if last := line.X[len(line.X)-1]; last < 10_000-width {
		t.Errorf("last point at %v of 10000", last)
	}
	p, _ := rec.Last()
	if p.Done != 10_000 || p.Elapsed != 1000*time.Second || math.Abs(p.Rate-10) > 1e-9 || p.ETA != 0 {
		t.Errorf("progress = %+v, want 10000 done in 1000 s at 10/s", p)
	}
	if p.Values[0].V < 9900 || p.Values[0].V > 9975 {
		t.Errorf("loss shown = %v, want the mean of about the last 50, of 10000 rising by 1", p.Values[0].V)
	}
}

// Iterations and images are one rate, and the time left has room for evaluations.
func TestLiveRate(t *testing.T) {
	rec := &display.Recording{}
	clock := time.Time{}
	l := &live{sink: rec, now: func() time.Time { return clock }, total: 100, bucket: 1, batch: 64, evals: []int{10, 50, 100}}
	for step := int64(1); step <= 20; step++ {
		clock = clock.Add(time.Second / 10)
		l.update(step, 1, 640)
		if step == 10 {
			clock = clock.Add(30 * time.Second)
			l.evaluated(30 * time.Second)
		}
	}
	p, _ := rec.Last()
	if p.Rate != 10 || p.Values[1].V != 640 {
		t.Errorf("%v it/s, %v images/s; want 10 and 64 times that", p.Rate, p.Values[1].V)
	}
	if want := 8*time.Second + 2*30*time.Second; p.ETA != want || p.Elapsed != 32*time.Second {
		t.Errorf("%v gone, %v left; want 32 s and %v: 80 iterations and two evaluations", p.Elapsed, p.ETA, want)
	}
}

func TestRates(t *testing.T) {
	c := Config{LR: 1e-3, Warmup: 4, EMA: 0.99, EMAWarmup: true}
	for n, want := range map[int64]float64{1: 0.25e-3, 3: 0.75e-3, 4: 1e-3, 100: 1e-3} {
		if got := c.learningRate(n); math.Abs(got-want) > 1e-12 {
			t.Errorf("learning rate at iteration %d = %v, want %v", n, got, want)
		}
	}
	for n, want := range map[int64]float64{1: 2. / 11, 90: 0.91, 889: 890. / 899, 891: 0.99, 5000: 0.99} {
		if got := c.emaRate(n); got != want {
			t.Errorf("EMA rate at iteration %d = %v, want %v", n, got, want)
		}
	}
	c.Warmup, c.EMAWarmup = 0, false
	if c.learningRate(1) != 1e-3 || c.emaRate(1) != 0.99 {
		t.Errorf("rates without warm-up = %v, %v, want 1e-3, 0.99", c.learningRate(1), c.emaRate(1))
	}
}
