package exchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ReadWandb reads the history of a run of Weights & Biases, as JSON lines: an object a
// line, with _step, _timestamp (seconds) and numbers; what is no number is passed over, and
// of nested objects the numbers are named a.b. A file config.json beside it gives the
// parameters.
//
// wandb-history.jsonl has this form, and so has what W&B's API returns line by line.
func ReadWandb(path string) (Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return Run{}, err
	}
	defer f.Close()
	folder := filepath.Dir(path)
	name := filepath.Base(folder)
	if name == "files" { // offline-run-…/files/wandb-history.jsonl
		name = filepath.Base(filepath.Dir(folder))
	}
	r := Run{ID: "wandb " + path, Name: name, Status: Finished}
	if err := r.readHistory(f); err != nil {
		return Run{}, fmt.Errorf("%s: %w", path, err)
	}
	r.Params, err = wandbConfig(filepath.Join(folder, "config.json"))
	return r, err
}

// readHistory reads JSON lines into the run's series, start and end.
func (r *Run) readHistory(in io.Reader) error {
	const longest = 64 << 20
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, longest)
	byKey := make(map[string]int)
	for number := int64(1); lines.Scan(); number++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var row map[string]any
		if err := json.Unmarshal(lenient(lines.Bytes()), &row); err != nil {
			return fmt.Errorf("line %d is no JSON object: %w", number, err)
		}
		p := Point{Step: number - 1, Time: time.UnixMilli(0)}
		if v, ok := row["_step"].(float64); ok {
			p.Step = int64(v)
		}
		if v, ok := row["_timestamp"].(float64); ok && math.Abs(v) < 1e11 {
			p.Time = time.UnixMicro(int64(v * 1e6))
		}
		if r.Started.IsZero() {
			r.Started = p.Time
		}
		r.Finished = p.Time
		r.addRow("", row, p, byKey)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(r.Series) == 0 {
		return errors.New("it holds no numbers; want a history with an object a line, as {\"_step\": 1, \"loss\": 0.5}")
	}
	return nil
}

func (r *Run) addRow(prefix string, row map[string]any, p Point, byKey map[string]int) {
	for key, v := range row {
		if prefix == "" && strings.HasPrefix(key, "_") {
			continue
		}
		key = prefix + key
		switch x := v.(type) {
		case map[string]any:
			if _, media := x["_type"]; !media { // images, histograms
				r.addRow(key+".", x, p, byKey)
			}
			continue
		case float64:
			p.Value = x
		case string: // as Python's JSON and W&B write what JSON lacks
			switch x {
			case "NaN":
				p.Value = math.NaN()
			case "Infinity":
				p.Value = math.Inf(1)
			case "-Infinity":
				p.Value = math.Inf(-1)
			default:
				continue
			}
		default:
			continue
		}
		i, ok := byKey[key]
		if !ok {
			i = len(r.Series)
			byKey[key] = i
			r.Series = append(r.Series, Series{Key: key})
		}
		r.Series[i].Points = append(r.Series[i].Points, p)
	}
}

// lenient puts quotes around the NaN, Infinity and -Infinity that Python writes as bare
// words outside of texts.
func lenient(line []byte) []byte {
	if !bytes.Contains(line, []byte("NaN")) && !bytes.Contains(line, []byte("Infinity")) {
		return line
	}
	var out []byte
	inText := false
	for i := 0; i < len(line); i++ {
		c := line[i]
		if !inText {
			found := ""
			for _, word := range []string{"NaN", "-Infinity", "Infinity"} {
				if bytes.HasPrefix(line[i:], []byte(word)) {
					found = word
					break
				}
			}
			if found != "" {
				out = strconv.AppendQuote(out, found)
				i += len(found) - 1
				continue
			}
		}
		switch {
		case c == '"':
			inText = !inText
		case c == '\\' && inText && i+1 < len(line):
			out = append(out, c)
			i++
			c = line[i]
		}
		out = append(out, c)
	}
	return out
}

// wandbConfig reads config.json: values, or objects {"value": …} as W&B keeps them.
func wandbConfig(path string) (map[string]string, error) {
	params := make(map[string]string)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return params, nil
	}
	if err != nil {
		return nil, err
	}
	var all map[string]any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for key, v := range all {
		if inner, ok := v.(map[string]any); ok {
			if value, ok := inner["value"]; ok {
				v = value
			}
		}
		if !strings.HasPrefix(key, "_") {
			flattenParams(key, v, params)
		}
	}
	return params, nil
}

func flattenParams(name string, v any, into map[string]string) {
	switch x := v.(type) {
	case map[string]any:
		for key, inner := range x {
			flattenParams(name+"."+key, inner, into)
		}
	case string:
		into[name] = x
	case nil:
	default:
		if text, err := json.Marshal(x); err == nil {
			into[name] = string(text)
		}
	}
}
