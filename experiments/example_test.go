package experiments_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
)

// tiny is a configuration that trains in a moment and learns nothing.
func tiny() ddpm.Config {
	cfg := ddpm.Tour()
	cfg.Model.Channels, cfg.Model.HeadChannels, cfg.Model.Mult, cfg.Model.Attention = 8, 8, []int{1}, nil
	cfg.Batch, cfg.Iterations, cfg.EvalSamples = 2, 3, 0
	return cfg
}

func ExampleMustOpen() {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	lab := experiments.MustOpen(filepath.Join(dir, "runs.db"))
	defer lab.Close()
	fmt.Println(filepath.Base(lab.Path()), len(lab.AllRuns()))
	// Output: runs.db 0
}

// A run is trained once; asking again returns it.
func ExampleLab_Train() {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	lab := experiments.MustOpen(filepath.Join(dir, "runs.db"))
	defer lab.Close()

	ctx, cfg := context.Background(), tiny()
	for _, v := range []ddpm.Variant{ddpm.ADM(), ddpm.InputPerturbation(0.1)} {
		lab.Train(ctx, cfg, v)
	}
	first := lab.Runs(cfg)[0]
	again := lab.Train(ctx, cfg, ddpm.ADM())
	for _, r := range lab.Runs(cfg) {
		fmt.Println(r.Name, r.Status, r.Step, len(r.Series(experiments.MetricLoss)))
	}
	fmt.Println(again.ID == first.ID)
	// Output:
	// ADM finished 3 3
	// DDPM-IP finished 3 3
	// true
}

// Numbers of one's own lie beside those of the training.
func ExampleLab_Record() {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	lab := experiments.MustOpen(filepath.Join(dir, "runs.db"))
	defer lab.Close()

	run := lab.Train(context.Background(), tiny(), ddpm.ADM())
	lab.Record(run.ID, "validation/accuracy", 3, 0.75)
	for _, r := range lab.Query("validation/accuracy > 0.7 and loss > 0") {
		fmt.Println(r.Name, r.Series("validation/accuracy")[0].Value)
	}
	// Output: ADM 0.75
}

// The same work gives the same numbers, bit for bit.
func ExampleRun_Against() {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	lab := experiments.MustOpen(filepath.Join(dir, "runs.db"))
	defer lab.Close()

	ctx := context.Background()
	first := lab.Train(ctx, tiny(), ddpm.InputPerturbation(0.1))
	again := lab.Under(first).Rerun(ctx, first.Config, first.Variant)
	fmt.Println(again.Attempt, again.Parent == first.ID, again.Against(first.Recorded()).Same())
	// Output: 2 true true
}

func ExampleLab_Reference() {
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	lab := experiments.MustOpen(filepath.Join(dir, "runs.db"))
	defer lab.Close()

	for _, r := range lab.Reference(3) {
		if r.Metric == "fid" {
			fmt.Printf("%-8s %.2f\n", r.Model, r.Value)
		}
	}
	// Output:
	// ADM      3.58
	// ADM-GP   3.28
	// ADM-WD   3.34
	// DDPM-IP  3.25
}

func ExampleDetached() {
	r := experiments.Detached(experiments.Run{ID: "imported", Name: "ADM", Status: experiments.StatusFinished},
		map[string][]experiments.Point{"loss": {{Step: 1, Time: time.Unix(0, 0), Value: 1}, {Step: 2, Value: 0.5}}}, nil)
	last, ok := r.Last("loss")
	fmt.Println(r.Keys(), last, ok)
	// Output: [loss] 0.5 true
}
