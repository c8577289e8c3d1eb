// Package parquet writes tables as Apache Parquet files: columns of 64-bit integers,
// floats, texts, truth values and times, each of which may lack values. It is what a data
// frame needs and no more: one data page a column chunk, plain encoding, not compressed.
// It is a leaf. The format is github.com/apache/parquet-format, version 1 of data pages.
package parquet

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Kind is the type of a column.
type Kind int

// The kinds of columns.
const (
	Int64 Kind = iota
	Float64
	Text
	Bool
	Time // microseconds since 1970, UTC, as int64
)

// Column is a column with its values.
type Column struct {
	Name string
	Kind Kind
	// Values has int64, float64, string, bool, or nil for none, by Kind.
	Values []any
}

const magic = "PAR1"

// Physical types, converted types and encodings of the format.
const (
	typeBoolean, typeInt64, typeDouble, typeByteArray = 0, 2, 5, 6
	convertedUTF8, convertedMicros                    = 0, 10
	encodingPlain, encodingRLE                        = 0, 3
	optional                                          = 1
)

// physical is the format's type of each kind.
var physical = map[Kind]int64{Int64: typeInt64, Float64: typeDouble, Text: typeByteArray, Bool: typeBoolean, Time: typeInt64}

// rowsPerGroup is how many rows lie together: a reader of one group needs memory for those.
const rowsPerGroup = 1 << 20

// Write writes the columns, which have the same number of values.
func Write(w io.Writer, columns []Column) error {
	rows := 0
	for i, c := range columns {
		if i == 0 {
			rows = len(c.Values)
		}
		if len(c.Values) != rows {
			return fmt.Errorf("write Parquet: column %s has %d values, want %d as the first", c.Name, len(c.Values), rows)
		}
	}
	out := &counter{w: w}
	out.Write([]byte(magic))
	var groups []group
	for from := 0; from < rows; from += rowsPerGroup {
		to := min(rows, from+rowsPerGroup)
		g := group{rows: to - from}
		for _, c := range columns {
			page, err := c.page(from, to)
			if err != nil {
				return err
			}
			g.offsets, g.sizes = append(g.offsets, out.n), append(g.sizes, int64(len(page)))
			out.Write(page)
		}
		groups = append(groups, g)
	}
	foot := footer(columns, rows, groups)
	out.Write(foot)
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(foot))))
	out.Write([]byte(magic))
	return out.err
}

// group is where the chunks of a row group lie.
type group struct {
	rows           int
	offsets, sizes []int64
}

// counter counts what it writes and keeps the first error.
type counter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *counter) Write(p []byte) {
	if c.err == nil {
		var n int
		n, c.err = c.w.Write(p)
		c.n += int64(n)
	}
}

// page is the page of rows from to to of a column, with its header.
func (c *Column) page(from, to int) ([]byte, error) {
	levels := make([]byte, 0, (to-from)/8+1)
	var values []byte
	var bits byte
	nbits := 0
	for i, v := range c.Values[from:to] {
		if i%8 == 0 {
			levels = append(levels, 0)
		}
		if v == nil {
			continue
		}
		levels[i/8] |= 1 << (i % 8)
		ok := false
		switch x := v.(type) {
		case int64:
			ok = c.Kind == Int64 || c.Kind == Time
			values = binary.LittleEndian.AppendUint64(values, uint64(x))
		case float64:
			ok = c.Kind == Float64
			values = binary.LittleEndian.AppendUint64(values, math.Float64bits(x))
		case string:
			ok = c.Kind == Text
			values = append(binary.LittleEndian.AppendUint32(values, uint32(len(x))), x...)
		case bool:
			ok = c.Kind == Bool
			if x {
				bits |= 1 << (nbits % 8)
			}
			if nbits++; nbits%8 == 0 {
				values, bits = append(values, bits), 0
			}
		}
		if !ok {
			return nil, fmt.Errorf("write Parquet: column %s has the value %v of type %[2]T, which its kind does not take", c.Name, v)
		}
	}
	if nbits%8 != 0 {
		values = append(values, bits)
	}
	// Definition levels, 1 bit each, as one bit-packed run of groups of eight.
	run := append(binary.AppendUvarint(nil, uint64(len(levels))<<1|1), levels...)
	body := append(binary.LittleEndian.AppendUint32(nil, uint32(len(run))), run...)
	body = append(body, values...)
	if len(body) > math.MaxInt32 {
		return nil, fmt.Errorf("write Parquet: column %s has %d bytes in one page; at most 2 GB fit", c.Name, len(body))
	}
	var h thrift
	h.int32(1, 0) // a data page
	h.int32(2, int64(len(body)))
	h.int32(3, int64(len(body)))
	h.begin(5)
	h.int32(1, int64(to-from))
	h.int32(2, encodingPlain)
	h.int32(3, encodingRLE)
	h.int32(4, encodingRLE)
	h.end()
	h.stop()
	return append(h.b, body...), nil
}

// footer is the file's metadata.
func footer(columns []Column, rows int, groups []group) []byte {
	var m thrift
	m.int32(1, 1) // version
	m.list(2, thriftStruct, len(columns)+1)
	m.element(func() { // the root of the schema
		m.text(4, "schema")
		m.int32(5, int64(len(columns)))
	})
	for _, c := range columns {
		m.element(func() {
			m.int32(1, physical[c.Kind])
			m.int32(3, optional)
			m.text(4, c.Name)
			switch c.Kind {
			case Text:
				m.int32(6, convertedUTF8)
			case Time:
				m.int32(6, convertedMicros)
				m.begin(10) // logical type: a timestamp in UTC
				m.begin(8)
				m.bool(1, true)
				m.begin(2)
				m.begin(2) // of microseconds
				m.end()
				m.end()
				m.end()
				m.end()
			}
		})
	}
	m.int64(3, int64(rows))
	m.list(4, thriftStruct, len(groups))
	for _, g := range groups {
		m.element(func() {
			m.list(1, thriftStruct, len(columns))
			total := int64(0)
			for i, c := range columns {
				total += g.sizes[i]
				m.element(func() {
					m.int64(2, g.offsets[i])
					m.begin(3)
					m.int32(1, physical[c.Kind])
					m.list(2, thriftInt32, 2)
					m.zigzag(encodingPlain)
					m.zigzag(encodingRLE)
					m.list(3, thriftBinary, 1)
					m.bytes(c.Name)
					m.int32(4, 0) // not compressed
					m.int64(5, int64(g.rows))
					m.int64(6, g.sizes[i])
					m.int64(7, g.sizes[i])
					m.int64(9, g.offsets[i])
					m.end()
				})
			}
			m.int64(2, total)
			m.int64(3, int64(g.rows))
		})
	}
	m.text(6, "ddpmlab")
	m.stop()
	return m.b
}
