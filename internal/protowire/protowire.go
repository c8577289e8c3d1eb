// Package protowire reads messages in protocol buffers' encoding without their schema: one
// field after the other. It is a leaf.
package protowire

import (
	"encoding/binary"
	"errors"
)

// Kinds of fields on the wire.
const (
	Varint  = 0
	Fixed64 = 1
	Bytes   = 2 // a text, a message, or numbers one after the other
	Fixed32 = 5
)

// Field is one field of a message.
type Field struct {
	Number, Kind int
	Value        uint64 // of a number, its bits
	Data         []byte // of Bytes; part of the message
}

// ErrField is returned for bytes that are no message.
var ErrField = errors.New("a field does not end")

// Fields calls use for each field of a message, in its order, and ends with its error.
func Fields(b []byte, use func(Field) error) error {
	for len(b) > 0 {
		key, used := binary.Uvarint(b)
		if used <= 0 || key>>3 == 0 || key>>3 > 1<<29 {
			return ErrField
		}
		b = b[used:]
		f := Field{Number: int(key >> 3), Kind: int(key & 7)}
		size := 0
		switch f.Kind {
		case Varint:
			if f.Value, size = binary.Uvarint(b); size <= 0 {
				return ErrField
			}
		case Fixed64:
			if size = 8; len(b) < size {
				return ErrField
			}
			f.Value = binary.LittleEndian.Uint64(b)
		case Fixed32:
			if size = 4; len(b) < size {
				return ErrField
			}
			f.Value = uint64(binary.LittleEndian.Uint32(b))
		case Bytes:
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return ErrField
			}
			f.Data, size = b[used:used+int(n)], used+int(n)
		default:
			return ErrField
		}
		b = b[size:]
		if err := use(f); err != nil {
			return err
		}
	}
	return nil
}
