//go:build !ddpmcuda

package cuda

import (
	"errors"

	"ddpmlab/ddpm/engine"
)

var errNotBuilt = errors.New("this ddpmlab was built without the GPU; build it with `make cuda`")

// New fails: this program was built without the tag ddpmcuda.
func New() (engine.Device, error) { return nil, errNotBuilt }

// Open fails likewise.
func Open(Options) (engine.Device, error) { return nil, errNotBuilt }

// Inspect reports that this program was built without the tag ddpmcuda.
func Inspect() Report { return Report{Err: errNotBuilt} }

// Kernels fails likewise.
func Kernels() ([]Kernel, error) { return nil, errNotBuilt }

// Count fails likewise.
func Count(*engine.Program) (Numbers, error) { return Numbers{}, errNotBuilt }

// Convolutions fails likewise.
func Convolutions(*engine.Program, func(Convolution) error) error { return errNotBuilt }

// InspectCuDNN fails likewise.
func InspectCuDNN() (string, error) { return "", errNotBuilt }
