package ddpm

import "errors"

// ErrDiverged is wrapped by Train's error when a loss or gradient is not finite.
// The checkpoint that comes with it is the last good one.
var ErrDiverged = errors.New("training diverged")
