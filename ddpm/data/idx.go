package data

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// IDX is an array of bytes with its dimensions, outermost first: the format in
// which MNIST and its successors are published (LeCun, Cortes, Burges, "The
// MNIST database", section "file formats").
type IDX struct {
	Dims []int
	Data []byte // as many as the product of Dims
}

// maxIDX bounds what one file may claim to hold: 1 GiB.
const maxIDX = 1 << 30

// ReadIDX reads an array of unsigned bytes, and is strict: the magic number,
// every dimension and the number of bytes must be right to the last, and
// nothing may follow. Memory grows with what r delivers, not with what its
// header claims.
func ReadIDX(r io.Reader) (IDX, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return IDX{}, fmt.Errorf("read IDX header: %w", truncated(err))
	}
	// Two zeros, the type of the entries (8 = unsigned byte), the rank.
	if head[0] != 0 || head[1] != 0 || head[2] != 8 || head[3] == 0 {
		return IDX{}, fmt.Errorf("not an IDX file of bytes: magic number %x, want 000008 and the number of dimensions", head)
	}
	dims := make([]int, head[3])
	size := uint64(1)
	for i := range dims {
		var d [4]byte
		if _, err := io.ReadFull(r, d[:]); err != nil {
			return IDX{}, fmt.Errorf("read IDX dimension %d of %d: %w", i+1, len(dims), truncated(err))
		}
		n := binary.BigEndian.Uint32(d[:])
		if n == 0 {
			return IDX{}, fmt.Errorf("IDX dimension %d of %d is 0", i+1, len(dims))
		}
		// Both factors are below 2^32, so their product cannot overflow.
		if size *= uint64(n); size > maxIDX {
			return IDX{}, fmt.Errorf("IDX file claims more than %d bytes", maxIDX)
		}
		dims[i] = int(n)
	}
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, int64(size)+1))
	switch {
	case err != nil:
		return IDX{}, fmt.Errorf("read IDX data: %w", err)
	case uint64(n) < size:
		return IDX{}, fmt.Errorf("IDX file is truncated: %d bytes of data for dimensions %v, want %d", n, dims, size)
	case uint64(n) > size:
		return IDX{}, fmt.Errorf("IDX file has bytes after its end: dimensions %v need %d", dims, size)
	}
	return IDX{Dims: dims, Data: buf.Bytes()}, nil
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("file is truncated")
	}
	return err
}
