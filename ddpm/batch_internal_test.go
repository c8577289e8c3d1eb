package ddpm

import (
	"math"
	"reflect"
	"slices"
	"testing"

	"ddpmlab/ddpm/unet"
)

// numbered is a data set whose image i is all i, but for the first pixel: -i.
type numbered int

func (numbered) Name() string         { return "numbered" }
func (n numbered) Len() int           { return int(n) }
func (numbered) Shape() (h, w, c int) { return 2, 2, 1 }
func (numbered) SHA256() string       { return "none" }
func (numbered) Label(int) int        { return 0 }

func (numbered) Read(i int, dst []float32) error {
	for p := range dst {
		dst[p] = float32(i + 1)
	}
	dst[0] = -float32(i + 1)
	return nil
}

func testBatches(t *testing.T, n, batch int, v Variant) *batches {
	t.Helper()
	cfg := Config{
		Model: unet.Config{Size: 2, InChannels: 1, Dropout: 0.5},
		T:     50, Schedule: "cosine", Batch: batch, Flip: true, Seed: 5,
	}
	b, err := newBatches(cfg, v.Normal(), numbered(n), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// named is the batch by the names of the program's inputs, and of the t.
func (b *batches) named(x *batch) map[string][]float32 {
	m := map[string][]float32{}
	for i, in := range b.inputs {
		m[in.name] = x.all[i]
	}
	return m
}

// All images come once in every epoch, in an order of its own, also where a batch
// spans two epochs.
func TestEpochs(t *testing.T) {
	const n, batch = 10, 4
	b := testBatches(t, n, batch, ADM())
	var order []int
	for step := int64(1); len(order) < 6*n; step++ {
		for i := range batch {
			order = append(order, b.image(step, i))
		}
	}
	seen := map[string]bool{}
	for e := range 6 {
		epoch := slices.Clone(order[e*n : (e+1)*n])
		key := ""
		for _, i := range epoch {
			key += string(rune('a' + i))
		}
		seen[key] = true
		slices.Sort(epoch)
		for i, v := range epoch {
			if v != i {
				t.Fatalf("epoch %d has images %v, want each of 0 to 9 once", e, epoch)
			}
		}
	}
	if len(seen) < 5 {
		t.Errorf("%d different orders of six epochs", len(seen))
	}
}

// A batch is a function of seed and step alone; the variants' batches agree in all
// that both have.
func TestBatchesArePure(t *testing.T) {
	draw := func(v Variant, step int64, before ...int64) map[string][]float32 {
		b := testBatches(t, 10, 4, v)
		x := b.newBatch()
		for _, s := range append(before, step) {
			if err := b.fill(x, s); err != nil {
				t.Fatal(err)
			}
			b.times(x, s)
		}
		return b.named(x)
	}
	gp, ip := GradPenalty(1), InputPerturbation(0.1)
	adm := draw(ADM(), 7)
	if !reflect.DeepEqual(adm, draw(ADM(), 7, 1, 100, 3)) {
		t.Error("a batch depends on what was drawn before")
	}
	if adm["xi"] != nil || adm["v"] != nil {
		t.Error("ADM draws ξ or signs")
	}
	if reflect.DeepEqual(adm["eps"], draw(ADM(), 8)["eps"]) {
		t.Error("two steps have the same ε")
	}
	for _, other := range []map[string][]float32{draw(ip, 7), draw(gp, 7)} {
		for _, name := range []string{"x_0", "eps", "t", "counters"} {
			if len(adm[name]) == 0 || !slices.Equal(adm[name], other[name]) {
				t.Errorf("two variants of one seed have another %s", name)
			}
		}
	}
	if x := draw(ip, 7); slices.Equal(x["xi"], x["eps"]) {
		t.Error("ξ = ε")
	}
	for i, v := range draw(gp, 7)["v"] {
		if v != 1 && v != -1 {
			t.Errorf("sign %d = %v", i, v)
		}
	}
	if want := []float32{7, 0, 2, 0}; !slices.Equal(adm["counters"][8:12], want) {
		t.Errorf("counters of image 2 = %v, want %v", adm["counters"][8:12], want)
	}
	if x := draw(ADM(), 3<<16+9); !slices.Equal(x["counters"][:4], []float32{9, 3, 0, 0}) {
		t.Errorf("counters at step 3·2^16+9 = %v, want 9, 3, 0, 0", x["counters"][:4])
	}
}

func TestBatchStatistics(t *testing.T) {
	b := testBatches(t, 10, 5, ADM())
	x := b.newBatch()
	in := b.named(x)
	schedule, err := NewSchedule(b.cfg.Schedule, b.cfg.T)
	if err != nil {
		t.Fatal(err)
	}
	count := make([]int, 50)
	flips, n := 0, 0
	for step := int64(1); step <= 2000; step++ {
		if err := b.fill(x, step); err != nil {
			t.Fatal(err)
		}
		b.times(x, step)
		for i := range 5 {
			at := x.t[i]
			count[at]++
			n++
			if abar, a, s := schedule.AlphaBar[at], in["sqrt_alpha_bar"][i], in["sqrt_one_minus_alpha_bar"][i]; in["t"][i] != float32(at) || a != float32(math.Sqrt(abar)) || s != float32(math.Sqrt(1-abar)) {
				t.Fatalf("√ᾱ and √(1-ᾱ) at t = %d are %v, %v", at, a, s)
			}
			if in["x_0"][4*i] > 0 { // the odd pixel is on the right now
				flips++
				if in["x_0"][4*i+1] > 0 {
					t.Fatalf("a mirrored image is %v", in["x_0"][4*i:4*i+4])
				}
			}
		}
	}
	chi := 0.0
	for _, c := range count {
		chi += (float64(c) - 200) * (float64(c) - 200) / 200
	}
	if chi > 98 { // 49 degrees of freedom, probability 5e-5
		t.Errorf("chi² of t = %.1f, want below 98: %v", chi, count)
	}
	if math.Abs(float64(flips)-float64(n)/2) > 4*math.Sqrt(float64(n))/2 {
		t.Errorf("%d of %d images are mirrored, want half", flips, n)
	}
}
