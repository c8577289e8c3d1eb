// Package tfevents reads and writes the scalars of TensorBoard's event files: records of
// TensorFlow's TFRecord format, each an Event in protocol buffers' encoding, of which only
// the fields for scalars are known here.
package tfevents

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"

	"ddpmlab/internal/protowire"
)

// Scalar is one value of a series.
type Scalar struct {
	Tag   string // the series
	Step  int64
	Time  time.Time // to the microsecond
	Value float64   // written as a 32-bit number, which is what TensorBoard keeps
}

// ErrTruncated is returned for a file that ends within a record, as that of a process
// that was killed does. What came before was read.
var ErrTruncated = errors.New("event file ends within a record")

// ErrDamaged is returned for bytes that are no event file, or no longer one.
var ErrDamaged = errors.New("event file is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is the masked CRC-32C of a TFRecord.
func checksum(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

type field = protowire.Field

// Kinds of fields on the wire.
const (
	varint, fixed64, lengthed, fixed32 = protowire.Varint, protowire.Fixed64, protowire.Bytes, protowire.Fixed32
)

// Field numbers of Event, Summary, Summary.Value and TensorProto
// (tensorboard/compat/proto).
const (
	eventTime, eventStep, eventVersion, eventSummary = 1, 2, 3, 5
	summaryValue                                     = 1
	valueTag, valueSimple, valueTensor               = 1, 2, 8
	tensorType, tensorContent, tensorFloat           = 1, 4, 5
	tensorDouble, tensorInt, tensorInt64             = 6, 7, 10
)

// Writer writes an event file.
type Writer struct {
	w   *bufio.Writer
	buf []byte
	err error
}

// NewWriter begins an event file, written by a program at the time given.
func NewWriter(w io.Writer, at time.Time) *Writer {
	x := &Writer{w: bufio.NewWriter(w)}
	event := appendTime(nil, at)
	event = appendBytes(event, eventVersion, []byte("brain.Event:2"))
	x.record(event)
	return x
}

// Write adds a scalar.
func (x *Writer) Write(s Scalar) {
	value := appendBytes(nil, valueTag, []byte(s.Tag))
	value = binary.LittleEndian.AppendUint32(append(value, valueSimple<<3|fixed32), math.Float32bits(float32(s.Value)))
	event := appendTime(x.buf[:0], s.Time)
	event = binary.AppendUvarint(append(event, eventStep<<3|varint), uint64(s.Step))
	event = appendBytes(event, eventSummary, appendBytes(nil, summaryValue, value))
	x.buf = event
	x.record(event)
}

// Flush writes what is still held, and returns the first error of all writing.
func (x *Writer) Flush() error {
	if x.err == nil {
		x.err = x.w.Flush()
	}
	return x.err
}

func (x *Writer) record(data []byte) {
	if x.err != nil {
		return
	}
	head := binary.LittleEndian.AppendUint64(make([]byte, 0, 12), uint64(len(data)))
	head = binary.LittleEndian.AppendUint32(head, checksum(head))
	foot := binary.LittleEndian.AppendUint32(nil, checksum(data))
	for _, part := range [][]byte{head, data, foot} {
		if _, err := x.w.Write(part); err != nil {
			x.err = err
			return
		}
	}
}

func appendTime(b []byte, t time.Time) []byte {
	seconds := float64(t.UnixMicro()) / 1e6
	return binary.LittleEndian.AppendUint64(append(b, eventTime<<3|fixed64), math.Float64bits(seconds))
}

func appendBytes(b []byte, field int, data []byte) []byte {
	b = binary.AppendUvarint(b, uint64(field<<3|lengthed))
	b = binary.AppendUvarint(b, uint64(len(data)))
	return append(b, data...)
}

// maxRecord is the size in bytes of the longest record taken: images and histograms, which
// are skipped, can be long.
const maxRecord = 1 << 30

// Read calls use for each scalar of an event file, in its order. Other things in it, as
// images, are passed over. The error wraps ErrTruncated or ErrDamaged, and says where.
func Read(r io.Reader, use func(Scalar) error) error {
	in := bufio.NewReader(r)
	var at int64
	var buf bytes.Buffer
	for {
		var head [12]byte
		switch _, err := io.ReadFull(in, head[:]); {
		case err == io.EOF:
			return nil
		case err == io.ErrUnexpectedEOF:
			return fmt.Errorf("%w, at byte %d", ErrTruncated, at)
		case err != nil:
			return err
		}
		size := binary.LittleEndian.Uint64(head[:8])
		if checksum(head[:8]) != binary.LittleEndian.Uint32(head[8:]) || size > maxRecord {
			return fmt.Errorf("%w, at byte %d: no record begins there", ErrDamaged, at)
		}
		buf.Reset() // grows as bytes come: a length alone allocates nothing
		switch _, err := io.CopyN(&buf, in, int64(size)+4); {
		case err == io.EOF:
			return fmt.Errorf("%w, at byte %d", ErrTruncated, at)
		case err != nil:
			return err
		}
		data, foot := buf.Bytes()[:size], buf.Bytes()[size:]
		if checksum(data) != binary.LittleEndian.Uint32(foot) {
			return fmt.Errorf("%w, at byte %d: the record's checksum is another", ErrDamaged, at)
		}
		if err := readEvent(data, use); err != nil {
			return fmt.Errorf("at byte %d: %w", at, err)
		}
		at += int64(size) + 16
	}
}

func readEvent(data []byte, use func(Scalar) error) error {
	var s Scalar
	var summaries [][]byte
	err := fields(data, func(f field) error {
		switch {
		case f.Number == eventTime && f.Kind == fixed64:
			s.Time = seconds(math.Float64frombits(f.Value))
		case f.Number == eventStep && f.Kind == varint:
			s.Step = int64(f.Value)
		case f.Number == eventSummary && f.Kind == lengthed:
			summaries = append(summaries, f.Data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, summary := range summaries {
		err := fields(summary, func(f field) error {
			if f.Number != summaryValue || f.Kind != lengthed {
				return nil
			}
			var ok bool
			s.Tag, s.Value, ok, err = readValue(f.Data)
			if err != nil || !ok {
				return err
			}
			return use(s)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seconds is a time since 1970; one that no clock shows is 1970.
func seconds(x float64) time.Time {
	if !(math.Abs(x) < 1e11) {
		x = 0
	}
	return time.UnixMicro(int64(math.Round(x * 1e6)))
}

// readValue reads a Summary.Value; ok is false when it is no scalar.
func readValue(data []byte) (tag string, x float64, ok bool, err error) {
	err = fields(data, func(f field) (err error) {
		switch {
		case f.Number == valueTag && f.Kind == lengthed:
			tag = string(f.Data)
		case f.Number == valueSimple && f.Kind == fixed32:
			x, ok = float64(math.Float32frombits(uint32(f.Value))), true
		case f.Number == valueTensor && f.Kind == lengthed:
			x, ok, err = readTensor(f.Data)
		}
		return err
	})
	return tag, x, ok && tag != "", err
}

// TensorFlow's numbers of types.
const (
	dtFloat, dtDouble, dtInt32, dtInt64 = 1, 2, 3, 9
)

// readTensor reads a TensorProto of one number, as TensorFlow 2 writes scalars.
func readTensor(data []byte) (x float64, ok bool, err error) {
	var kind, n uint64
	take := func(v float64) { x, n = v, n+1 }
	var content []byte
	err = fields(data, func(f field) error {
		packed := f.Kind == lengthed
		switch {
		case f.Number == tensorType && f.Kind == varint:
			kind = f.Value
		case f.Number == tensorContent && packed:
			content = f.Data
		case f.Number == tensorFloat && f.Kind == fixed32:
			take(float64(math.Float32frombits(uint32(f.Value))))
		case f.Number == tensorFloat && packed && len(f.Data)%4 == 0:
			for b := f.Data; len(b) > 0; b = b[4:] {
				take(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
		case f.Number == tensorDouble && f.Kind == fixed64:
			take(math.Float64frombits(f.Value))
		case f.Number == tensorDouble && packed && len(f.Data)%8 == 0:
			for b := f.Data; len(b) > 0; b = b[8:] {
				take(math.Float64frombits(binary.LittleEndian.Uint64(b)))
			}
		case (f.Number == tensorInt || f.Number == tensorInt64) && f.Kind == varint:
			take(float64(int64(f.Value)))
		case (f.Number == tensorInt || f.Number == tensorInt64) && packed:
			for b := f.Data; len(b) > 0; {
				v, used := binary.Uvarint(b)
				if used <= 0 {
					return errField
				}
				take(float64(int64(v)))
				b = b[used:]
			}
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	if n == 0 {
		switch {
		case kind == dtFloat && len(content) == 4:
			take(float64(math.Float32frombits(binary.LittleEndian.Uint32(content))))
		case kind == dtDouble && len(content) == 8:
			take(math.Float64frombits(binary.LittleEndian.Uint64(content)))
		case kind == dtInt32 && len(content) == 4:
			take(float64(int32(binary.LittleEndian.Uint32(content))))
		case kind == dtInt64 && len(content) == 8:
			take(float64(int64(binary.LittleEndian.Uint64(content))))
		}
	}
	return x, n == 1, nil
}

var errField = fmt.Errorf("%w: a field does not end", ErrDamaged)

// fields calls use for each field of a message.
func fields(b []byte, use func(field) error) error {
	err := protowire.Fields(b, use)
	if errors.Is(err, protowire.ErrField) {
		return errField
	}
	return err
}
