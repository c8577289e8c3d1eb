package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
)

// input is the state of what the kernel asks the user.
type input struct {
	mu      sync.Mutex
	waiting map[string]chan string // by client: receives what the user typed
}

// receiveInput takes in what comes on the stdin socket: answers to ask.
func (k *kernel) receiveInput(_ *socket, p *peer, frames [][]byte) {
	m := k.decode(p, frames)
	if m == nil {
		return
	}
	var q struct {
		Value string `json:"value"`
	}
	if m.Header.Type != "input_reply" || json.Unmarshal(m.Content, &q) != nil {
		k.complain("stdin "+m.Header.Type, "no use for messages of type %q on the stdin socket", m.Header.Type)
		return
	}
	k.input.mu.Lock()
	defer k.input.mu.Unlock()
	if answer := k.input.waiting[p.identity]; answer != nil {
		delete(k.input.waiting, p.identity)
		answer <- q.Value
	}
}

// ask asks the user behind the request r for a line of text.
func (k *kernel) ask(ctx context.Context, r request, prompt string, secret bool) (string, error) {
	answer := make(chan string, 1)
	client := string(r.Route[0])
	k.input.mu.Lock()
	if k.input.waiting[client] != nil {
		k.input.mu.Unlock()
		return "", errors.New("the user is being asked for something else")
	}
	if k.input.waiting == nil {
		k.input.waiting = map[string]chan string{}
	}
	k.input.waiting[client] = answer
	k.input.mu.Unlock()
	defer func() {
		k.input.mu.Lock()
		defer k.input.mu.Unlock()
		if k.input.waiting[client] == answer {
			delete(k.input.waiting, client)
		}
	}()

	k.capture.flush() // what was printed before the question
	if err := k.sendTo(k.stdin, r, "input_request", map[string]any{"prompt": prompt, "password": secret}); err != nil {
		return "", errNoInput
	}
	select {
	case text := <-answer:
		return text, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

var errNoInput = errors.New("the user cannot be asked: this front end takes no input")
