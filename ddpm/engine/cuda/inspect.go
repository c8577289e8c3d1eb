//go:build ddpmcuda

package cuda

import (
	"errors"
	"fmt"
	"strings"

	"gorgonia.org/cu"

	"ddpmlab/ddpm/engine/cuda/cudnn"
	"ddpmlab/ddpm/engine/cuda/cudrv"
)

// Inspect looks for a driver and GPUs.
func Inspect() Report {
	r := Report{Built: true}
	r.Library, r.Missing, r.Err = cudrv.Library()
	switch {
	case errors.Is(r.Err, cudrv.NoDevice):
		r.Err = errors.New("the NVIDIA driver finds no GPU")
		return r
	case r.Library == "" && !strings.Contains(r.Err.Error(), "No such file"):
		r.Err = fmt.Errorf("the NVIDIA driver does not load: %w", r.Err)
		return r
	case r.Library == "":
		r.Err = fmt.Errorf("no NVIDIA driver is installed: %w", r.Err)
		return r
	case r.Err != nil:
		r.Err = fmt.Errorf("the NVIDIA driver %s does not start: %w", r.Library, r.Err)
		return r
	}
	if r.Version = cu.Version(); r.Version < DriverWanted {
		r.Err = fmt.Errorf("the NVIDIA driver speaks CUDA %s, and %s is needed; install driver 580 or newer", versionText(r.Version), versionText(DriverWanted))
		return r
	}
	n, err := cu.NumDevices()
	if err != nil || n == 0 {
		r.Err = errors.Join(errors.New("the NVIDIA driver finds no GPU"), err)
		return r
	}
	for i := range n {
		d, err := inspectDevice(i)
		if err != nil {
			r.Err = fmt.Errorf("GPU %d: %w", i, err)
			return r
		}
		r.Devices = append(r.Devices, d)
	}
	return r
}

func inspectDevice(i int) (d Device, err error) {
	g, err := cu.GetDevice(i)
	if err != nil {
		return d, err
	}
	if d.Name, err = g.Name(); err != nil {
		return d, err
	}
	if d.Major, d.Minor, err = g.ComputeCapability(); err != nil {
		return d, err
	}
	if d.Multiprocessors, err = g.Attribute(cu.MultiprocessorCount); err != nil {
		return d, err
	}
	t, err := newThread(g)
	if err != nil {
		return d, err
	}
	defer t.close()
	err = t.do(func() error {
		d.Free, d.Total, err = cu.MemInfo()
		return err
	})
	return d, err
}

// InspectCuDNN says which cuDNN is installed, and in how many ways it would compute a
// convolution of the U-Net on the first GPU.
func InspectCuDNN() (string, error) {
	if r := Inspect(); r.Err != nil {
		return "", r.Err
	}
	g, err := cu.GetDevice(0)
	if err != nil {
		return "", fmt.Errorf("GPU 0: %w", err)
	}
	d, err := describe(g)
	if err != nil {
		return "", fmt.Errorf("GPU 0: %w", err)
	}
	library, err := cudnn.Open()
	if err != nil {
		return "", err
	}
	plans, err := library.Plans(cudnn.Conv{N: 128, H: 32, W: 32, C: 128, K: 128, R: 3, S: 3, Stride: 1, Pad: 1, PadX: 1}, cudnn.Forward, d)
	if err != nil {
		return "", fmt.Errorf("%s, version %s: %w", library.Path, library.Version(), err)
	}
	return fmt.Sprintf("%s, version %s, with %d plans for a 3x3 convolution", library.Path, library.Version(), len(plans)), nil
}

// describe is what cuDNN has to know of a GPU.
func describe(g cu.Device) (d cudnn.Device, err error) {
	if d.Name, err = g.Name(); err != nil {
		return d, err
	}
	if d.Major, d.Minor, err = g.ComputeCapability(); err != nil {
		return d, err
	}
	d.Driver = cu.Version()
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		to        *int
	}{
		{cu.MultiprocessorCount, &d.Multiprocessors},
		{cu.L2CacheSize, &d.Cache},
		{sharedMemory, &d.Shared},
		{cu.ClockRate, &d.Clock},
		{cu.MemoryClockRate, &d.MemoryClock},
	} {
		if *a.to, err = g.Attribute(a.attribute); err != nil {
			return d, err
		}
	}
	d.Memory, err = g.TotalMem()
	return d, err
}

// sharedMemory is the attribute that tells how much a block may be allowed.
const sharedMemory cu.DeviceAttribute = 97
