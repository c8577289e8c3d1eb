//go:build ddpmcuda

package cuda

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

// job is a convolution that a library may compute.
type job struct {
	cudnn.Conv
	cudnn.Direction
}

func (j job) String() string { return fmt.Sprintf("%v of %v", j.Direction, j.Conv) }

// planner chooses the library's plan for a convolution, nil for our own kernel.
type planner func(job) (*cudnn.Plan, error)

// ours chooses our own kernels.
func ours(job) (*cudnn.Plan, error) { return nil, nil }

// library is cuDNN at work for a device, with the plans that were found to be fastest and
// right.
type library struct {
	d        *device
	cudnn    *cudnn.Library
	handle   *cudnn.Handle
	plans    map[job]*cudnn.Plan // nil where our own kernel is faster
	open     []*cudnn.Plans      // those of plans
	findings *findings           // of this process and of earlier ones
}

// libraryError is what goes wrong with the library: reason to do without.
type libraryError struct{ err error }

func (e *libraryError) Error() string { return e.err.Error() }
func (e *libraryError) Unwrap() error { return e.err }

// plan is the device's planner. It looks for the library when it is first asked. Its
// errors are the library's.
func (d *device) plan(j job) (p *cudnn.Plan, err error) {
	if !d.libraries {
		return nil, nil
	}
	if d.library == nil {
		if d.library, err = d.openLibrary(); err != nil {
			return nil, &libraryError{err}
		}
	}
	if p, err = d.library.plan(j); err != nil {
		return nil, &libraryError{d.library.blame(err)}
	}
	return p, nil
}

func (d *device) openLibrary() (*library, error) {
	c, err := cudnn.Open()
	if err != nil {
		return nil, err
	}
	l := &library{d: d, cudnn: c, plans: map[job]*cudnn.Plan{}}
	if l.handle, err = c.Handle(cudrv.StreamAddress(d.stream)); err != nil {
		return nil, l.blame(err)
	}
	l.findings, err = readFindings(fmt.Sprintf("%s, driver %s, cuDNN %s", d.name, driverVersion(), c.Version()))
	if err != nil {
		d.say("%v; convolutions are timed anew", err)
	}
	return l, nil
}

// blame says of which library an error is.
func (l *library) blame(err error) error {
	return fmt.Errorf("%s, version %s: %w", l.cudnn.Path, l.cudnn.Version(), err)
}

// driverVersion is that of the kernel's module where it is known, and the CUDA that the
// driver speaks.
func driverVersion() string {
	text, _ := os.ReadFile("/sys/module/nvidia/version")
	return strings.TrimSpace(fmt.Sprintf("%s (CUDA %s)", strings.TrimSpace(string(text)), versionText(cu.Version())))
}

// withoutLibrary drops the library for good and says so, if err is of it; it returns other
// errors. Programs that have its plans keep them.
func (d *device) withoutLibrary(err error) error {
	broken, ok := errors.AsType[*libraryError](err)
	if !ok {
		return err
	}
	if d.libraries && !cudnn.Forbidden() {
		d.say("cuDNN is not used: %v; convolutions are computed by ddpmlab's own kernels", broken)
	}
	d.libraries = false
	return nil
}

// say tells the user something, in a line.
func (d *device) say(format string, args ...any) {
	if d.log != nil {
		d.log(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "))
	}
}

// close gives back what the library has.
func (l *library) close() error {
	if l == nil {
		return nil
	}
	for _, p := range l.open {
		p.Close()
	}
	return l.handle.Close()
}

// plan returns the fastest plan for j, which has been compared with our own kernel.
func (l *library) plan(j job) (*cudnn.Plan, error) {
	if p, known := l.plans[j]; known {
		return p, nil
	}
	profile := l.d.profile // does not count what is tried
	l.d.profile = nil
	defer func() { l.d.profile = profile }()
	f, known := l.findings.find(j.String())
	p, same := l.prepare(j, f)
	if !known || !same {
		var err error
		if f, err = l.find(j); err != nil {
			return nil, fmt.Errorf("%v: %w", j, err)
		}
		l.findings.add(j.String(), f)
		if p, same = l.prepare(j, f); !same {
			return nil, fmt.Errorf("%v: the plan that was timed cannot be prepared again", j)
		}
	}
	if p != nil {
		if err := l.check(j, p); err != nil {
			return nil, fmt.Errorf("%v: %w", j, err)
		}
	}
	l.plans[j] = p
	return p, nil
}

// Convolutions times and compares every different convolution of p with cuDNN, and tells
// found of each. It fails if there is no cuDNN, or at the first that is wrong.
func Convolutions(p *engine.Program, found func(Convolution) error) error {
	var jobs []job
	seen := map[job]bool{}
	collect := func(j job) (*cudnn.Plan, error) {
		if !seen[j] {
			jobs = append(jobs, j)
		}
		seen[j] = true
		return nil, nil
	}
	if _, err := lower(p, &state{n: p.ParamLen, stride: alignUp(p.ParamLen), mem: &memory{}}, collect); err != nil {
		return err
	}
	d, err := newDevice()
	if err != nil {
		return err
	}
	d.libraries = true
	for _, j := range jobs {
		var c Convolution
		if err = d.do(func() error { c, err = d.convolution(j); return err }); err != nil {
			break
		}
		if err = found(c); err != nil {
			break
		}
	}
	return errors.Join(err, d.do(func() error {
		if d.library == nil {
			return nil
		}
		return d.library.findings.save()
	}), d.Close())
}

func (d *device) convolution(j job) (Convolution, error) {
	p, err := d.plan(j)
	if err != nil {
		return Convolution{}, err
	}
	f := d.library.findings.of[j.String()]
	return Convolution{Name: j.String(), Own: f.Own, Seconds: f.Seconds, Engine: f.Engine, Workspace: f.Workspace, Used: p != nil}, nil
}

// prepare makes the plan of a finding ready, unless our own kernel is faster; it reports
// whether there still is the same.
func (l *library) prepare(j job, f finding) (*cudnn.Plan, bool) {
	if f.Plan == noPlan || f.Seconds >= f.Own && !l.d.always {
		return nil, true
	}
	plans, err := l.handle.Plan(j.Conv, j.Direction, f.Plan)
	if err != nil {
		return nil, false
	}
	l.open = append(l.open, plans)
	p := plans.All[0]
	return p, p.Engine == f.Engine && p.Workspace == f.Workspace
}

// At most so many plans are tried, none of them with a larger workspace, in bytes.
const (
	tried         = 8
	mostWorkspace = 1 << 29
)

// find times our own kernel and the first plans of the library. A plan that fails is left
// out, unless all do.
func (l *library) find(j job) (best finding, err error) {
	best.Plan = noPlan
	if best.Own, err = l.time(j, nil); err != nil {
		return best, err
	}
	plans, err := l.handle.Plans(j.Conv, j.Direction, tried)
	if errors.Is(err, cudnn.ErrNone) {
		return best, nil
	} else if err != nil {
		return best, err
	}
	defer plans.Close()
	var failed []error
	for _, p := range plans.All {
		if p.Workspace > mostWorkspace {
			continue
		}
		s, err := l.time(j, p)
		if err != nil {
			failed = append(failed, err)
		} else if best.Plan == noPlan || s < best.Seconds {
			best = finding{Plan: p.Index, Engine: p.Engine, Workspace: p.Workspace, Seconds: s, Own: best.Own}
		}
	}
	if len(failed) == len(plans.All) {
		return best, failed[0]
	}
	return best, nil
}
