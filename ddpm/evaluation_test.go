package ddpm_test

import (
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
)

// The curve has the iterations asked for and the last, its last value is the distance of
// samples from the checkpoint, and the training is the one without it.
func TestWithEvaluation(t *testing.T) {
	e := fid.Pixels(8, 8, 1)
	cfg := tinyConfig()
	plain, _ := train(t, cfg, ddpm.ADM())
	shown, r := &display.Recording{}, record{}
	final, err := ddpm.Train(display.NewContext(t.Context(), shown), cfg, ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}),
		ddpm.WithRecorder(r), ddpm.WithEvaluation(4, 6, 5, e))
	if err != nil {
		t.Fatal(err)
	}
	if final.SHA256() != plain.SHA256() {
		t.Error("the evaluation changed the training")
	}
	curve := r["FD (pixels)"]
	if len(curve) != 3 || len(r["ema_rate"]) != 3 { // at 4, 8 and 10
		t.Fatalf("curve %v, ema_rate %v, want 3 values", curve, r["ema_rate"])
	}
	curves := shown.AllCurves()
	drawn := curves[len(curves)-1]
	if line := drawn.Lines[0]; line.Name != "FD (pixels)" || !slices.Equal(line.X, []float64{4, 8, 10}) || !slices.Equal(line.Y, curve) {
		t.Errorf("the display's last curve is %+v, want the scores %v", drawn, curve)
	}
	net, err := ddpm.NewNetwork(final, ddpm.WithDevice(newCPU(t, 2)))
	if err != nil {
		t.Fatal(err)
	}
	defer net.Close()
	schedule, err := ddpm.NewSchedule(cfg.Schedule, cfg.T)
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.Sampling()
	p.Steps, p.Variance = 5, ddpm.FixedSmall
	images, err := ddpm.Sample(t.Context(), net, schedule, p, 0, 6, 8, 8, 1)
	if err != nil {
		t.Fatal(err)
	}
	x, err := data.ReadRange(stripes{}, 0, stripes{}.Len())
	if err != nil {
		t.Fatal(err)
	}
	want, err := fid.Frechet(fid.NewRows(images.Pix, 64).Stats(), fid.NewRows(x, 64).Stats())
	if err != nil || curve[2] != want {
		t.Errorf("the last value is %v, want %v, %v", curve[2], want, err)
	}
	for _, tt := range []struct {
		option ddpm.Option
		want   string
	}{
		{ddpm.WithEvaluation(0, 6, 5, e), "every 0 iterations"},
		{ddpm.WithEvaluation(4, 1, 5, e), "1 samples"},
		{ddpm.WithEvaluation(4, 6, 5000, e), "steps is 5000"},
		{ddpm.WithEvaluation(4, 6, 5, fid.Pixels(9, 9, 1)), "images of 8×8×1, want 9×9×1"},
	} {
		if _, err := ddpm.Train(t.Context(), cfg, ddpm.ADM(), ddpm.WithDevice(newCPU(t, 2)), ddpm.WithData(stripes{}), tt.option); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}
