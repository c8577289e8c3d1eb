package main

import (
	"context"
	"flag"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
)

var dataTrainExtractor = command{
	name:     "data train-extractor",
	synopsis: "Train the feature extractor of the scores anew",
	help: `The weights of the classifier behind "FD (fashion-cnn)" are built in; this makes them again, from the 60,000 training
images of Fashion-MNIST (` + "`ddpmlab data fetch fashion-mnist`" + `), and measures the accuracy on the 10,000 others. The same seed
gives the same weights on any number of threads.`,
	examples: []string{"data train-extractor --out fashion_cnn.bin"},
	setup: func(f *flag.FlagSet) action {
		o := fid.DefaultTraining()
		out := f.String("out", "", "write the weights to `FILE`")
		dir := f.String("dir", "", "`FOLDER` with the training images; default: where `ddpmlab data fetch` and Debian put them")
		f.IntVar(&o.Epochs, "epochs", o.Epochs, "pass `N` times over the images")
		f.Uint64Var(&o.Seed, "seed", o.Seed, "seed `N` of all random numbers")
		threads := threadsFlag(f)
		return func(ctx context.Context, _ []string, w world) error {
			if *out == "" {
				return usagef("--out is missing; name the file to write, as --out fashion_cnn.bin")
			}
			return trainExtractor(ctx, w, o, *out, *dir, *threads)
		}
	},
}

func trainExtractor(ctx context.Context, w world, o fid.TrainOptions, out, dir string, threads int) error {
	images, err := data.OpenFrom("fashion-mnist-train", fullSize, dir)
	if err != nil {
		return err
	}
	test, err := data.Open("fashion-mnist", 14) // as for the weights that are built in, which record it
	if err != nil {
		return err
	}
	if o.Device, err = cpu.New(threads); err != nil {
		return err
	}
	defer o.Device.Close()
	ctx, done := watch(ctx, w)
	o.Progress = extractorProgress(display.FromContext(ctx))
	weights, err := fid.TrainFashionCNN(ctx, images, test, o)
	done()
	if err != nil {
		return err
	}
	if err := writeFile(out, weights.Bytes()); err != nil {
		return err
	}
	return printf(w.out, "%s: accuracy %.4f on the %d images of %s, SHA-256 %s\n",
		out, weights.Accuracy, test.Len(), test.Name(), weights.SHA256())
}

// extractorProgress passes a training's progress on, with the loss averaged over about
// 100 steps.
func extractorProgress(to display.Sink) func(fid.TrainProgress) {
	start, mean := time.Now(), 0.0
	return func(p fid.TrainProgress) {
		mean += (p.Loss - mean) * max(0.01, 1/float64(p.Step))
		took := time.Since(start)
		rate := float64(p.Step) / max(took.Seconds(), 1e-9)
		report := display.Progress{
			ID: "extractor", Title: "fashion-cnn", Done: int64(p.Step), Total: int64(p.Steps), Unit: "it",
			Values: []display.Value{{Name: "loss", V: mean}}, Rate: rate, Elapsed: took,
			ETA: time.Duration(float64(p.Steps-p.Step) / rate * float64(time.Second)),
		}
		if p.Step == p.Steps {
			report.State = display.Done
		}
		to.Progress(report)
	}
}
