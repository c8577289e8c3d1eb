package kernel

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// stdin opens the client's stdin channel.
func (b *bench) stdin() *zmtp {
	b.t.Helper()
	z, err := dial(b.t.Context(), b.c, b.c.Stdin, dealer, b.cl.session.id)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { z.Close() })
	return z
}

// question reads an input_request.
func (b *bench) question(z *zmtp) (prompt string, secret bool) {
	b.t.Helper()
	z.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	frames, err := z.read()
	if err != nil {
		b.t.Fatal(err)
	}
	m, err := b.cl.session.decode(frames)
	if err != nil || m.Header.Type != "input_request" {
		b.t.Fatalf("got %+v, %v; want an input_request", m, err)
	}
	q := jsonOf(b.t, m)
	return q["prompt"].(string), q["password"].(bool)
}

func TestInput(t *testing.T) {
	b := newBench(t)
	ask := map[string]any{"code": `name := kernel.Input(ctx, "name? ")`, "allow_stdin": true}

	if a := b.ask("execute_request", ask); a.reply["status"] != "error" || !strings.Contains(a.reply["evalue"].(string), "takes no input") {
		t.Errorf("without a stdin channel: %v", a.reply)
	}
	z := b.stdin()
	if a := b.execute(`kernel.Input(ctx, "name? ")`); a.reply["status"] != "error" || fmt.Sprint(a.reply["traceback"].([]any)[0]) != "cell 2, line 1: error: the user cannot be asked: this front end takes no input" {
		t.Errorf("without allow_stdin: %v", a.reply)
	}

	answer := func(text string) {
		if _, err := b.cl.send(z, "input_reply", map[string]any{"value": text, "status": "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	answer("too early") // nobody has asked
	time.Sleep(50 * time.Millisecond)
	id := b.send("execute_request", ask)
	if prompt, secret := b.question(z); prompt != "name? " || secret {
		t.Errorf("asked %q, secret %v", prompt, secret)
	}
	answer("Ada é")
	if a := b.wait(id); a.reply["status"] != "ok" {
		t.Errorf("reply %v", a.reply)
	}
	if a := b.execute("name"); a.text() != "Ada é" {
		t.Errorf("got %q", a.text())
	}
	id = b.send("execute_request", map[string]any{"code": `kernel.Password(ctx, "key? ")`, "allow_stdin": true})
	if _, secret := b.question(z); !secret {
		t.Error("a password would be shown")
	}

	// the stop button ends the question, and a late answer is nobody's
	b.k.interrupt()
	if a := b.wait(id); a.reply["ename"] != "interrupted" {
		t.Errorf("interrupted question: %v", a.reply)
	}
	answer("late")
	time.Sleep(50 * time.Millisecond)
	id = b.send("execute_request", ask)
	b.question(z)
	answer("Bea")
	b.wait(id)
	if a := b.execute("name"); a.text() != "Bea" {
		t.Errorf("got %q", a.text())
	}
}

// TestDisplays changes in a later cell what an earlier one shows.
func TestDisplays(t *testing.T) {
	b := newBench(t)
	a := b.execute(`d := kernel.Show(ctx, "first")
d`)
	if fmt.Sprint(a.outputs) != "[execute_input display_data]" || a.text() != "first" {
		t.Fatalf("%v %v", a.outputs, a.content)
	}
	id := a.content[1]["transient"].(map[string]any)["display_id"]
	a = b.execute(`d.Update(ctx, 42)`)
	if fmt.Sprint(a.outputs) != "[execute_input update_display_data]" || a.content[1]["transient"].(map[string]any)["display_id"] != id ||
		a.content[1]["data"].(map[string]any)["text/plain"] != "42" {
		t.Errorf("update: %v %v", a.outputs, a.content)
	}
	a = b.execute(`kernel.ShowAs(ctx, "mine", 1).Update(ctx, 2)`)
	if fmt.Sprint(a.outputs) != "[execute_input display_data update_display_data]" || a.content[2]["transient"].(map[string]any)["display_id"] != "mine" {
		t.Errorf("own id: %v %v", a.outputs, a.content)
	}
	a = b.execute("kernel.Clear(ctx)\nkernel.ClearNext(ctx)")
	if fmt.Sprint(a.outputs) != "[execute_input clear_output clear_output]" || a.content[1]["wait"] != false || a.content[2]["wait"] != true {
		t.Errorf("clear: %v %v", a.outputs, a.content)
	}
	a = b.execute(`kernel.Page(ctx, "help")
kernel.NextInput(ctx, "x := 1")`)
	want := `[{"data":{"text/plain":"help"},"source":"page","start":0},{"replace":false,"source":"set_next_input","text":"x := 1"}]`
	if got, _ := json.Marshal(a.reply["payload"]); string(got) != want {
		t.Errorf("payload %s, want %s", got, want)
	}
}

func TestComms(t *testing.T) {
	b := newBench(t)
	b.execute("import (\n\t\"context\"\n\t\"fmt\"\n\t\"time\"\n)")
	a := b.execute(`total := 0.0
kernel.OnComm(ctx, "adder", func(ctx context.Context, c *kernel.Comm, data map[string]interface{}) {
	c.Send(ctx, map[string]interface{}{"hello": data["n"]})
	c.OnMessage(ctx, func(ctx context.Context, data map[string]interface{}) {
		if data["sleep"] != nil {
			time.Sleep(time.Hour)
		}
		total += data["n"].(float64)
		c.Send(ctx, map[string]interface{}{"total": total})
	})
	c.OnClose(ctx, func(ctx context.Context, data map[string]interface{}) { total = -1 })
})`)
	if a.reply["status"] != "ok" {
		t.Fatal(a.reply)
	}
	// tell sends a comm message and returns what the kernel publishes for it
	tell := func(typ string, content map[string]any) string {
		t.Helper()
		id := b.send(typ, content)
		if content["data"] != nil && content["data"].(map[string]any)["sleep"] != nil {
			time.Sleep(50 * time.Millisecond)
			b.k.interrupt()
		}
		a := b.idle(id)
		var out []string
		for i, typ := range a.outputs {
			data, _ := json.Marshal(a.content[i]["data"])
			out = append(out, typ+" "+string(data))
		}
		return strings.Join(out, ", ")
	}
	comm := func(data map[string]any) map[string]any { return map[string]any{"comm_id": "c1", "data": data} }
	open := map[string]any{"comm_id": "c1", "target_name": "adder", "data": map[string]any{"n": 5}}
	for _, step := range []struct {
		typ     string
		content map[string]any
		want    string
	}{
		{"comm_open", map[string]any{"comm_id": "c0", "target_name": "nobody", "data": map[string]any{}}, "comm_close {}"},
		{"comm_open", open, `comm_msg {"hello":5}`},
		{"comm_msg", comm(map[string]any{"n": 2}), `comm_msg {"total":2}`},
		{"comm_msg", comm(map[string]any{"n": "no number"}), ""}, // its panic is printed
		{"comm_msg", comm(map[string]any{"sleep": true}), ""},    // interrupted
		{"comm_msg", comm(map[string]any{"n": 3}), `comm_msg {"total":5}`},
		{"comm_msg", map[string]any{"comm_id": "unknown"}, ""},
		{"comm_close", comm(nil), ""},
		{"comm_msg", comm(map[string]any{"n": 4}), ""},
	} {
		if got := tell(step.typ, step.content); got != step.want {
			t.Errorf("%s %v: got %s, want %s", step.typ, step.content, got, step.want)
		}
	}
	if a := b.execute("total"); a.text() != "-1" {
		t.Errorf("total %s, want what OnClose left", a.text())
	}

	a = b.execute(`mine := kernel.OpenComm(ctx, "widget", map[string]interface{}{"a": 1})
mine.Send(ctx, map[string]interface{}{"b": 2})`)
	if fmt.Sprint(a.outputs) != "[execute_input comm_open comm_msg]" || a.content[1]["target_name"] != "widget" {
		t.Errorf("a comm of the cell's: %v %v", a.outputs, a.content)
	}
	id := a.content[1]["comm_id"].(string)
	info := func(content map[string]any) string {
		return fmt.Sprint(b.ask("comm_info_request", content).reply["comms"])
	}
	if got, want := info(map[string]any{"target_name": "widget"}), "map["+id+":map[target_name:widget]]"; got != want {
		t.Errorf("comm_info %s, want %s", got, want)
	}
	if got := info(map[string]any{"target_name": "other"}); got != "map[]" {
		t.Errorf("comm_info of another target: %s", got)
	}
	b.execute("mine.Close(ctx)")
	if got := info(nil); got != "map[]" {
		t.Errorf("comm_info after the end: %s", got)
	}
	if a := b.execute("mine.Send(ctx, nil)"); !strings.Contains(fmt.Sprint(a.reply["evalue"]), "the comm is closed") {
		t.Errorf("sent to a closed comm: %v", a.reply)
	}
	if a := b.execute(`kernel.OpenComm(ctx, "widget", map[string]interface{}{"f": func() {}})`); !strings.Contains(fmt.Sprint(a.reply["evalue"]), "the comm's data") {
		t.Errorf("sent what JSON cannot hold: %v", a.reply)
	}
}
