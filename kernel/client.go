package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// client is the other end of a kernel's shell, control and iopub sockets.
type client struct {
	session *session
	shell   *zmtp
	control *zmtp
	iopub   *zmtp

	replies chan *message // of shell and control
	outputs chan *message // of iopub
	lost    chan error    // receives once, when a connection ends
	stop    chan struct{}

	answered time.Time // when the first answer came
}

// connect dials a kernel that may still be starting, and returns when it answers and its
// output arrives.
func connect(ctx context.Context, c connection) (*client, error) {
	cl := &client{
		session: newSession(c.Key), replies: make(chan *message, 64), outputs: make(chan *message, 4096),
		lost: make(chan error, 3), stop: make(chan struct{}),
	}
	for _, d := range []struct {
		z    **zmtp
		port int
		typ  socketType
	}{{&cl.iopub, c.IOPub, sub}, {&cl.shell, c.Shell, dealer}, {&cl.control, c.Control, dealer}} {
		z, err := dial(ctx, c, d.port, d.typ, cl.session.id)
		if err != nil {
			cl.close()
			return nil, err
		}
		*d.z = z
	}
	if err := cl.iopub.subscribe(); err != nil {
		cl.close()
		return nil, err
	}
	go cl.read(cl.shell, cl.replies)
	go cl.read(cl.control, cl.replies)
	go cl.read(cl.iopub, cl.outputs)
	if err := cl.settle(ctx); err != nil {
		cl.close()
		return nil, err
	}
	return cl, nil
}

// dial connects to one socket, trying until ctx ends.
func dial(ctx context.Context, c connection, port int, typ socketType, identity string) (*zmtp, error) {
	network, address := c.address(port)
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, network, address)
		if err == nil {
			z, err := handshake(conn, typ, identity)
			if err == nil {
				return z, nil
			}
			conn.Close()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to the kernel: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// settle asks for kernel_info until the answer's status arrives on iopub too: a publisher
// sends nothing to a subscription it has not seen yet.
func (cl *client) settle(ctx context.Context) error {
	for patience := 50 * time.Millisecond; ; patience = min(2*patience, time.Second) {
		id, err := cl.send(cl.shell, "kernel_info_request", map[string]any{})
		if err != nil {
			return err
		}
		deadline := time.After(patience)
		answered, heard := false, false
		for !answered || !heard {
			select {
			case m := <-cl.replies:
				answered = answered || m.Parent.ID == id
				if cl.answered.IsZero() {
					cl.answered = time.Now()
				}
			case m := <-cl.outputs:
				heard = heard || m.Parent.ID == id && isIdle(m)
			case err := <-cl.lost:
				return err
			case <-ctx.Done():
				return ctx.Err()
			case <-deadline:
				answered, heard = true, true
				id = ""
			}
		}
		if id != "" {
			return nil
		}
	}
}

// isIdle reports whether the message says that the kernel is done with its parent.
func isIdle(m *message) bool {
	if m.Header.Type != "status" {
		return false
	}
	var s struct {
		State string `json:"execution_state"`
	}
	return json.Unmarshal(m.Content, &s) == nil && s.State == "idle"
}

// send sends a request and returns its identifier.
func (cl *client) send(z *zmtp, typ string, content any) (id string, err error) {
	frames, err := cl.session.encode(nil, typ, nil, content)
	if err != nil {
		return "", err
	}
	var h header
	if err := json.Unmarshal(frames[2], &h); err != nil {
		return "", err
	}
	return h.ID, z.write(frames)
}

func (cl *client) read(z *zmtp, to chan<- *message) {
	for {
		frames, err := z.read()
		if err != nil {
			select {
			case cl.lost <- fmt.Errorf("the connection to the kernel was lost: %w", err):
			default:
			}
			return
		}
		m, err := cl.session.decode(frames)
		if err != nil {
			continue
		}
		select {
		case to <- m:
		case <-cl.stop:
			return
		}
	}
}

func (cl *client) close() error {
	close(cl.stop)
	var errs []error
	for _, z := range []*zmtp{cl.shell, cl.control, cl.iopub} {
		if z != nil {
			errs = append(errs, z.Close())
		}
	}
	return errors.Join(errs...)
}
