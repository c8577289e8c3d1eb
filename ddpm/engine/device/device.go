// Package device opens the devices that programs are run on, by name.
package device

import (
	"fmt"
	"strings"

	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/engine/cuda"
)

// Names are the devices that Open knows: auto is the GPU if this program can use one,
// else the processor.
func Names() []string { return []string{"auto", "cpu", "cuda"} }

// Check fails if there is no device of that name in Names; "" is auto.
func Check(name string) error {
	switch name {
	case "", "auto", "cpu", "cuda":
		return nil
	}
	return fmt.Errorf("device %q: want one of %s", name, strings.Join(Names(), ", "))
}

// Open opens a device; threads is for the processor. The caller closes it.
func Open(name string, threads int) (engine.Device, error) {
	if err := Check(name); err != nil {
		return nil, err
	}
	if name == "cuda" || name != "cpu" && cuda.Inspect().Err == nil {
		d, err := cuda.New()
		if err != nil {
			return nil, fmt.Errorf("device cuda: %w", err)
		}
		return d, nil
	}
	return cpu.New(threads)
}

// Note says why Open would take the processor though this program could use a GPU; it is
// empty if it would not, or if the program was built without.
func Note(name string) string {
	if name == "cpu" || name == "cuda" {
		return ""
	}
	if r := cuda.Inspect(); r.Built && r.Err != nil {
		return fmt.Sprintf("%v; computing on the processor", r.Err)
	}
	return ""
}
