package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"ddpmlab/internal/cell"
)

// commFunc is what a cell wants to be called with a comm's data.
type commFunc func(ctx context.Context, data map[string]any)

// comms are the open comms and what cells do with them.
type comms struct {
	mu      sync.Mutex
	targets map[string]func(ctx context.Context, id string, data map[string]any)
	open    map[string]*comm
}

// comm is an open comm.
type comm struct {
	target          string
	message, closed commFunc
}

func (c *comms) get(id string) *comm {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

func (c *comms) put(id, target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]*comm{}
	}
	c.open[id] = &comm{target: target}
}

func (c *comms) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
}

// Comms lets a cell use comms: h is them, with messages that belong to the cell.
func (h *host) Comms() cell.Comms { return h }

func (h *host) Register(target string, opened func(ctx context.Context, id string, data map[string]any)) {
	c := &h.k.comms
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.targets == nil {
		c.targets = map[string]func(context.Context, string, map[string]any){}
	}
	c.targets[target] = opened
}

func (h *host) Open(target string, data map[string]any) (string, error) {
	id := newID()
	if err := h.publishComm("comm_open", map[string]any{"comm_id": id, "target_name": target, "data": object(data)}); err != nil {
		return "", err
	}
	h.k.comms.put(id, target)
	return id, nil
}

func (h *host) Handle(id string, message, closed func(ctx context.Context, data map[string]any)) {
	open := h.k.comms.get(id)
	if open == nil {
		return
	}
	h.k.comms.mu.Lock()
	defer h.k.comms.mu.Unlock()
	if message != nil {
		open.message = message
	}
	if closed != nil {
		open.closed = closed
	}
}

func (h *host) Send(id string, data map[string]any, end bool) error {
	if h.k.comms.get(id) == nil {
		return errors.New("the comm is closed")
	}
	typ := "comm_msg"
	if end {
		typ = "comm_close"
		h.k.comms.drop(id)
	}
	return h.publishComm(typ, map[string]any{"comm_id": id, "data": object(data)})
}

func (h *host) publishComm(typ string, content map[string]any) error {
	if _, err := json.Marshal(content); err != nil {
		return fmt.Errorf("the comm's data: %w", err)
	}
	h.k.publish(h.r.message, typ, content)
	return nil
}

// object is data as a JSON object also when it is nil.
func object(data map[string]any) map[string]any {
	if data == nil {
		return map[string]any{}
	}
	return data
}

// commContent is the content of comm_open, comm_msg and comm_close.
type commContent struct {
	ID     string         `json:"comm_id"`
	Target string         `json:"target_name"`
	Data   map[string]any `json:"data"`
}

// commOpen hands the comm to the cell's function for its target, and closes it when there
// is none.
func (k *kernel) commOpen(r request) {
	var q commContent
	json.Unmarshal(r.Content, &q) // decode checked that it is JSON; missing fields are zero
	k.comms.mu.Lock()
	opened := k.comms.targets[q.Target]
	k.comms.mu.Unlock()
	if opened == nil {
		k.publish(r.message, "comm_close", map[string]any{"comm_id": q.ID, "data": map[string]any{}})
		return
	}
	k.comms.put(q.ID, q.Target)
	k.callBack(r, func(ctx context.Context) { opened(ctx, q.ID, object(q.Data)) })
}

// commMessage is a message to a comm, or its end. One to a comm that is not open is
// passed over, as the protocol says.
func (k *kernel) commMessage(r request) {
	var q commContent
	json.Unmarshal(r.Content, &q)
	open := k.comms.get(q.ID)
	if open == nil {
		return
	}
	k.comms.mu.Lock()
	f := open.message
	if r.Header.Type == "comm_close" {
		f = open.closed
		delete(k.comms.open, q.ID)
	}
	k.comms.mu.Unlock()
	if f != nil {
		k.callBack(r, func(ctx context.Context) { f(ctx, object(q.Data)) })
	}
}

// callBack runs a function that a cell left for a message, as a cell is run: it prints
// under the message and can be interrupted. Its failure is printed.
func (k *kernel) callBack(r request, f func(ctx context.Context)) {
	defer k.end()
	k.parent.Store(r.message)
	ctx, finish := k.withSink(cell.WithHost(k.begin(), &host{k: k, r: r}), r)
	flt := k.language().Call(ctx, func() { f(ctx) })
	finish()
	if flt != nil {
		fmt.Fprintln(os.Stderr, strings.Join(flt.text(k.language().Line), "\n"))
	}
	k.capture.flush()
}

// commInfo lists the open comms.
func (k *kernel) commInfo(r request) {
	var q struct {
		Target *string `json:"target_name"`
	}
	json.Unmarshal(r.Content, &q)
	list := map[string]any{}
	k.comms.mu.Lock()
	for id, c := range k.comms.open {
		if q.Target == nil || *q.Target == "" || *q.Target == c.target {
			list[id] = map[string]any{"target_name": c.target}
		}
	}
	k.comms.mu.Unlock()
	k.reply(r, map[string]any{"status": "ok", "comms": list})
}
