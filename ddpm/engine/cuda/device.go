//go:build ddpmcuda

package cuda

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/cuda/cudrv"
	"ddpmlab/ddpm/engine/cuda/kernels"
)

type device struct {
	name      string
	thread    *thread
	stream    cu.Stream
	module    cu.Module
	functions map[string]cu.Function
	layouts   map[string][]kernels.Param

	separate bool // every buffer is an allocation of its own
	direct   bool // launches without a graph
	profile  *Profile

	libraries bool              // whether a library may compute convolutions
	library   *library          // once it has been looked for
	always    bool              // whether it also computes what our own kernels do faster
	log       func(line string) // tells the user something; may be nil

	pending []timed // launches whose times profile does not have yet

	// failed is the first error of a call that has no error to return. Runs return it:
	// a GPU that has failed once computes nothing more in this process.
	failed error
}

// New returns the first GPU as a device. It fails if there is none that can be used.
func New() (engine.Device, error) { return Open(Options{}) }

// Open is New with options.
func Open(o Options) (engine.Device, error) {
	d, err := newDevice()
	if err != nil {
		return nil, err
	}
	d.separate, d.direct, d.profile = o.Separate, o.Direct || o.Profile != nil, o.Profile
	d.libraries, d.log = !o.Own, o.Log
	if d.log == nil {
		d.log = func(line string) { fmt.Fprintln(os.Stderr, "ddpmlab: "+line) }
	}
	return d, nil
}

// Kernels lists the kernels as the first GPU's driver has loaded them, by name.
func Kernels() ([]Kernel, error) {
	d, err := newDevice()
	if err != nil {
		return nil, err
	}
	var all []Kernel
	err = d.do(func() error {
		for _, name := range slices.Sorted(maps.Keys(d.functions)) {
			k := Kernel{Name: name}
			var err error
			if k.Registers, k.Local, k.Shared, err = cudrv.Attributes(d.functions[name]); err != nil {
				return fmt.Errorf("kernel %s: %w", name, err)
			}
			all = append(all, k)
		}
		return nil
	})
	return all, errors.Join(err, d.Close())
}

func newDevice() (*device, error) {
	r := Inspect()
	if r.Err != nil {
		return nil, r.Err
	}
	image, err := kernels.Image()
	if err != nil {
		return nil, err
	}
	d := &device{name: "cuda " + r.Devices[0].Name, functions: map[string]cu.Function{}}
	if d.layouts, err = kernels.Layouts(image); err != nil {
		return nil, err
	}
	gpu, err := cu.GetDevice(0)
	if err != nil {
		return nil, fmt.Errorf("GPU 0: %w", err)
	}
	if d.thread, err = newThread(gpu); err != nil {
		return nil, fmt.Errorf("GPU 0: %w", err)
	}
	err = d.thread.do(func() error { return d.start(string(image)) })
	if err != nil {
		_ = d.thread.close()
		return nil, fmt.Errorf("%s: %w", d.name, err)
	}
	return d, nil
}

// start loads the kernels.
func (d *device) start(image string) (err error) {
	if d.module, err = cu.LoadData(image); err != nil {
		return fmt.Errorf("load the kernels: %w", err)
	}
	for name := range d.layouts {
		if d.functions[name], err = d.module.Function(name); err != nil {
			return fmt.Errorf("load kernel %s: %w", name, err)
		}
	}
	d.stream, err = cu.MakeStream(cu.DefaultStream)
	return err
}

// Name is that of the GPU.
func (d *device) Name() string { return d.name }

// Close gives the GPU back. States and programs are closed before.
func (d *device) Close() error {
	err := d.thread.do(func() error {
		return errors.Join(d.stream.Synchronize(), d.collect(), d.library.close(), d.stream.Destroy(), d.module.Unload())
	})
	return errors.Join(err, d.thread.close())
}

// do makes calls on the GPU's thread, unless the GPU has failed.
func (d *device) do(f func() error) error {
	return d.thread.do(func() error {
		if d.failed != nil {
			return d.failed
		}
		return f()
	})
}

// must is do for callers who can return no error: it is kept for the next run.
func (d *device) must(what string, f func() error) {
	_ = d.thread.do(func() error {
		if d.failed == nil {
			if err := f(); err != nil {
				d.failed = fmt.Errorf("%s: %s: %w", d.name, what, err)
			}
		}
		return nil
	})
}

// memory is a piece of the GPU's memory.
type memory struct {
	d      *device
	at     cu.DevicePtr
	floats int
}

// outOfMemory is an allocation that does not fit, in bytes.
type outOfMemory struct{ wanted, free int64 }

func (e *outOfMemory) Error() string {
	return fmt.Sprintf("%s of GPU memory are needed and %s are free", sizeText(e.wanted), sizeText(e.free))
}

