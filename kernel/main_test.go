package kernel_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"ddpmlab/internal/cell"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
	"ddpmlab/kernel"
	"ddpmlab/kernel/symbols/export"

	"github.com/cosmos72/gomacro/imports"
)

// TestMain lets the test binary be the kernel that tests start as a child process: it
// answers the command line that ddpmlab does. Cells can import ddpmlab/kerneltest.
func TestMain(m *testing.M) {
	imports.Packages.MergePackage("ddpmlab/kerneltest", imports.PackageUnderlying{
		Name: "kerneltest",
		Binds: map[string]reflect.Value{
			"Train": reflect.ValueOf(train), "Fail": reflect.ValueOf(fail), "Source": reflect.ValueOf(source),
			"Table": reflect.ValueOf(table), "Both": reflect.ValueOf(both),
		},
	})
	export.Declare("ddpmlab/kerneltest", `package kerneltest
import "context"
type T struct{}
func Train(ctx context.Context, steps int) int
func Fail()
func Source(ctx context.Context) string
func Table() *T
func Both(ok bool) (*T, error)
`)
	if a := os.Args; len(a) == 5 && a[1] == "kernel" && a[2] == "serve" && a[3] == "-f" {
		if err := kernel.Serve(context.Background(), a[4]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Setenv("DDPMLAB_HISTORY", "off") // not the user's; children have it from here
	os.Exit(m.Run())
}

// train reports as a training does, one step a millisecond, until its context ends.
func train(ctx context.Context, steps int) int {
	sink := display.FromContext(ctx)
	var line display.Line
	for i := range steps {
		select {
		case <-ctx.Done():
			sink.Progress(display.Progress{ID: "t", Title: "test", Done: int64(i), Total: int64(steps), State: display.Interrupted})
			return i
		case <-time.After(time.Millisecond):
		}
		line.X, line.Y = append(line.X, float64(i)), append(line.Y, 1/float64(i+1))
		sink.Progress(display.Progress{ID: "t", Title: "test", Done: int64(i + 1), Total: int64(steps)})
		sink.Curve(display.Curve{ID: "c", Title: "loss", Lines: []display.Line{line}})
	}
	sink.Progress(display.Progress{ID: "t", Title: "test", Done: int64(steps), Total: int64(steps), State: display.Done})
	return steps
}

type cellError struct{ err error }

func (e *cellError) Error() string       { return e.err.Error() }
func (e *cellError) CellMessage() string { return e.err.Error() }

// fail panics as experiments.Lab does.
func fail() { panic(&cellError{errors.New("no run called x; see lab.AllRuns()")}) }

// source is the cell as a computation finds it.
func source(ctx context.Context) string {
	c, _ := cell.FromContext(ctx)
	return fmt.Sprintf("%d %q after %d", c.Index, c.Source, len(c.Before))
}

func table() *render.Table {
	return &render.Table{Columns: []render.Column{{Name: "a"}}, Rows: []render.Row{{Cells: []string{"1 < 2"}}}}
}

func both(ok bool) (*render.Table, error) {
	if !ok {
		return nil, errors.New("no table today")
	}
	return table(), nil
}
