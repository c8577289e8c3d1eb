package kernel

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// queueLimit bounds what waits for one peer, in bytes. A peer that lets its queue grow
// over it (it stopped reading) is disconnected; the others never notice.
const queueLimit = 64 << 20

// socket listens for peers of one of the five sockets.
type socket struct {
	listener net.Listener
	typ      socketType
	receive  func(p *peer, frames [][]byte) // called from each peer's own goroutine
	log      func(format string, args ...any)
	broken   sync.Once    // a peer that broke the protocol was logged
	stuck    atomic.Int64 // shortest queue when nobody read, 0: somebody does

	mu     sync.Mutex
	peers  map[*peer]bool
	routes map[string]*peer // by identity; the newest wins
	closed bool
	wg     sync.WaitGroup
}

// listen opens a socket and serves its peers until Close.
func listen(c connection, port int, typ socketType, log func(string, ...any), receive func(*peer, [][]byte)) (*socket, error) {
	network, address := c.address(port)
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	s := &socket{listener: l, typ: typ, receive: receive, log: log, peers: map[*peer]bool{}, routes: map[string]*peer{}}
	s.wg.Go(s.accept)
	return s, nil
}

func (s *socket) accept() {
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of file descriptors, say
			continue
		}
		s.wg.Go(func() { s.serve(conn) })
	}
}

// serve is a peer's life.
func (s *socket) serve(conn net.Conn) {
	defer conn.Close()
	z, err := handshake(conn, s.typ, "")
	if err != nil {
		s.complain(err)
		return
	}
	p := newPeer(z)
	if !s.add(p) {
		return
	}
	s.wg.Go(func() {
		p.writeAll()
		conn.Close() // ends the reading below, too
	})
	for {
		frames, err := z.read()
		if err != nil {
			s.complain(err)
			break
		}
		s.receive(p, frames)
	}
	p.stop()
	s.remove(p)
}

// complain logs, once, that a peer broke the protocol; that one went is no news.
func (s *socket) complain(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		return
	}
	s.broken.Do(func() { s.log("a client of the %s socket was disconnected: %v (said once)", s.typ, err) })
}

func (s *socket) add(p *peer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.peers[p] = true
	if p.identity == "" {
		p.identity = "\x00" + newID()
	}
	s.routes[p.identity] = p
	return true
}

func (s *socket) remove(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, p)
	if s.routes[p.identity] == p {
		delete(s.routes, p.identity)
	}
}

// send queues a message for the peer that route names, and returns false when that is
// gone.
func (s *socket) send(route string, frames [][]byte) bool {
	s.mu.Lock()
	p := s.routes[route]
	s.mu.Unlock()
	if p != nil {
		s.queue(p, frames)
	}
	return p != nil
}

// publish queues a message for every peer subscribed to its first frame.
func (s *socket) publish(frames [][]byte) {
	for _, p := range s.subscribers() {
		if p.subscribed(string(frames[0])) {
			s.queue(p, frames)
		}
	}
}

func (s *socket) queue(p *peer, frames [][]byte) {
	if p.push(frames) {
		return
	}
	s.log("a client of the %s socket stopped reading and was disconnected", s.typ)
	p.z.Close()
}

func (s *socket) subscribers() []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*peer, 0, len(s.peers))
	for p := range s.peers {
		all = append(all, p)
	}
	return all
}

// wait returns when some peer's queue is shorter than limit bytes, so that a fast writer
// runs at the pace of the fastest reader. When no queue moves for a second nobody reads:
// it returns then, and at once from there on, until one moves again.
func (s *socket) wait(limit int) {
	for moved, last := time.Now(), -1; ; time.Sleep(time.Millisecond) {
		shortest := -1
		for _, p := range s.subscribers() {
			if n := p.size(); shortest < 0 || n < shortest {
				shortest = n
			}
		}
		if shortest < limit {
			s.stuck.Store(0)
			return
		}
		if at := s.stuck.Load(); at > 0 && int64(shortest) >= at {
			return
		}
		s.stuck.Store(0)
		if shortest != last {
			last, moved = shortest, time.Now()
		}
		if time.Since(moved) > time.Second {
			s.stuck.Store(int64(shortest))
			return
		}
	}
}

// Close stops listening, gives the peers a moment to read what is queued for them, and
// disconnects them.
func (s *socket) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	deadline := time.Now().Add(500 * time.Millisecond)
	for _, p := range s.subscribers() {
		for p.size() > 0 && time.Now().Before(deadline) {
			time.Sleep(time.Millisecond)
		}
		p.stop()
		p.z.Close()
	}
	s.wg.Wait()
	return err
}

// peer is the other end of a connection.
type peer struct {
	z        *zmtp
	identity string

	mu     sync.Mutex
	ready  *sync.Cond // queue or done changed
	queue  [][][]byte
	bytes  int // in queue and being written
	done   bool
	topics []string
}

func newPeer(z *zmtp) *peer {
	p := &peer{z: z, identity: z.identity}
	p.ready = sync.NewCond(&p.mu)
	return p
}

// push queues a message, and reports false the first time the queue is full; from then
// on messages are dropped silently.
func (p *peer) push(frames [][]byte) bool {
	n := 0
	for _, f := range frames {
		n += len(f)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done {
		return true
	}
	if p.bytes+n > queueLimit && p.bytes > 0 {
		p.done, p.queue, p.bytes = true, nil, 0
		p.ready.Signal()
		return false
	}
	p.queue = append(p.queue, frames)
	p.bytes += n
	p.ready.Signal()
	return true
}

func (p *peer) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes
}

func (p *peer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.queue, p.bytes = true, nil, 0
	p.ready.Signal()
}

// batchSize is about how many bytes are written at once.
const batchSize = 256 << 10

// writeAll writes what is queued until the peer is stopped or gone.
func (p *peer) writeAll() {
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.done {
			p.ready.Wait()
		}
		if p.done {
			p.mu.Unlock()
			return
		}
		n, size := 0, 0
		for n < len(p.queue) && (n == 0 || size < batchSize) {
			for _, f := range p.queue[n] {
				size += len(f)
			}
			n++
		}
		batch := slices.Clone(p.queue[:n])
		p.queue = slices.Delete(p.queue, 0, n)
		p.mu.Unlock()

		if err := p.z.write(batch...); err != nil {
			p.stop()
			return
		}
		p.mu.Lock()
		p.bytes = max(0, p.bytes-size)
		p.mu.Unlock()
	}
}

// subscription handles a frame a subscriber sent: 1 and a topic's beginning to subscribe,
// 0 and the same to unsubscribe. It returns whether it is a new subscription.
func (p *peer) subscription(frame []byte) bool {
	if len(frame) == 0 {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	topic := string(frame[1:])
	switch frame[0] {
	case 1:
		p.topics = append(p.topics, topic)
		return true
	case 0:
		if i := slices.Index(p.topics, topic); i >= 0 {
			p.topics = slices.Delete(p.topics, i, i+1)
		}
	}
	return false
}

func (p *peer) subscribed(topic string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.topics, func(t string) bool {
		return len(topic) >= len(t) && topic[:len(t)] == t
	})
}
