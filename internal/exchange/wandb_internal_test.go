package exchange

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLenient(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"a": NaN, "b": [Infinity, -Infinity]}`, `{"a": "NaN", "b": ["Infinity", "-Infinity"]}`},
		{`{"NaN": "is NaN \" NaN", "x": 1}`, `{"NaN": "is NaN \" NaN", "x": 1}`},
		{`{"a": 1}`, `{"a": 1}`},
	} {
		if got := string(lenient([]byte(tt.in))); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

// Foreign lines never do harm, and JSON stays as it is.
func FuzzHistory(f *testing.F) {
	f.Add([]byte(`{"_step": 0, "_timestamp": 1.7e9, "loss": NaN, "val": {"acc": 1}}`))
	f.Add([]byte("{}\n\n{\"a\": \"\\\"NaN\"}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Run
		err := r.readHistory(bytes.NewReader(b))
		if err == nil && len(r.Series) == 0 {
			t.Error("no numbers and no error")
		}
		if json.Valid(b) && !bytes.Equal(lenient(b), b) {
			t.Errorf("JSON was changed: %s", b)
		}
	})
}

func TestMetric(t *testing.T) {
	if got := Metric("fd (γ)/a b"); got != "fd ___/a b" {
		t.Errorf("got %q", got)
	}
	if got := cut(strings.Repeat("γ", 600), maxParam); len([]rune(got)) != maxParam || !strings.HasSuffix(got, cutMessage) {
		t.Errorf("got %d characters: %s", len([]rune(got)), got)
	}
}

// A file of wandb 0.31.0: see testdata/offline.py.
func TestWandbFile(t *testing.T) {
	path := filepath.Join("testdata", "offline.wandb")
	r, err := ReadWandbFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if r.Name != "a run" || r.Status != Finished || r.Note != "text" || fmt.Sprint(r.Params) != "map[flag:true lr:0.0001 model.channels:8]" {
		t.Errorf("got %q %v %q %v", r.Name, r.Status, r.Note, r.Params)
	}
	if _, ok := r.Tags["good"]; !ok || r.Tags["wandb.project"] != "p" || r.Started.Year() != 2026 || r.Finished.Before(r.Started) {
		t.Errorf("got tags %v, from %v to %v", r.Tags, r.Started, r.Finished)
	}
	got := make(map[string][]Point)
	for _, s := range r.Series {
		got[s.Key] = s.Points
	}
	loss := got["loss"]
	if len(loss) != 6 || loss[4].Value != 0.2 || loss[5].Step != 10 || loss[5].Value != 0.125 || len(got["nested.a"]) != 5 ||
		!math.IsNaN(got["nan"][0].Value) || !math.IsInf(got["inf"][0].Value, 1) || len(got) != 4 {
		t.Errorf("got %v", got)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A run that was killed: what came before the cut is there. A changed byte is noticed.
	cut, err := parseWandb(whole[:len(whole)-500])
	if err != nil || !strings.Contains(cut.Note, "ends within a record") || len(cut.Series) == 0 {
		t.Errorf("got %d series, note %q, error %v", len(cut.Series), cut.Note, err)
	}
	whole[len(whole)/2] ^= 1
	if _, err := parseWandb(whole); !errors.Is(err, errWandb) {
		t.Errorf("got %v of a changed byte", err)
	}
}

// Records that go over blocks, and blocks whose end is too short for a record's head.
func TestWandbBlocks(t *testing.T) {
	message := func(field int, data []byte) []byte {
		return append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(field<<3|2)), uint64(len(data))), data...)
	}
	item := func(key, text string) []byte {
		return message(historyItem, append(message(itemKey, []byte(key)), message(itemJSON, []byte(text))...))
	}
	b := []byte(wandbHeader)
	const n = 20_000
	short := 0
	for i := range n {
		history := append(item("_step", fmt.Sprint(i)), item("loss", fmt.Sprint(i/2))...)
		length := i % 97
		if i%500 == 0 {
			length = 40_000
		}
		history = append(history, item("text", fmt.Sprintf("%q", strings.Repeat("x", length)))...)
		record := message(recordHistory, history)
		first := byte(logFirst)
		for len(record) > 0 {
			kind := first
			left := logBlock - len(b)%logBlock
			if left < logHead {
				b = append(b, make([]byte, left)...)
				short++
				continue
			}
			part := record[:min(len(record), left-logHead)]
			record = record[len(part):]
			switch {
			case len(record) == 0 && kind == logFirst:
				kind = logFull
			case len(record) == 0:
				kind = logLast
			}
			first = logMiddle
			body := append([]byte{kind}, part...)
			b = binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(body))
			b = binary.LittleEndian.AppendUint16(b, uint16(len(part)))
			b = append(b, body...)
		}
	}
	if short == 0 || len(b) < 100*logBlock {
		t.Fatalf("%d short ends in %d bytes: the test misses what it is for", short, len(b))
	}
	r, err := parseWandb(b)
	if err != nil || len(r.Series) != 1 || len(r.Series[0].Points) != n {
		t.Fatalf("got %d series, error %v", len(r.Series), err)
	}
	for i, p := range r.Series[0].Points {
		if p.Step != int64(i) || p.Value != float64(i/2) {
			t.Fatalf("got %v, want %d at step %d", p, i/2, i)
		}
	}
}

func FuzzWandbFile(f *testing.F) {
	if b, err := os.ReadFile(filepath.Join("testdata", "offline.wandb")); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseWandb(b); err == nil && len(r.Series) == 0 {
			t.Error("no numbers and no error")
		}
	})
}

// FuzzRecord goes around the checksums.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{0x12, 0x0a, 0x0a, 0x08, 0x0a, 0x01, 'a', 0x82, 0x01, 0x01, '1'})
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := Run{Params: make(map[string]string), Tags: make(map[string]string)}
		_ = r.wandbRecord(b, make(map[string]int))
	})
}
