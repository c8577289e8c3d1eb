package gpukit

import (
	"context"
	"time"
)

// phase is a row of the table of phases.
type phase struct {
	command string
	name    string
	limit   time.Duration // shorter than what the command has left, so that one does not cost the others
	run     func(ctx context.Context, t *trial) error
}

// phases lists what there is to run, in order.
var phases = []phase{
	{Check, "doctor", 30 * time.Second, doctor},
	{Check, "kernels", 90 * time.Second, kernels},
	{Check, "cudnn", 60 * time.Second, convolutions},
	{Check, "gradients", 110 * time.Second, gradients},
	{Check, "graph", 50 * time.Second, graph},
	{Check, "curves", 90 * time.Second, curves},
	{Check, "sanitizer", 140 * time.Second, sanitizer},
	{Speed, "plan", 20 * time.Second, plan},
	{Speed, "calibrate", 30 * time.Second, calibrate},
	{Speed, "profile", 45 * time.Second, profile},
	{Speed, "steps", 250 * time.Second, steps},
	{Speed, "trainings", 130 * time.Second, trainings},
	{Speed, "samples", 35 * time.Second, samples},
	{Speed, "bias", 60 * time.Second, biases},
}
