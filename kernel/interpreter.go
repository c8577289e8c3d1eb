package kernel

import (
	"context"
	"reflect"

	"ddpmlab/kernel/check"
)

// interpreter evaluates cells in one session: what a cell declares, later cells see. It
// is all the kernel knows of the language, so that another evaluator can take its place.
//
// Eval is called from one goroutine at a time. The other methods may be called while Eval
// runs; they wait at most for the compilation of one statement.
type interpreter interface {
	// Eval runs a cell. Context ctx is bound to the name ctx in it; when ctx ends, Eval
	// stops the cell and returns a fault whose Interrupted is set. It returns in any
	// case soon after, even when compiled code that the cell called goes on.
	Eval(ctx context.Context, c source) (values []value, f *fault)
	// Call runs f, compiled code that calls functions of cells, under the same rules.
	Call(ctx context.Context, f func()) *fault
	// Complete returns the names that could stand at the byte offset pos of src, and
	// where the incomplete name begins.
	Complete(src string, pos int) (names []string, start int)
	// Inspect describes the name around the byte offset pos of src, at detail 0 or 1; ""
	// when unknown.
	Inspect(src string, pos, detail int) string
	// Names lists what cells have declared.
	Names() []named
	// Line returns a line of a cell that was evaluated, for error messages.
	Line(p place) string
}

// source is a cell as the user sent it.
type source struct {
	Number int // execution count
	Source string
	Aside  bool // evaluated beside the cell of that number: error messages do not quote it
	// Packages are names of packages that this source knows beyond those of all cells:
	// name -> path.
	Packages map[string]string
}

// value is one value of a cell's last expression.
type value struct {
	V    reflect.Value
	Type string // static type, as the cell would write it
	// Converted is the value in its box (see boxed) if a cell declared its type, whose
	// methods reflection does not see. Else nil.
	Converted any
	At        place // where the expression begins
}

// fault is why a cell failed.
type fault struct {
	Name        string   // as "compile error", "panic": the error's kind
	Message     string   // one or a few lines
	Cell, Line  int      // where, 1-based; Line 0: not known
	Trace       []place  // callers of the failing line that are in cells, innermost first
	Stack       []string // frames of compiled code that help, innermost first
	Interrupted bool
	Errors      []check.Error // of a cell that was not run: all that is wrong with it
}

// place is a line of a cell.
type place struct{ Cell, Line int }
