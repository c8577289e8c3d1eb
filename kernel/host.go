package kernel

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"ddpmlab/internal/cell"
	"ddpmlab/internal/render"
)

// host is what the code of one cell can ask of the notebook.
type host struct {
	k          *kernel
	r          request // the cell's, or the comm message's
	allowInput bool

	mu       sync.Mutex
	payloads []any // of the reply
}

var _ cell.Host = (*host)(nil)

func (h *host) Input(ctx context.Context, prompt string, secret bool) (string, error) {
	if !h.allowInput {
		return "", errNoInput
	}
	return h.k.ask(ctx, h.r, prompt, secret)
}

func (h *host) Clear(wait bool) {
	h.k.capture.flush()
	h.k.publish(h.r.message, "clear_output", map[string]any{"wait": wait})
}

func (h *host) Show(id string, update bool, v any) {
	h.k.show(h.r.message, id, update, bundleOfAny(v))
}

func (h *host) Page(v any) {
	m := toMIME(bundleOfAny(v))
	h.pay(map[string]any{"source": "page", "data": m.Data, "start": 0})
}

func (h *host) NextInput(source string) {
	h.pay(map[string]any{"source": "set_next_input", "text": source, "replace": false})
}

// pay adds a payload to the cell's reply.
func (h *host) pay(p map[string]any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.payloads = append(h.payloads, p)
}

// payload is what the reply carries.
func (h *host) payload() []any {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.payloads == nil {
		return []any{}
	}
	return h.payloads
}

// bundleOfAny shows a value that compiled code got.
func bundleOfAny(v any) render.Bundle {
	if b, ok := v.(render.Bundle); ok {
		return b
	}
	if b := unbox(v); b != nil {
		return bundleOf(value{V: b.v, Type: b.g.typeText(b.t), Converted: v})
	}
	return bundleOf(value{V: reflect.ValueOf(v), Type: fmt.Sprintf("%T", v)})
}
