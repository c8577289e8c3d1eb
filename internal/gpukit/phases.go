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
	{Check, "kernels", 120 * time.Second, kernels},
	{Check, "gradients", 120 * time.Second, gradients},
	{Check, "graph", 60 * time.Second, graph},
	{Check, "sanitizer", 240 * time.Second, sanitizer},
	{Speed, "plan", 30 * time.Second, plan},
	{Speed, "calibrate", 30 * time.Second, calibrate},
	{Speed, "profile", 45 * time.Second, profile},
	{Speed, "steps", 260 * time.Second, steps},
	{Speed, "trainings", 150 * time.Second, trainings},
	{Speed, "samples", 45 * time.Second, samples},
}
