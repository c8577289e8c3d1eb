package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// socketType is a kind of ZeroMQ socket, by the name that peers tell each other.
type socketType string

const (
	router socketType = "ROUTER"
	dealer socketType = "DEALER"
	req    socketType = "REQ"
	rep    socketType = "REP"
	xpub   socketType = "XPUB"
	sub    socketType = "SUB"
)

// partners are the kinds of sockets that a kind talks to.
var partners = map[socketType][]socketType{
	router: {dealer, req, router},
	dealer: {router, rep, dealer},
	req:    {rep, router},
	rep:    {req, dealer},
	xpub:   {sub, "XSUB"},
	sub:    {xpub, "PUB"},
}

const (
	handshakeTimeout = 10 * time.Second
	// maxCommand bounds a peer's READY command, in bytes: it says its socket's type and
	// identity, at most 255 bytes.
	maxCommand = 4 << 10
)

// greeting is what each peer sends first: the protocol's signature, version 3.0, and the
// NULL mechanism, which neither authenticates nor encrypts.
var greeting = [64]byte{0: 0xff, 9: 0x7f, 10: 3, 12: 'N', 'U', 'L', 'L'}

var errNoZeroMQ = errors.New("it does not speak ZeroMQ 3")

// handshake speaks to the peer at the other end of conn as a socket of the given type.
func handshake(conn net.Conn, typ socketType, identity string) (*zmtp, error) {
	if err := conn.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	z := newZMTP(conn)
	if err := z.greet(); err != nil {
		return nil, err
	}
	if err := z.introduce(typ, identity); err != nil {
		return nil, err
	}
	return z, conn.SetDeadline(time.Time{})
}

// greet exchanges the greetings.
func (z *zmtp) greet() error {
	if _, err := z.conn.Write(greeting[:]); err != nil {
		return err
	}
	var theirs [64]byte
	if _, err := io.ReadFull(z.r, theirs[:]); err != nil {
		return err
	}
	if theirs[0] != greeting[0] || theirs[9] != greeting[9] || theirs[10] < greeting[10] {
		return errNoZeroMQ
	}
	if m := theirs[12:32]; !bytes.Equal(m, greeting[12:32]) {
		return fmt.Errorf("it wants the security mechanism %q; this kernel has NULL", bytes.TrimRight(m, "\x00"))
	}
	return nil
}

// introduce tells the peer this socket's type and identity, and learns the peer's.
func (z *zmtp) introduce(typ socketType, identity string) error {
	ready := []byte("\x05READY")
	for _, p := range [][2]string{{"Socket-Type", string(typ)}, {"Identity", identity}} {
		ready = append(ready, byte(len(p[0])))
		ready = append(ready, p[0]...)
		ready = binary.BigEndian.AppendUint32(ready, uint32(len(p[1])))
		ready = append(ready, p[1]...)
	}
	h := frameHeader(len(ready), false)
	h[0] |= flagCommand
	if _, err := z.conn.Write(append(h, ready...)); err != nil {
		return err
	}
	flags, body, err := z.frame(maxCommand)
	if err != nil {
		return err
	}
	properties, ok := bytes.CutPrefix(body, []byte("\x05READY"))
	if flags&flagCommand == 0 || !ok {
		return fmt.Errorf("it sent %.20q where a READY command is due", body)
	}
	peer, err := parseProperties(properties)
	if err != nil {
		return err
	}
	z.identity = peer["identity"]
	if theirs := peer["socket-type"]; !slices.Contains(partners[typ], socketType(theirs)) {
		return fmt.Errorf("it is a socket of type %.20q, which has nothing to say to a %s", theirs, typ)
	}
	return nil
}

// parseProperties reads the properties of a READY command: a length of one byte and a name,
// a length of four and a value. Names are the same in small letters and capital ones.
func parseProperties(b []byte) (map[string]string, error) {
	all := map[string]string{}
	for len(b) > 0 {
		name, rest, ok := cut(b[1:], uint32(b[0]))
		if !ok || len(rest) < 4 {
			return nil, errNoZeroMQ
		}
		value, rest, ok := cut(rest[4:], binary.BigEndian.Uint32(rest))
		if !ok {
			return nil, errNoZeroMQ
		}
		all[strings.ToLower(string(name))] = string(value)
		b = rest
	}
	return all, nil
}

// cut splits b behind its first n bytes; false if it has fewer.
func cut(b []byte, n uint32) (first, rest []byte, ok bool) {
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