// sizeText is a number of bytes as people write it.
func sizeText(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// allocate returns memory with undefined content, on the GPU's thread.
func (d *device) allocate(floats int) (*memory, error) {
	n := int64(max(1, floats)) * 4
	p, err := cu.MemAlloc(n)
	if err != nil {
		if free, _, err := cu.MemInfo(); err == nil && free < n {
			return nil, &outOfMemory{n, free}
		}
		return nil, fmt.Errorf("allocate %s of GPU memory: %w", sizeText(n), err)
	}
	return &memory{d, p, floats}, nil
}

func (m *memory) free() error {
	if m == nil || m.at == 0 {
		return nil
	}
	at := m.at
	m.at = 0
	return cu.MemFree(at)
}

// pointer is the address of float i.
func (m *memory) pointer(i int) cu.DevicePtr { return m.at + cu.DevicePtr(4*i) }

// timed is a launch between two events.
type timed struct {
	planned
	from, to *cudrv.Event
}

// launch queues one kernel, and events around it if they are wanted.
func (d *device) launch(c call) error { return d.launchPlanned(planned{call: c}) }

func (d *device) launchPlanned(p planned) error {
	if d.profile == nil {
		return d.queue(p.call)
	}
	t := timed{planned: p}
	var err error
	if t.from, err = cudrv.Record(d.stream); err != nil {
		return err
	}
	if err := d.queue(p.call); err != nil {
		return errors.Join(err, t.from.Close())
	}
	if t.to, err = cudrv.Record(d.stream); err != nil {
		return errors.Join(err, t.from.Close())
	}
	d.pending = append(d.pending, t)
	return nil
}

// replay queues what queue does, as a graph that is recorded the first time.
func (d *device) replay(graph **cudrv.Graph, queue func() error) (err error) {
	switch {
	case d.direct:
		err = queue()
	case *graph == nil:
		if *graph, err = cudrv.Capture(d.stream, queue); err != nil {
			break
		}
		fallthrough
	default:
		err = (*graph).Launch(d.stream)
	}
	return err
}

// wait waits for all that is queued. If it failed, so does all that follows.
func (d *device) wait() error {
	if err := d.stream.Synchronize(); err != nil {
		d.failed = fmt.Errorf("%s: run: %w", d.name, err)
		return d.failed
	}
	return d.collect()
}

// collect gives the profile what has been waited for.
func (d *device) collect() error {
	var errs []error
	for _, t := range d.pending {
		s, err := t.to.Since(t.from)
		errs = append(errs, err, t.from.Close(), t.to.Close())
		d.profile.add(t.kernel, s, t.flops, float64(t.bytes()))
	}
	d.pending = nil
	return errors.Join(errs...)
}

func (p *Profile) add(kernel string, seconds, flops, bytes float64) {
	if p.Kernels == nil {
		p.Kernels = map[string]*KernelTime{}
	}
	t := p.Kernels[kernel]
	if t == nil {
		t = &KernelTime{Name: kernel}
		p.Kernels[kernel] = t
	}
	t.Launches++
	t.Seconds += seconds
	t.Flops += flops
	t.Bytes += bytes
}

// queue queues one kernel. Its arguments must lie as the compiler laid out the parameters.
func (d *device) queue(c call) error {
	if p, ok := c.args[0].(*cudnn.Plan); ok {
		return c.execute(p)
	}
	var a cudrv.Args
	for _, v := range c.args {
		switch v := v.(type) {
		case place:
			cudrv.Put(&a, v.pointer())
		case cu.DevicePtr:
			cudrv.Put(&a, v)
		case int32:
			cudrv.Put(&a, v)
		case uint32:
			cudrv.Put(&a, v)
		case int64:
			cudrv.Put(&a, v)
		case float32:
			cudrv.Put(&a, v)
		case float64:
			cudrv.Put(&a, v)
		default:
			return fmt.Errorf("kernel %s: an argument of type %T", c.kernel, v)
		}
	}
	if err := fits(a.Layout(), d.layouts[c.kernel]); err != nil {
		return fmt.Errorf("kernel %s: %w", c.kernel, err)
	}
	if err := cudrv.Launch(d.functions[c.kernel], c.grid, [3]int{c.threads, 1, 1}, 0, d.stream, &a); err != nil {
		return fmt.Errorf("kernel %s: %w", c.kernel, err)
	}
	return nil
}

// execute queues what a library computes.
func (c call) execute(p *cudnn.Plan) error {
	var at [4]uintptr
	for i, a := range c.args[1:] {
		at[i] = uintptr(a.(place).pointer())
	}
	if err := p.Execute(at[0], at[1], at[2], at[3]); err != nil {
		return &libraryError{fmt.Errorf("%s: %w", c.kernel, err)}
	}
	return nil
}

// fits compares where packed arguments lie with where the kernel expects them.
func fits(got []int, want []kernels.Param) error {
	if len(got)-1 != len(want) {
		return fmt.Errorf("%d arguments, want %d", len(got)-1, len(want))
	}
	for i, p := range want {
		end := got[len(got)-1]
		if i+1 < len(want) {
			end = min(got[i+1], got[i]+p.Size)
		}
		if got[i] != p.Offset || end != p.Offset+p.Size {
			return fmt.Errorf("argument %d at bytes [%d,%d), want [%d,%d)", i, got[i], end, p.Offset, p.Offset+p.Size)
		}
	}
	return nil
}

// NewState makes the flat arrays for n parameters.
func (d *device) NewState(n int) (engine.State, error) {
	var s *state
	err := d.do(func() (err error) {
		s, err = newState(d, n)
		return err
	})
	if _, ok := errors.AsType[*outOfMemory](err); ok {
		err = fmt.Errorf("%w; lower model.channels", err)
	}
	if err != nil {
		return nil, fmt.Errorf("new state of %d parameters: %w", n, err)
	}
	return s, nil
}

// Load lowers p for the GPU.
func (d *device) Load(p *engine.Program, s engine.State) (engine.Exec, error) {
	st, ok := s.(*state)
	if !ok {
		return nil, fmt.Errorf("load: a state of type %T is not of device %s", s, d.Name())
	}
	if st.n != p.ParamLen {
		return nil, fmt.Errorf("load: the state has %d parameters, the program %d", st.n, p.ParamLen)
	}
	var e *exec
	err := d.do(func() (err error) {
		e, err = load(d, p, st)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return e, nil
}
