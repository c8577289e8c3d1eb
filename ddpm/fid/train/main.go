// Command train makes the weights file of the extractor fashion-cnn anew:
//
//	go run ./ddpm/fid/train -out ddpm/fid/fashion_cnn.bin
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/fid"
)

func main() {
	opts := fid.DefaultTraining()
	out := flag.String("out", "fashion_cnn.bin", "weights `file` to write")
	folder := flag.String("data", "", "`folder` of the 60,000 training images")
	threads := flag.Int("threads", 0, "threads, 0 for all processors")
	flag.IntVar(&opts.Epochs, "epochs", opts.Epochs, "epochs")
	flag.Uint64Var(&opts.Seed, "seed", opts.Seed, "seed")
	flag.Float64Var(&opts.LR, "lr", opts.LR, "learning rate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *out, *folder, *threads, opts); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, folder string, threads int, opts fid.TrainOptions) error {
	train, err := data.OpenFrom("fashion-mnist-train", 28, folder)
	if err != nil {
		return err
	}
	test, err := data.Open("fashion-mnist", 14)
	if err != nil {
		return err
	}
	if opts.Device, err = cpu.New(threads); err != nil {
		return err
	}
	defer opts.Device.Close()
	start := time.Now()
	mean := 0.0
	opts.Progress = func(p fid.TrainProgress) {
		mean += (p.Loss - mean) * max(0.01, 1/float64(p.Step))
		if p.Step%100 == 0 {
			fmt.Printf("step %d of %d, loss %.4f, %v\n", p.Step, p.Steps, mean, time.Since(start).Round(time.Second))
		}
	}
	w, err := fid.TrainFashionCNN(ctx, train, test, opts)
	if err != nil {
		return err
	}
	fmt.Printf("accuracy %.4f on %s, SHA-256 %s\n", w.Accuracy, w.TestedOn, w.SHA256())
	return os.WriteFile(out, w.Bytes(), 0o644)
}
