package experiments

import (
	"context"

	"ddpmlab/ddpm"
)

// Plan makes a sweep of that name from changes to c and v, and trains nothing yet:
//
//	lab.Plan("gamma study", cfg, ddpm.ADM(), experiments.Grid("gamma", 0, 0.1, 0.2), experiments.Seeds(1, 2, 3))
//
// Planning again under the same name adds what is new.
func (l *Lab) Plan(name string, c ddpm.Config, v ddpm.Variant, axes ...Axis) *SweepStatus {
	return must(l.store.Plan(context.Background(), name, c, v, axes...))
}

// RunSweep trains what is open of the sweep of that name; run again, it goes on. Several
// notebooks and `ddpmlab sweep run` may work on one sweep at the same time.
func (l *Lab) RunSweep(ctx context.Context, name string) *SweepStatus {
	return must(l.store.RunSweep(l.in(ctx), name, SweepLimits{}))
}

// Sweeping returns how the sweep of that name stands.
func (l *Lab) Sweeping(name string) *SweepStatus {
	return must(l.store.Sweeping(context.Background(), name))
}
