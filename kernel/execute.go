package kernel

import (
	"context"
	"encoding/json"
	"os"
	"slices"

	"ddpmlab/internal/cell"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// executeRequest is the content of an execute_request.
type executeRequest struct {
	Code            string            `json:"code"`
	Silent          bool              `json:"silent"`
	StoreHistory    *bool             `json:"store_history"` // default true
	UserExpressions map[string]string `json:"user_expressions"`
	AllowStdin      bool              `json:"allow_stdin"`
	StopOnError     *bool             `json:"stop_on_error"` // default true
}

// execute runs a cell and answers.
func (k *kernel) execute(r request) {
	var q executeRequest
	if err := json.Unmarshal(r.Content, &q); err != nil {
		k.reply(r, errorContent("kernel error", "execute_request: "+err.Error(), nil))
		return
	}
	store := !q.Silent && (q.StoreHistory == nil || *q.StoreHistory)
	n := k.number(store)
	h := &host{k: k, r: r, allowInput: q.AllowStdin}
	ctx := cell.WithHost(k.withCell(k.begin(), q.Code), h)
	k.parent.Store(r.message)
	if !q.Silent {
		k.publish(r.message, "execute_input", map[string]any{"code": q.Code, "execution_count": n})
	}

	ctx, finish := k.withSink(ctx, r)
	run := &cellRun{k: k, h: h, number: n, code: q.Code, aside: !store}
	vs, f := run.run(ctx)
	finish()

	var result render.Bundle
	if f == nil {
		var err error
		if result, err = showResult(vs); err != nil {
			f = errorFault(vs[len(vs)-1].At, err)
		}
	}
	k.capture.flush()
	k.ran(q.Code)
	k.end()
	if store {
		defer k.remember(n, q.Code, result.String())
	}

	if f != nil {
		lines := f.text(run.line)
		k.publish(r.message, "error", map[string]any{"ename": f.Name, "evalue": f.Message, "traceback": lines})
		content := errorContent(f.Name, f.Message, lines)
		content["execution_count"] = n
		content["payload"] = h.payload()
		content["user_expressions"] = map[string]any{}
		k.reply(r, content)
		if q.StopOnError == nil || *q.StopOnError {
			k.abortQueued()
		}
		return
	}
	if !result.Empty() && !q.Silent {
		m := toMIME(result)
		k.publish(r.message, "execute_result", map[string]any{
			"execution_count": n, "data": m.Data, "metadata": m.Metadata,
		})
	}
	k.reply(r, map[string]any{
		"status": "ok", "execution_count": n, "payload": h.payload(),
		"user_expressions": k.userExpressions(ctx, n, q.UserExpressions),
	})
}

// number is the execution count of the coming cell; one that is not stored has its
// predecessor's.
func (k *kernel) number(store bool) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if store {
		k.count++
	}
	return max(k.count, 1)
}

// withCell puts into the context which cell runs.
func (k *kernel) withCell(ctx context.Context, code string) context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	return cell.NewContext(ctx, cell.Cell{
		Notebook: os.Getenv("JPY_SESSION_NAME"), Index: k.count, Source: code, Before: slices.Clip(k.sources),
	})
}

// ran records a cell that has run, for withCell.
func (k *kernel) ran(code string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sources = append(k.sources, code)
}

// withSink puts into the context where its computations show what they report; finish
// shows what was held back.
func (k *kernel) withSink(ctx context.Context, r request) (_ context.Context, finish func()) {
	sink := newCellSink(func(id string, update bool, b render.Bundle) { k.show(r.message, id, update, b) })
	throttle := display.NewThrottle(sink)
	return display.NewContext(ctx, throttle), func() {
		throttle.Flush()
		sink.flush()
	}
}

// show publishes a display, or an update of one. What the cell printed before comes first.
func (k *kernel) show(parent *message, id string, update bool, b render.Bundle) {
	typ := "update_display_data"
	if !update {
		typ = "display_data"
		k.capture.flush()
	}
	k.iopub.wait(outputLimit)
	m := toMIME(b)
	transient := map[string]any{}
	if id != "" {
		transient["display_id"] = id
	}
	k.publish(parent, typ, map[string]any{"data": m.Data, "metadata": m.Metadata, "transient": transient})
}

// userExpressions evaluates the expressions a client sent along with a cell.
func (k *kernel) userExpressions(ctx context.Context, n int, exprs map[string]string) map[string]any {
	out := map[string]any{}
	for name, src := range exprs {
		vs, f := k.language().Eval(ctx, source{Number: n, Source: src, Aside: true})
		var b render.Bundle
		if f == nil {
			var err error
			if b, err = showResult(vs); err != nil {
				f = errorFault(vs[len(vs)-1].At, err)
			}
		}
		if f != nil {
			out[name] = errorContent(f.Name, f.Message, []string{f.Message})
			continue
		}
		m := toMIME(b)
		out[name] = map[string]any{"status": "ok", "data": m.Data, "metadata": m.Metadata}
	}
	return out
}

// abortQueued answers the cells that were sent before their predecessor failed. Other
// requests keep their turn.
func (k *kernel) abortQueued() {
	for range len(k.requests) {
		r := <-k.requests
		if r.Header.Type != "execute_request" {
			k.handle(r)
			continue
		}
		k.status(r.message, "busy")
		k.reply(r, map[string]any{"status": "aborted"})
		k.status(r.message, "idle")
	}
}

func errorContent(name, message string, traceback []string) map[string]any {
	if traceback == nil {
		traceback = []string{message}
	}
	return map[string]any{"status": "error", "ename": name, "evalue": message, "traceback": traceback}
}
