package kernel

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
)

// ZeroMQ's wire protocol (ZMTP 3.0, rfc.zeromq.org/spec/23), handshake included. zmq4, the
// library, writes to all subscribers in turn, so that one that stops reading starves the
// others, allocates whatever a frame's header claims, and panics at a socket type that it
// does not know: any program of this machine could end the kernel.

// maxMessage bounds an incoming message, all frames together, in bytes.
const maxMessage = 256 << 20

const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

var errTooLong = fmt.Errorf("message is longer than %d MiB", maxMessage>>20)

// zmtp is a ZeroMQ connection. One goroutine may read while another writes.
type zmtp struct {
	conn     net.Conn
	r        *bufio.Reader
	identity string // the peer's, may be empty
}

// newZMTP is a connection on which nobody has shaken hands.
func newZMTP(conn net.Conn) *zmtp {
	return &zmtp{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// read returns the next message's frames. Commands (PING and the like) are passed over:
// a 3.0 peer, as which the handshake presented us, needs no answer to them.
func (z *zmtp) read() ([][]byte, error) {
	var frames [][]byte
	total := 0
	for {
		flags, body, err := z.frame(maxMessage - total)
		if err != nil {
			return nil, err
		}
		if flags&flagCommand != 0 {
			continue
		}
		total += len(body)
		frames = append(frames, body)
		if flags&flagMore == 0 {
			return frames, nil
		}
		if len(frames) > 1<<16 {
			return nil, errTooLong
		}
	}
}

// frame reads one frame of at most limit bytes.
func (z *zmtp) frame(limit int) (flags byte, body []byte, err error) {
	flags, err = z.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 {
		return 0, nil, errors.New("frame with unknown flags")
	}
	var size uint64
	if flags&flagLong != 0 {
		var b [8]byte
		if _, err := io.ReadFull(z.r, b[:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(b[:])
	} else {
		b, err := z.r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		size = uint64(b)
	}
	if size > uint64(limit) {
		return 0, nil, errTooLong
	}
	if size <= 1<<20 {
		body = make([]byte, size)
		_, err = io.ReadFull(z.r, body)
		return flags, body, err
	}
	var buf bytes.Buffer // grows with what really arrives
	n, err := io.CopyN(&buf, z.r, int64(size))
	if err == nil && uint64(n) != size {
		err = io.ErrUnexpectedEOF
	}
	return flags, buf.Bytes(), err
}

// write sends messages in one system call.
func (z *zmtp) write(messages ...[][]byte) error {
	var buffers net.Buffers
	for _, frames := range messages {
		for i, f := range frames {
			buffers = append(buffers, frameHeader(len(f), i < len(frames)-1), f)
		}
	}
	_, err := buffers.WriteTo(z.conn)
	return err
}

func frameHeader(size int, more bool) []byte {
	var flags byte
	if more {
		flags = flagMore
	}
	if size < 256 {
		return []byte{flags, byte(size)}
	}
	return binary.BigEndian.AppendUint64([]byte{flags | flagLong}, uint64(size))
}

// subscribe asks a publisher for all topics.
func (z *zmtp) subscribe() error { return z.write([][]byte{{1}}) }

func (z *zmtp) Close() error { return z.conn.Close() }
