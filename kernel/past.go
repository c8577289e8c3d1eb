package kernel

import (
	"encoding/json"

	"ddpmlab/kernel/history"
)

// historyVariable names the environment variable that says where the history is kept:
// a file, or "off".
const historyVariable = "DDPMLAB_HISTORY"

// openHistory makes the kernel keep its history in the user's database. When that cannot
// be used the kernel goes on with a history of its own.
func (k *kernel) openHistory(env func(string) string) {
	path := env(historyVariable)
	if path == "off" {
		return
	}
	if path == "" {
		var err error
		if path, err = history.DefaultPath(); err != nil {
			k.logf("%v; the history ends with this kernel", err)
			return
		}
	}
	s, err := history.Open(path, env("JPY_SESSION_NAME"))
	if err != nil {
		k.logf("%v; the history ends with this kernel", err)
		return
	}
	k.history.Close()
	k.history = s
}

// remember adds an executed cell to the history.
func (k *kernel) remember(line int, source, output string) {
	if err := k.history.Add(line, source, output); err != nil {
		k.complain("history", "%v", err)
	}
}

func (k *kernel) historyReply(r request) {
	var q struct {
		Output  bool   `json:"output"`
		Type    string `json:"hist_access_type"` // range, tail or search
		Session int64  `json:"session"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
		N       int    `json:"n"`
		Pattern string `json:"pattern"`
		Unique  bool   `json:"unique"`
	}
	json.Unmarshal(r.Content, &q) // decode checked that it is JSON; missing fields are zero
	var entries []history.Entry
	var err error
	switch q.Type {
	case "range":
		entries, err = k.history.Range(q.Session, q.Start, q.Stop)
	case "search":
		pattern := q.Pattern
		if pattern == "" {
			pattern = "*"
		}
		entries, err = k.history.Search(pattern, q.N, q.Unique)
	default:
		entries, err = k.history.Tail(q.N, q.Unique)
	}
	if err != nil {
		k.reply(r, errorContent(valueError, err.Error(), nil))
		return
	}
	list := []any{} // [session, line, source] or [session, line, [source, output]]
	for _, e := range entries {
		var src any = e.Source
		if q.Output {
			var out any // null: it had none
			if e.Output != "" {
				out = e.Output
			}
			src = []any{e.Source, out}
		}
		list = append(list, []any{e.Session, e.Line, src})
	}
	k.reply(r, map[string]any{"status": "ok", "history": list})
}
