//go:build ddpmcuda

package cuda

import (
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gorgonia.org/tensor"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/op"
	"ddpmlab/ddpm/engine/optest"
	"ddpmlab/ddpm/engine/ref"
)

// withCUDNN returns the GPU with the test double of cuDNN, which `make test-cuda` builds,
// a cache of its own, and what the device says.
func withCUDNN(t *testing.T) (*device, *[]string) {
	t.Helper()
	onFake(t)
	fake := os.Getenv("FAKE_CUDNN")
	if fake == "" {
		t.Skip("run by `make test-cuda`")
	}
	t.Setenv(cudnn.Env, fake)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var said []string
	d, err := Open(Options{Log: func(line string) { said = append(said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	d.(*device).always = true
	return d.(*device), &said
}

// convolutions are shapes that the library is asked for: squares, stripes, strides, odd sizes.
func convolutions() []optest.Case {
	var cases []optest.Case
	for _, c := range []struct {
		x, w                    tensor.Shape
		stride, padding, across int
	}{
		{tensor.Shape{2, 5, 7, 16}, tensor.Shape{3, 3, 16, 24}, 1, 1, 1},
		{tensor.Shape{3, 4, 4, 33}, tensor.Shape{1, 1, 33, 17}, 1, 0, 0},
		{tensor.Shape{1, 9, 8, 20}, tensor.Shape{3, 3, 20, 16}, 2, 1, 1},
		{tensor.Shape{1, 6, 9, 16}, tensor.Shape{1, 7, 16, 18}, 1, 0, 3},
	} {
		f := func(in []*op.Node) *op.Node { return op.ConvPadded(in[0], in[1], c.stride, c.padding, c.across) }
		_, _, y := optest.Case{In: []tensor.Shape{c.x, c.w}, Apply: f}.Build()
		name := fmt.Sprintf(" of %vx%v", c.x, c.w)
		out := y.Shape().Clone()
		cases = append(cases,
			optest.Case{Name: "conv" + name, Kind: op.KindConv, In: []tensor.Shape{c.x, c.w}, Apply: f},
			optest.Case{Name: "convDX" + name, Kind: op.KindConvDX, In: []tensor.Shape{c.x, c.w, out}, Apply: gradOf(0, f)},
			optest.Case{Name: "convDW" + name, Kind: op.KindConvDW, In: []tensor.Shape{c.x, c.w, out}, Apply: gradOf(1, f)},
			optest.Case{Name: "conv and more" + name, Kind: op.KindConv, In: []tensor.Shape{c.x, c.w, {c.w[3]}, out}, Apply: func(in []*op.Node) *op.Node {
				y := f(in[:2])
				return op.Add(op.Add(y, op.Broadcast(in[2], op.PerChannel, y.Shape(), 0)), in[3])
			}})
	}
	return cases
}

var libraryKernels = regexp.MustCompile(`cudnn_\w+`)

// Convolutions by the library are those of the reference, in bfloat16 those of rounded
// operands, which come back rounded.
func TestLibraryAgainstRef(t *testing.T) {
	d, said := withCUDNN(t)
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16} {
		for _, c := range convolutions() {
			t.Run(fmt.Sprintf("%s in precision %d", c.Name, precision), func(t *testing.T) {
				_, in, y := c.Build()
				p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: precision})
				if plan := explain(t, d, p); len(libraryKernels.FindAllString(plan, -1)) != 1 {
					t.Fatalf("not one plan of the library; they said %q:\n%s", *said, plan)
				}
				vals, rounded, tol := c.Values(0.1), c.Values(0.1), tolerance(c.Kind)
				if precision == engine.BFloat16 {
					tol = 1.0 / 256
					for _, x := range rounded[:2] {
						for i := range x {
							x[i] = nearest(x[i])
						}
					}
					if c.Kind != op.KindConv { // the gradient is an operand
						for i, v := range rounded[2] {
							rounded[2][i] = nearest(v)
						}
					}
				}
				if e := distanceFromRef(t, d, p, vals, rounded); !(e <= tol) {
					t.Errorf("relative distance from ref %.2g, want at most %g", e, tol)
				}
			})
		}
	}
	if len(*said) > 0 {
		t.Errorf("it says %q", *said)
	}
}

// rewrite changes all findings, there and in the file.
func rewrite(t *testing.T, all map[string]map[string]finding, change func(finding) finding) {
	t.Helper()
	for key, of := range all {
		for job, f := range of {
			of[job] = change(f)
		}
		changed := &findings{key: key, of: of, fresh: true}
		if err := changed.save(); err != nil {
			t.Fatal(err)
		}
	}
}

// Of the double's plans the fastest that is right is chosen, and found in the file by the
// next device.
func TestLibraryFindings(t *testing.T) {
	d, said := withCUDNN(t)
	t.Setenv("FAKECUDNN_SLOW", "50")
	c := convolutions()[0]
	_, in, y := c.Build()
	for _, precision := range []engine.Precision{engine.Float32, engine.BFloat16} {
		explain(t, d, compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: precision}))
	}
	all, err := readAllFindings()
	if err != nil || len(all) != 1 {
		t.Fatalf("file of %d GPUs, error %v, said %q", len(all), err, *said)
	}
	for key, of := range all {
		if !regexp.MustCompile(`^cuda fake device, driver .*\(CUDA 13\.0\), cuDNN 9\.19\.0$`).MatchString(key) || len(of) != 2 {
			t.Errorf("key %q with %v", key, of)
		}
		for job, f := range of {
			if f.Engine != 14 || f.Plan != 4 || f.Workspace != 1003 || !(f.Seconds > 0 && f.Own > 0) {
				t.Errorf("%s: found %+v, want engine 14", job, f)
			}
		}
	}
	rewrite(t, all, func(f finding) finding { // as if that had been faster
		f.Engine, f.Plan, f.Workspace = 10, 0, 0
		return f
	})
	next, err := Open(Options{Log: func(line string) { *said = append(*said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	next.(*device).always = true
	p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: engine.BFloat16})
	explain(t, next.(*device), p)
	for _, chosen := range next.(*device).library.plans {
		if chosen.Engine != 10 {
			t.Errorf("the next device takes engine %d, not the one in the file", chosen.Engine)
		}
	}
	// What another device finds meanwhile is not found again.
	_, more, z := convolutions()[4].Build()
	other := compile(t, engine.Spec{Inputs: more, Outputs: []*op.Node{z}, Precision: engine.BFloat16})
	explain(t, d, other)
	if all, err = readAllFindings(); err != nil {
		t.Fatal(err)
	}
	rewrite(t, all, func(finding) finding { return finding{Engine: 10, Seconds: 0.1, Own: 0.2} })
	for _, of := range all {
		if len(of) != 3 {
			t.Fatalf("%d findings", len(of))
		}
	}
	explain(t, next.(*device), other)
	for j, chosen := range next.(*device).library.plans {
		if chosen.Engine != 10 {
			t.Errorf("engine %d for %v, not the one in the file", chosen.Engine, j)
		}
	}
	// Where our own kernel is the fastest it is used.
	rewrite(t, all, func(f finding) finding {
		f.Own, f.Seconds = 0.1, 0.2
		return f
	})
	last, err := Open(Options{Log: func(line string) { *said = append(*said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if plan := explain(t, last.(*device), p); strings.Contains(plan, "cudnn") {
		t.Errorf("the library is used where it is slower:\n%s", plan)
	}
	if len(*said) > 0 {
		t.Errorf("it says %q", *said)
	}
}

// A file that is damaged, or of another library, is told or passed over, and written anew.
func TestLibraryDamagedFindings(t *testing.T) {
	d, said := withCUDNN(t)
	t.Setenv("FAKECUDNN_SLOW", "50")
	if err := os.MkdirAll(filepath.Dir(findingsFile()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(findingsFile(), []byte(`{"cuda fake`), 0o644); err != nil {
		t.Fatal(err)
	}
	explain(t, d, oneConv(t))
	if len(*said) != 1 || !strings.Contains((*said)[0], "cudnn.json is damaged") || !strings.Contains((*said)[0], "convolutions are timed anew") {
		t.Errorf("it says %q", *said)
	}
	all, err := readAllFindings()
	if err != nil || len(all) != 1 || d.library == nil {
		t.Fatalf("findings %v, error %v", all, err)
	}
	rewrite(t, all, func(finding) finding { return finding{Plan: 3, Engine: 99} }) // of a library that is another one by now
	next, err := Open(Options{Log: func(line string) { *said = append(*said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	next.(*device).always = true
	explain(t, next.(*device), oneConv(t))
	for _, chosen := range next.(*device).library.plans {
		if chosen == nil || chosen.Engine != 14 {
			t.Errorf("took %+v, want engine 14 found anew", chosen)
		}
	}
	if len(*said) != 1 {
		t.Errorf("it says %q", *said)
	}
}

// The memory that a program is told to take has room for what its plans take.
func TestLibraryWorkspace(t *testing.T) {
	p := oneConv(t)
	size := func(workspace int64) int {
		l, err := lower(p, &state{mem: &memory{}}, func(job) (*cudnn.Plan, error) { return &cudnn.Plan{Workspace: workspace}, nil })
		if err != nil {
			t.Fatal(err)
		}
		return l.numbers(l.arrange()).Arena
	}
	if none, some := size(0), size(1<<20+1); some < none+1<<20+1 || some > none+1<<20+1024 {
		t.Errorf("%d bytes without a workspace, %d with one of a megabyte", none, some)
	}
}

func oneConv(t *testing.T) *engine.Program {
	t.Helper()
	_, in, y := convolutions()[0].Build()
	return compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: engine.BFloat16})
}

// Whatever is wrong with the library: one line, and the numbers are those of our own kernels.
func TestLibraryIsDropped(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  [2]string
		want string // a regular expression
	}{
		{"wrong numbers", [2]string{"FAKECUDNN_FAULT", "wrong"}, `plan \d of engine 1\d computes 1 of 1680 numbers otherwise than ddpmlab's own kernel`},
		{"does not run", [2]string{"FAKECUDNN_FAULT", "execute"}, "cudnn_conv: cuDNN: execute: CUDNN_STATUS_EXECUTION_FAILED: engine 10 does not run"},
		{"cannot be recorded", [2]string{"FAKECUDNN_FAULT", "capture"}, `cudnn_conv: cuDNN: execute: CUDNN_STATUS_EXECUTION_FAILED: engine 1\d does not run`},
		{"no handle", [2]string{"FAKECUDNN_FAULT", "create"}, "create a handle: CUDNN_STATUS_NOT_INITIALIZED: no context"},
		{"an old version", [2]string{"FAKECUDNN_VERSION", "90701"}, "is version 9.7.1, and 9.8.0 is needed"},
		{"none", [2]string{cudnn.Env, "/nowhere/libcudnn.so.9"}, "cuDNN does not load: /nowhere/libcudnn.so.9"},
		{"lacks a function", [2]string{cudnn.Env, lacking(t)}, "undefined symbol: cudnn"},
		{"forbidden", [2]string{cudnn.Env, "off"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, said := withCUDNN(t)
			t.Setenv(tt.env[0], tt.env[1])
			_, in, y := convolutions()[0].Build()
			p := compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}, Precision: engine.BFloat16})
			vals := convolutions()[0].Values(0.1)
			got, _ := run(t, d, p, vals, nil)
			again, _ := run(t, d, p, vals, nil)
			if tt.want == "" && len(*said) != 0 || tt.want != "" && (len(*said) != 1 || !strings.HasPrefix((*said)[0], "cuDNN is not used: ") || !regexp.MustCompile(tt.want).MatchString((*said)[0])) {
				t.Errorf("it says %q, want %q once", *said, tt.want)
			}
			own := open(t)
			want, _ := run(t, own, p, vals, nil)
			if !slices.Equal(got[0], want[0]) || !slices.Equal(again[0], want[0]) {
				t.Errorf("got %v, want those of our own kernel %v", head(got[0]), head(want[0]))
			}
		})
	}
}

// The real library needs a GPU that computes: one line, and our own kernels.
func TestCUDNNWithoutGPU(t *testing.T) {
	onFake(t)
	if os.Getenv(cudnn.Env) == "" || cudnn.Forbidden() {
		t.Skip("run by `make test-cudnn`")
	}
	var said []string
	d, err := Open(Options{Log: func(line string) { said = append(said, line) }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c := convolutions()[0]
	_, in, y := c.Build()
	if e := distanceFromRef(t, d.(*device), compile(t, engine.Spec{Inputs: in, Outputs: []*op.Node{y}}), c.Values(0.1), c.Values(0.1)); !(e <= tolerance(c.Kind)) {
		t.Errorf("relative distance from ref %.2g", e)
	}
	if len(said) != 1 || !strings.Contains(said[0], "cuDNN: create a handle: CUDNN_STATUS_") {
		t.Errorf("it says %q", said)
	}
}

// lacking is a library without the functions.
func lacking(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "libcudnn.so.9")
	c := osexec.Command("gcc", "-shared", "-x", "c", "-", "-o", path)
	c.Stdin = strings.NewReader("int cudnnGetVersion(void) { return 91900; }")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// Three iterations with the library as a graph are those of direct launches to the bit,
// and those of the reference; its plans and what is copied for them are shared by forward
// and backward.
func TestLibraryTrains(t *testing.T) {
	for _, tt := range []struct {
		precision engine.Precision
		tolerance float64
	}{{engine.Float32, 1e-4}, {engine.BFloat16, 2e-2}} {
		d, said := withCUDNN(t)
		p := netOf(t, 16, tt.precision)
		plan := explain(t, d, p)
		for _, kernel := range []string{"cudnn_conv ", "cudnn_conv_dx ", "cudnn_conv_dw "} {
			if !strings.Contains(plan, kernel) {
				t.Errorf("no %sin\n%s", kernel, plan)
			}
		}
		if n := strings.Count(plan, " narrow "); tt.precision == engine.BFloat16 && n != 4 {
			t.Errorf("%d operands are rounded, want 4: the input of a convolution that is float32, and what flows back to the outputs of three\n%s", n, plan)
		}
		losses, arrays := trainNet(t, d, p)
		d.direct = true
		direct, directArrays := trainNet(t, d, p)
		d.separate = true
		alone, aloneArrays := trainNet(t, d, p)
		if !slices.Equal(losses, direct) || !slices.Equal(losses, alone) {
			t.Errorf("losses and norms %v as a graph, %v launched directly, %v without an arena", losses, direct, alone)
		}
		want, wantArrays := trainNet(t, ref.New(), p)
		if e := distance(onlyLosses(losses), onlyLosses(want)); !(e < tt.tolerance) {
			t.Errorf("losses and norms %v, want %v", losses, want)
		}
		for a := range arrays {
			if !slices.Equal(arrays[a], directArrays[a]) || !slices.Equal(arrays[a], aloneArrays[a]) {
				t.Errorf("%v differ between graph and direct launches", engine.Array(a))
			}
			if e := distance(arrays[a], wantArrays[a]); tt.precision == engine.Float32 && !(e < tt.tolerance) {
				t.Errorf("%v: relative distance %.2g from ref", engine.Array(a), e)
			}
		}
		if len(*said) > 0 {
			t.Errorf("it says %q", *said)
		}
	}
}

// onlyLosses leaves out the norms of gradients, which the rounding of this network's
// operands moves far.
func onlyLosses(x []float32) (losses []float32) {
	for i := 0; i < len(x); i += 2 {
		losses = append(losses, x[i])
	}
	return losses
}

// A library that fails after it was compared: one line, and the training goes on with our
// own kernels on the same inputs and weights. A graph is recorded in the first iteration,
// direct launches may fail in any.
func TestLibraryFailsLater(t *testing.T) {
	for _, direct := range []bool{false, true} {
		d, said := withCUDNN(t)
		p := netOf(t, 16, engine.BFloat16)
		calls := strings.Count(explain(t, d, p), " cudnn_conv") // everything is timed and compared
		d.direct = direct
		after := 2
		if direct {
			after += calls
		}
		t.Setenv("FAKECUDNN_FAULT", "later "+fmt.Sprint(after))
		got, _ := trainNet(t, d, p)
		if len(*said) != 1 || !strings.Contains((*said)[0], "does not run; convolutions are computed by ddpmlab's own kernels") {
			t.Errorf("it says %q", *said)
		}
		want, _ := trainNet(t, open(t), p)
		if same := slices.Equal(got[:2], want[:2]); same == direct || slices.Equal(got[2:], want[2:]) == direct {
			t.Errorf("direct %v: losses and norms %v, with our own kernels %v", direct, got, want)
		}
		if e := distance(onlyLosses(got), onlyLosses(want)); !(e < 1e-2) {
			t.Errorf("direct %v: losses %v, with our own kernels %v", direct, got, want)
		}
		t.Setenv("FAKECUDNN_FAULT", "")
	}
}
