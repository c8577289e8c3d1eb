// Package kernel is what notebook cells can ask of the kernel they run in: input from the
// user, displays that later cells change, a clean output area, the pager, comms with code
// in the front end, and the time a piece of code takes.
//
// Every function takes the ctx that each cell finds, which knows the cell. Where there is
// no such kernel (in a program, or in gophernotes), the functions panic with a message
// that says so. Cells can use the package without importing it.
package kernel

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"ddpmlab/internal/cell"
)

// Input asks the user for a line of text, which it returns without the line's end. It
// panics with a message when the front end takes no input, as in nbconvert.
func Input(ctx context.Context, prompt string) string { return input(ctx, prompt, false) }

// Password is Input, and what the user types is not shown.
func Password(ctx context.Context, prompt string) string { return input(ctx, prompt, true) }

func input(ctx context.Context, prompt string, secret bool) string {
	text, err := host(ctx).Input(ctx, prompt, secret)
	if err != nil {
		panic(&cellError{err})
	}
	return text
}

// Clear removes what the cell shows.
func Clear(ctx context.Context) { host(ctx).Clear(false) }

// ClearNext removes what the cell shows when its next output comes, so that nothing
// flickers.
func ClearNext(ctx context.Context) { host(ctx).Clear(true) }

// Display is something shown that can be changed.
type Display struct{ id string }

// Show shows a value as a cell's last value is shown, and returns its display.
func Show(ctx context.Context, v interface{}) *Display {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	return ShowAs(ctx, hex.EncodeToString(b), v)
}

// ShowAs is Show under an id of one's own; all displays of one id show the same.
func ShowAs(ctx context.Context, id string, v interface{}) *Display {
	host(ctx).Show(id, false, v)
	return &Display{id}
}

// Update changes what the display shows, from this cell or a later one.
func (d *Display) Update(ctx context.Context, v interface{}) { host(ctx).Show(d.id, true, v) }

// String is empty: a cell that ends with Show shows the value once.
func (d *Display) String() string { return "" }

// Page shows a value beside the notebook, as help is shown, once the cell has ended.
func Page(ctx context.Context, v interface{}) { host(ctx).Page(v) }

// NextInput puts source into a new cell below once the cell has ended.
func NextInput(ctx context.Context, source string) { host(ctx).NextInput(source) }

// host is the notebook that ctx belongs to.
func host(ctx context.Context) cell.Host {
	h, ok := cell.HostOf(ctx)
	if !ok {
		panic(&cellError{errors.New("this needs the context of a cell of the ddpmlab kernel: pass the cell's ctx")})
	}
	return h
}

// cellError is a panic that the kernel shows as a message with the cell's line.
type cellError struct{ err error }

func (e *cellError) Error() string       { return e.err.Error() }
func (e *cellError) Unwrap() error       { return e.err }
func (e *cellError) CellMessage() string { return e.err.Error() }
