package tfevents

import (
	"bytes"
	"testing"
)

// FuzzEvent goes around the checksums, which would stop nearly all of FuzzRead's bytes.
func FuzzEvent(f *testing.F) {
	f.Add([]byte{eventStep<<3 | varint, 1, eventSummary<<3 | lengthed, 2, summaryValue<<3 | lengthed, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		_ = readEvent(b, func(s Scalar) error {
			if s.Tag == "" {
				t.Error("a scalar without a tag")
			}
			return nil
		})
		if !bytes.Equal(b, before) {
			t.Error("reading changed the bytes")
		}
	})
}
