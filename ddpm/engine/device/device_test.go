package device_test

import (
	"strings"
	"testing"

	"ddpmlab/ddpm/engine/cuda"
	"ddpmlab/ddpm/engine/device"
)

func TestOpen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		prefix string // of the device's name; empty for an error
	}{
		{"cpu", "cpu "}, {"tpu", ""}, {"CPU", ""},
	} {
		d, err := device.Open(tt.name, 1)
		switch {
		case err != nil && tt.prefix != "":
			t.Errorf("%s: %v", tt.name, err)
		case err != nil:
			if !strings.Contains(err.Error(), "auto, cpu, cuda") {
				t.Errorf("got error %q, want one that lists the devices", err)
			}
		default:
			if !strings.HasPrefix(d.Name(), tt.prefix) || tt.prefix == "" {
				t.Errorf("device %s opened %s", tt.name, d.Name())
			}
			d.Close()
		}
	}
}

// Without a GPU, auto is the processor and cuda an error with a reason; with one, both are the GPU.
func TestGPU(t *testing.T) {
	usable := cuda.Inspect().Err == nil
	for _, name := range []string{"", "auto", "cuda"} {
		d, err := device.Open(name, 1)
		if err != nil {
			if usable || name != "cuda" {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if gpu := strings.HasPrefix(d.Name(), "cuda "); gpu != usable {
			t.Errorf("%q opened %s; a GPU is usable: %v", name, d.Name(), usable)
		}
		d.Close()
	}
	if note := device.Note("auto"); note != "" && (usable || !cuda.Inspect().Built) {
		t.Errorf("note %q", note)
	}
}
