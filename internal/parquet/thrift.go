package parquet

import "encoding/binary"

// Types of Thrift's compact protocol.
const (
	thriftTrue, thriftFalse                                          = 1, 2
	thriftInt32, thriftInt64, thriftBinary, thriftList, thriftStruct = 5, 6, 8, 9, 12
)

// thrift writes Thrift's compact protocol, in which Parquet's metadata is kept. Fields of
// a struct are written in ascending order.
type thrift struct {
	b    []byte
	last int   // the last field of the struct being written
	up   []int // likewise of the structs around it
}

// field begins a field: a short form for one that follows closely.
func (t *thrift) field(id, kind int) {
	if d := id - t.last; d >= 1 && d <= 15 {
		t.b = append(t.b, byte(d<<4|kind))
	} else {
		t.b = binary.AppendVarint(append(t.b, byte(kind)), int64(id))
	}
	t.last = id
}

func (t *thrift) zigzag(v int64) { t.b = binary.AppendVarint(t.b, v) }

func (t *thrift) bytes(s string) { t.b = append(binary.AppendUvarint(t.b, uint64(len(s))), s...) }

func (t *thrift) int32(id int, v int64) { t.field(id, thriftInt32); t.zigzag(v) }

func (t *thrift) int64(id int, v int64) { t.field(id, thriftInt64); t.zigzag(v) }

func (t *thrift) text(id int, s string) { t.field(id, thriftBinary); t.bytes(s) }

func (t *thrift) bool(id int, v bool) {
	if v {
		t.field(id, thriftTrue)
	} else {
		t.field(id, thriftFalse)
	}
}

// begin and end enclose a field that is a struct.
func (t *thrift) begin(id int) {
	t.field(id, thriftStruct)
	t.up, t.last = append(t.up, t.last), 0
}

func (t *thrift) end() {
	t.stop()
	t.last, t.up = t.up[len(t.up)-1], t.up[:len(t.up)-1]
}

func (t *thrift) stop() { t.b = append(t.b, 0) }

// list begins a field that is a list of n elements.
func (t *thrift) list(id, kind, n int) {
	t.field(id, thriftList)
	if n < 15 {
		t.b = append(t.b, byte(n<<4|kind))
	} else {
		t.b = binary.AppendUvarint(append(t.b, byte(15<<4|kind)), uint64(n))
	}
}

// element writes a struct that is an element of a list.
func (t *thrift) element(write func()) {
	t.up, t.last = append(t.up, t.last), 0
	write()
	t.end()
}
