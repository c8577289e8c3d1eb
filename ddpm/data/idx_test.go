package data_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/data"
)

// idx builds a file from a magic number, dimensions and as many bytes of data.
func idx(magic uint32, n int, dims ...uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func TestReadIDX(t *testing.T) {
	good := idx(0x00000803, 24, 2, 3, 4)
	got, err := data.ReadIDX(bytes.NewReader(good))
	if err != nil || !slices.Equal(got.Dims, []int{2, 3, 4}) || !bytes.Equal(got.Data, good[16:]) {
		t.Fatalf("got %v, %v", got, err)
	}
	for _, tt := range []struct {
		name string
		in   []byte
		want string
	}{
		{"empty", nil, "truncated"},
		{"short magic", good[:3], "truncated"},
		{"magic", idx(0x01000803, 24, 2, 3, 4), "magic number 01000803"},
		{"floats", idx(0x00000d01, 4, 1), "magic number 00000d01"},
		{"no dimensions", idx(0x00000800, 1), "magic number"},
		{"short dimensions", good[:14], "dimension 3 of 3"},
		{"zero dimension", idx(0x00000802, 0, 0, 5), "dimension 1 of 2 is 0"},
		{"too large", idx(0x00000803, 9, 1<<31, 1<<31, 1<<31), "claims more than"},
		{"truncated", good[:len(good)-1], "truncated: 23 bytes"},
		{"trailing", append(slices.Clone(good), 0), "after its end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := data.ReadIDX(bytes.NewReader(tt.in)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzIDX: whatever the bytes, ReadIDX returns an error or exactly what a file
// rebuilt from its answer holds.
func FuzzIDX(f *testing.F) {
	f.Add(idx(0x00000803, 24, 2, 3, 4))
	f.Add(idx(0x00000801, 7, 7))
	f.Add(idx(0x00000803, 3, 1<<31, 1<<31, 1<<31))
	f.Add(idx(0x00000802, 5, 2, 3))
	f.Add([]byte{0, 0, 8})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := data.ReadIDX(bytes.NewReader(b))
		if err != nil {
			return
		}
		again := binary.BigEndian.AppendUint32(nil, uint32(0x800+len(got.Dims)))
		for _, d := range got.Dims {
			again = binary.BigEndian.AppendUint32(again, uint32(d))
		}
		if again = append(again, got.Data...); !bytes.Equal(again, b) {
			t.Errorf("read %v from %d bytes, which are not those", got.Dims, len(b))
		}
	})
}
