package experiments

import "errors"

// What a caller may want to tell apart with errors.Is. The errors that wrap these name
// the file or run and say the cure.
var (
	ErrReadOnly      = errors.New("database is read-only")
	ErrFull          = errors.New("disk is full")
	ErrNotDatabase   = errors.New("not a ddpmlab database")
	ErrDamaged       = errors.New("database is damaged")
	ErrNewerSchema   = errors.New("database was written by a newer ddpmlab")
	ErrLocked        = errors.New("database is locked by another program")
	ErrNoRun         = errors.New("no such run")
	ErrAmbiguous     = errors.New("more than one run matches")
	ErrNoCheckpoint  = errors.New("checkpoint is not here")
	ErrNotResumable  = errors.New("run cannot be resumed")
	ErrAlreadyRuns   = errors.New("run is being trained now")
	ErrInterrupted   = errors.New("training interrupted")
	ErrMixedProtocol = errors.New("scores were measured in different ways")
)

// CellError is what the methods of Lab panic with. The kernel shows CellMessage under
// the cell, with the cell's line, instead of a stack trace.
type CellError struct {
	Err error
}

// Error is the wrapped error's text.
func (e *CellError) Error() string { return e.Err.Error() }

// Unwrap is the wrapped error.
func (e *CellError) Unwrap() error { return e.Err }

// CellMessage is what a notebook shows.
func (e *CellError) CellMessage() string { return e.Err.Error() }
