package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-zeromq/zmq4"
)

func TestMessage(t *testing.T) {
	a, b := newSession("secret"), newSession("secret")
	frames, err := a.encode([][]byte{[]byte("client")}, "execute_request", nil, map[string]any{"code": "1 < 2"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := b.decode(append(slices.Clone(frames), []byte("buffer")))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Type != "execute_request" || m.Header.Version != protocolVersion || m.Header.Session != a.id {
		t.Errorf("header %+v", m.Header)
	}
	if string(m.Route[0]) != "client" || string(m.Buffers[0]) != "buffer" {
		t.Errorf("route %q, buffers %q", m.Route, m.Buffers)
	}
	reply, err := b.encode(m.Route, "execute_reply", m, nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := a.decode(reply)
	if err != nil {
		t.Fatal(err)
	}
	if back.Parent != m.Header {
		t.Errorf("parent %+v, want %+v", back.Parent, m.Header)
	}
}

// TestSign compares with a signature made by Python's hmac, as jupyter_client does.
func TestSign(t *testing.T) {
	got := string(newSession("key").sign([][]byte{[]byte("{}"), []byte("{}"), []byte("{}"), []byte("{}")}))
	if want := "ca767b02c5bc061ed184a9a029e7f93a7f2f7ed4e8fe74120fc1212f0b008fa3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	s := newSession("secret")
	good := func() [][]byte {
		f, err := newSession("secret").encode(nil, "x", nil, map[string]any{})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	signed := func(parts ...string) [][]byte {
		f := [][]byte{delimiter, nil}
		for _, p := range parts {
			f = append(f, []byte(p))
		}
		f[1] = s.sign(f[2:])
		return f
	}
	tests := []struct {
		name   string
		frames [][]byte
		want   error // nil: any
	}{
		{"nothing", nil, errShort},
		{"no delimiter", [][]byte{[]byte("a"), []byte("b")}, errShort},
		{"cut", good()[:5], errShort},
		{"wrong key", func() [][]byte { f, _ := newSession("other").encode(nil, "x", nil, nil); return f }(), errSignature},
		{"changed", func() [][]byte { f := good(); f[5] = []byte(`{"a":1}`); return f }(), errSignature},
		{"no signature", func() [][]byte { f := good(); f[1] = nil; return f }(), errSignature},
		{"header is no JSON", signed("{", "{}", "{}", "{}"), nil},
		{"parent is no JSON", signed("{}", "x", "{}", "{}"), nil},
		{"content is no JSON", signed("{}", "{}", "{}", "{"), nil},
	}
	for _, tt := range tests {
		if _, err := s.decode(tt.frames); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
	f := good()
	if _, err := s.decode(f); err != nil {
		t.Fatal(err)
	}
	if _, err := s.decode(f); !errors.Is(err, errReplay) {
		t.Errorf("second time: %v, want %v", err, errReplay)
	}
}

// FuzzMessage feeds a connection that has shaken hands: nothing that a peer sends may
// panic or be taken for a signed message.
func FuzzMessage(f *testing.F) {
	frames, err := newSession("secret").encode([][]byte{[]byte("id")}, "execute_request", nil, map[string]any{"code": "1"})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	for i, fr := range frames {
		b.Write(frameHeader(len(fr), i < len(frames)-1))
		b.Write(fr)
	}
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Add([]byte{0, 0})
	f.Add([]byte{flagLong, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Add([]byte{flagLong | flagMore, 0, 0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', flagCommand, 4, 'P', 'I', 'N', 'G'})
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		go func() {
			theirs.Write(data)
			theirs.Close()
		}()
		defer ours.Close()
		z := newZMTP(ours)
		s := newSession("another key")
		for {
			frames, err := z.read()
			if err != nil {
				return
			}
			if m, err := s.decode(frames); err == nil {
				t.Errorf("%q was taken for %+v", data, m.Header)
			}
		}
	})
}

// TestFrames sends frames of all kinds of lengths through a connection.
func TestFrames(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	a, b := newZMTP(ours), newZMTP(theirs)
	want := [][]byte{{}, []byte("x"), bytes.Repeat([]byte("y"), 255), bytes.Repeat([]byte("z"), 256), bytes.Repeat([]byte("w"), 3<<20)}
	go a.write(want, [][]byte{[]byte("next")})
	got, err := b.read()
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("got %d frames, %v", len(got), err)
	}
	if got, err = b.read(); err != nil || string(got[0]) != "next" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFrameTooLong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go theirs.Write([]byte{flagLong, 0, 0, 1, 0, 0, 0, 0, 0, 'a'})
	if _, err := newZMTP(ours).read(); !errors.Is(err, errTooLong) {
		t.Errorf("got %v, want %v", err, errTooLong)
	}
}

// ready is a READY command with those properties, names and values in turn.
func ready(properties ...string) string {
	b := []byte("\x05READY")
	for i, p := range properties {
		if i%2 == 0 {
			b = append(b, byte(len(p)))
		} else {
			b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
		}
		b = append(b, p...)
	}
	return string([]byte{flagCommand, byte(len(b))}) + string(b)
}

// badHandshakes are what peers send who are not to be served, and what is said of them.
var badHandshakes = []struct{ name, sent, want string }{
	{"another protocol", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("x", 64), "does not speak ZeroMQ 3"},
	{"ZeroMQ 2", "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x01" + strings.Repeat("\x00", 53), "does not speak ZeroMQ 3"},
	{"encrypted", string(greeting[:12]) + "CURVE" + strings.Repeat("\x00", 47), `the security mechanism "CURVE"`},
	{"a message", string(greeting[:]) + "\x00\x05READY", "where a READY command is due"},
	{"another command", string(greeting[:]) + "\x04\x06\x05ERROR", "where a READY command is due"},
	{"a command of 4 EiB", string(greeting[:]) + "\x06\x40\x00\x00\x00\x00\x00\x00\x00", "longer than"},
	{"a command of 8 KiB", string(greeting[:]) + "\x06\x00\x00\x00\x00\x00\x00\x20\x00", "longer than"},
	{"an unknown type", string(greeting[:]) + ready("Socket-Type", "NONSENSE"), `socket of type "NONSENSE"`},
	{"the wrong type", string(greeting[:]) + ready("Socket-Type", "SUB"), `socket of type "SUB"`},
	{"no type", string(greeting[:]) + ready(), "socket of type"},
	{"a name cut off", string(greeting[:]) + "\x04\x08\x05READY\x0bS", "does not speak ZeroMQ 3"},
	{"a length cut off", string(greeting[:]) + "\x04\x09\x05READY\x01S\x00", "does not speak ZeroMQ 3"},
	{"a value cut off", string(greeting[:]) + "\x04\x0d\x05READY\x01S\xff\xff\xff\xffx", "does not speak ZeroMQ 3"},
}

// script is a connection to a peer that says always the same.
type script struct {
	net.Conn // none
	says     *bytes.Reader
}

func (s script) Read(p []byte) (int, error)    { return s.says.Read(p) }
func (s script) Write(p []byte) (int, error)   { return len(p), nil }
func (s script) SetDeadline(_ time.Time) error { return nil }

// met is a handshake with a peer that sends those bytes.
func met(sent string) (*zmtp, error) {
	return handshake(script{says: bytes.NewReader([]byte(sent))}, router, "")
}

func TestHandshake(t *testing.T) {
	z, err := met(string(greeting[:]) + ready("SOCKET-type", "DEALER", "identity", "Ada", "X-other", ""))
	if err != nil || z.identity != "Ada" {
		t.Errorf("a good one: %v, %v", z, err)
	}
	for _, tt := range badHandshakes {
		if _, err := met(tt.sent); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// FuzzHandshake meets foreign bytes: nobody is served who did not greet.
func FuzzHandshake(f *testing.F) {
	f.Add(string(greeting[:]) + ready("Socket-Type", "DEALER", "Identity", ""))
	for _, tt := range badHandshakes {
		f.Add(tt.sent)
	}
	f.Fuzz(func(t *testing.T, data string) {
		if z, err := met(data); err == nil && (data[0] != 0xff || len(z.identity) > len(data)) {
			t.Errorf("%q was served as %q", data, z.identity)
		}
	})
}

// TestZMQ4 talks to an independent implementation of the protocol.
func TestZMQ4(t *testing.T) {
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	s, err := listen(c, c.Heartbeat, rep, t.Logf, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.receive = func(p *peer, frames [][]byte) { s.queue(p, frames) }
	req := zmq4.NewReq(t.Context())
	defer req.Close()
	if err := req.Dial("tcp://" + s.listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"ping", strings.Repeat("long", 1000)} {
		if err := req.Send(zmq4.NewMsgString(text)); err != nil {
			t.Fatal(err)
		}
		if m, err := req.Recv(); err != nil || string(m.Bytes()) != text {
			t.Errorf("got %.20q, %v", m.Bytes(), err)
		}
	}
}

// TestStarvation publishes to a client that reads and to one that does not: the first
// gets everything, the second is disconnected.
func TestStarvation(t *testing.T) {
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	logged := make(chan string, 10)
	s, err := listen(c, c.IOPub, xpub, func(f string, _ ...any) { logged <- f }, func(p *peer, frames [][]byte) {
		p.subscription(frames[0])
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var clients [2]*zmtp
	for i := range clients {
		if clients[i], err = dial(t.Context(), c, c.IOPub, sub, ""); err != nil {
			t.Fatal(err)
		}
		defer clients[i].Close()
		if err := clients[i].subscribe(); err != nil {
			t.Fatal(err)
		}
	}
	subscribed := func() bool {
		ps := s.subscribers()
		return len(ps) == 2 && ps[0].subscribed("") && ps[1].subscribed("")
	}
	for !subscribed() {
		time.Sleep(time.Millisecond)
	}

	const n = 100
	payload := bytes.Repeat([]byte("x"), 1<<20)
	go func() {
		for i := range n {
			s.wait(outputLimit)
			s.publish([][]byte{{byte(i)}, payload})
		}
	}()
	for i := range n {
		frames, err := clients[0].read()
		if err != nil || frames[0][0] != byte(i) || len(frames[1]) != len(payload) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	select {
	case <-logged:
	case <-time.After(5 * time.Second):
		t.Error("the client that does not read was not disconnected")
	}
	if len(logged) > 0 {
		t.Errorf("logged again: %s", <-logged)
	}
}

// TestNobodyReads publishes to one client only, which does not read: the writer is held
// up once, not each time.
func TestNobodyReads(t *testing.T) {
	c, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	s, err := listen(c, c.IOPub, xpub, t.Logf, func(p *peer, frames [][]byte) { p.subscription(frames[0]) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	cl, err := dial(t.Context(), c, c.IOPub, sub, "")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.subscribe(); err != nil {
		t.Fatal(err)
	}
	for len(s.subscribers()) == 0 || !s.subscribers()[0].subscribed("") {
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	payload := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		s.wait(outputLimit)
		s.publish([][]byte{{'t'}, payload})
	}
	if d := time.Since(begun); d > 3*time.Second {
		t.Errorf("the writer was held up for %v", d)
	}
}

func TestConnection(t *testing.T) {
	good, err := newConnection()
	if err != nil {
		t.Fatal(err)
	}
	ports := map[int]bool{}
	for _, p := range good.ports() {
		ports[p.port] = true
	}
	if len(ports) != 5 {
		t.Errorf("ports are not five different ones: %+v", good)
	}
	if err := good.validate(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "connection.json")
	if err := good.write(file); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with the key is %v, %v; want it readable by the user only", info.Mode(), err)
	}
	if c, err := readConnection(file); err != nil || c != good {
		t.Errorf("read %+v, %v", c, err)
	}
	tests := []struct {
		name, want string
		change     func(*connection)
	}{
		{"transport", `transport is "udp"`, func(c *connection) { c.Transport = "udp" }},
		{"ip", "ip is empty", func(c *connection) { c.IP = "" }},
		{"scheme", `signature_scheme is "md5"`, func(c *connection) { c.Scheme = "md5" }},
		{"port", "stdin_port is 0", func(c *connection) { c.Stdin = 0 }},
	}
	for _, tt := range tests {
		c := good
		tt.change(&c)
		if err := c.validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func jsonOf(t *testing.T, m *message) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(m.Content, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// FuzzFrames reads foreign bytes as frames: no panic, no more memory than arrives.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 'a'})
	f.Add([]byte{flagMore, 1, 'a', 0, 0})
	f.Add([]byte{flagLong, 0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b'})
	f.Add([]byte{flagLong, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Add([]byte{flagCommand, 2, 'P', 'I', 0, 1, 'x'})
	f.Add([]byte{flagLong | flagMore, 0, 0, 0, 0, 15, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		a, b := net.Pipe()
		go func() {
			b.Write(data)
			b.Close()
		}()
		z := newZMTP(a)
		total := 0
		for {
			frames, err := z.read()
			if err != nil {
				break
			}
			for _, f := range frames {
				total += len(f)
			}
		}
		a.Close()
		if total > len(data) {
			t.Errorf("%d bytes were read of %d", total, len(data))
		}
	})
}
