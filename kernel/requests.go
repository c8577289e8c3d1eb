package kernel

import (
	"encoding/json"
	"runtime"
	"runtime/debug"
	"strings"
	"unicode/utf8"
)

// handlers answer the requests by type; execute and what it needs is in execute.go.
var handlers map[string]func(*kernel, request)

func init() {
	handlers = map[string]func(*kernel, request){
		"kernel_info_request": (*kernel).kernelInfo,
		"execute_request":     (*kernel).execute,
		"complete_request":    (*kernel).complete,
		"inspect_request":     (*kernel).inspect,
		"is_complete_request": (*kernel).isComplete,
		"history_request":     (*kernel).historyReply,
		"comm_info_request":   (*kernel).commInfo,
		"comm_open":           (*kernel).commOpen,
		"comm_msg":            (*kernel).commMessage,
		"comm_close":          (*kernel).commMessage,
		"interrupt_request":   (*kernel).interruptRequest,
		"shutdown_request":    (*kernel).shutdownRequest,
	}
}

// runsCode are the requests that run code of the user's, one at a time.
var runsCode = map[string]bool{"execute_request": true, "comm_open": true, "comm_msg": true, "comm_close": true}

func (k *kernel) kernelInfo(r request) {
	k.reply(r, map[string]any{
		"status":                 "ok",
		"protocol_version":       protocolVersion,
		"implementation":         "ddpmlab",
		"implementation_version": version(),
		"language_info": map[string]any{
			"name": "go", "version": strings.TrimPrefix(runtime.Version(), "go"),
			"mimetype": "text/x-go", "file_extension": ".go",
			"pygments_lexer": "go", "codemirror_mode": "go", "nbconvert_exporter": "script",
		},
		"banner":             "ddpmlab: Go cells for diffusion models",
		"debugger":           false,
		"help_links":         []any{map[string]any{"text": "The Go language", "url": "https://go.dev/ref/spec"}},
		"supported_features": []string{},
	})
}

// version is the module's version as built.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return strings.TrimPrefix(info.Main.Version, "v")
	}
	return "0.1.0"
}

// atCursor is the content of complete_request and inspect_request. The cursor counts
// Unicode code points.
type atCursor struct {
	Code   string `json:"code"`
	Cursor int    `json:"cursor_pos"`
	Detail int    `json:"detail_level"` // of inspect_request
}

// offset is the cursor in bytes.
func (q atCursor) offset() int {
	for i := range q.Code {
		if q.Cursor <= 0 {
			return i
		}
		q.Cursor--
	}
	return len(q.Code)
}

func (k *kernel) complete(r request) {
	var q atCursor
	json.Unmarshal(r.Content, &q) // decode checked that it is JSON; missing fields are zero
	names, start, ok := completeTyped(q.Code, q.offset())
	if !ok {
		names, start = k.language().Complete(q.Code, q.offset())
	}
	if names == nil {
		names = []string{}
	}
	k.reply(r, map[string]any{
		"status": "ok", "matches": names, "metadata": map[string]any{},
		"cursor_start": utf8.RuneCountInString(q.Code[:start]),
		"cursor_end":   utf8.RuneCountInString(q.Code[:q.offset()]),
	})
}

func (k *kernel) inspect(r request) {
	var q atCursor
	json.Unmarshal(r.Content, &q)
	text := k.language().Inspect(q.Code, q.offset(), q.Detail)
	data := map[string]any{}
	if text != "" {
		data["text/plain"] = text
	}
	k.reply(r, map[string]any{"status": "ok", "found": text != "", "data": data, "metadata": map[string]any{}})
}

func (k *kernel) isComplete(r request) {
	var q struct {
		Code string `json:"code"`
	}
	json.Unmarshal(r.Content, &q)
	status, indent := completeness(onlyGo(q.Code))
	content := map[string]any{"status": status}
	if status == "incomplete" {
		content["indent"] = indent
	}
	k.reply(r, content)
}

func (k *kernel) interruptRequest(r request) {
	k.interrupt()
	k.reply(r, map[string]any{"status": "ok"})
}

func (k *kernel) shutdownRequest(r request) {
	var q struct {
		Restart bool `json:"restart"`
	}
	json.Unmarshal(r.Content, &q)
	content := map[string]any{"status": "ok", "restart": q.Restart}
	k.reply(r, content)
	k.publish(r.message, "shutdown_reply", content)
	k.shutdown()
}
