//go:build ddpmcuda

package cudnn

import "unsafe"

// Handle is the library at work on a stream of the current context's GPU. Whoever has
// that context current calls it.
type Handle struct {
	l      *Library
	handle unsafe.Pointer
}

// Handle returns one for the driver's stream of that address. The caller closes it.
func (l *Library) Handle(stream uintptr) (*Handle, error) {
	at, r := l.openHandle()
	if err := l.check("create a handle", r); err != nil {
		return nil, err
	}
	h := &Handle{l, at}
	if err := l.check("set the stream", l.setStream(h.handle, stream)); err != nil {
		_ = h.Close()
		return nil, err
	}
	return h, nil
}

// Close gives back what the handle has. Plans are closed before.
func (h *Handle) Close() error { return h.l.check("destroy the handle", h.l.closeHandle(h.handle)) }

// Plans are ways to compute a convolution on a handle's GPU.
type Plans struct {
	All []*Plan
	s   *session
}

// Plans returns up to n ways to compute c in direction d, the one that the library takes
// for the fastest first, or the one of that index alone. The caller closes them.
func (h *Handle) Plans(c Conv, d Direction, n int) (*Plans, error) {
	return h.plans(c, d, n, func(int) bool { return true })
}

// Plan returns the way of that index alone.
func (h *Handle) Plan(c Conv, d Direction, index int) (*Plans, error) {
	return h.plans(c, d, 1, func(i int) bool { return i == index })
}

func (h *Handle) plans(c Conv, d Direction, n int, wanted func(int) bool) (*Plans, error) {
	p := &Plans{s: &session{l: h.l}}
	mine := handle(h.handle)
	var err error
	p.All, err = p.s.plans(c, d, target{graph: []attribute{{graphHandle, mine}}, plan: []attribute{{planHandle, mine}}}, n, wanted)
	if err != nil {
		p.Close()
		return nil, err
	}
	for _, plan := range p.All {
		plan.h = h
	}
	return p, nil
}

// Close forgets the plans.
func (p *Plans) Close() { p.s.close() }

// Execute queues a plan of a handle. The arguments are addresses in the GPU's memory: of
// what are the images, the filters and the output of the convolution in direction Forward,
// and of the workspace.
func (p *Plan) Execute(images, filters, output, workspace uintptr) error {
	s := &session{l: p.h.l}
	defer s.close()
	pack, err := s.descriptor(kindPack,
		attribute{packIDs, []int64{idImages, idFilters, idOutput}},
		attribute{packPointers, []address{address(images), address(filters), address(output)}},
		attribute{packWorkspace, address(workspace)})
	if err != nil {
		return err
	}
	return s.l.check("execute", s.l.execute(p.h.handle, p.descriptor, pack))
}
