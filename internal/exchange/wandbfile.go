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
	"time"

	"ddpmlab/internal/protowire"
)

// A .wandb file, which an offline run of W&B leaves, is a header and then LevelDB's log: blocks
// of 32 KiB with records that may go over several, each an internal Record in protocol
// buffers' encoding.
const (
	wandbHeader = ":W&B\xe1\xbe\x00"
	logBlock    = 32 << 10
	logHead     = 7 // checksum, length, type

	logFull, logFirst, logMiddle, logLast = 1, 2, 3, 4
)

// Field numbers of W&B's messages (wandb/proto/wandb_internal.proto).
const (
	recordHistory, recordConfig, recordRun, recordExit = 2, 5, 17, 18
	historyItem, historyStep                           = 1, 2
	itemKey, itemNested, itemJSON                      = 1, 2, 16
	runID, runProject, runConfig, runName, runNotes    = 1, 3, 4, 8, 9
	runTags, runStart                                  = 10, 17
)

// ReadWandbFile reads the .wandb file of an offline run: history, configuration, name, tags
// and notes. A file that ends within a record, as that of a run that was killed, is read up
// to there, and the run's note says so.
func ReadWandbFile(path string) (Run, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Run{}, err
	}
	r, err := parseWandb(b)
	if err != nil {
		return Run{}, fmt.Errorf("%s: %w", path, err)
	}
	if r.Name == "" {
		r.Name = strings.TrimSuffix(filepath.Base(path), ".wandb")
	}
	if r.ID == "" {
		r.ID = path
	}
	return r, nil
}

var errWandb = errors.New("not a .wandb file of an offline run")

func parseWandb(b []byte) (Run, error) {
	r := Run{Status: Running, Params: make(map[string]string), Tags: make(map[string]string)}
	if !bytes.HasPrefix(b, []byte(wandbHeader)) {
		return r, errWandb
	}
	byKey := make(map[string]int)
	var record []byte
	for at := len(wandbHeader); at < len(b); {
		if left := logBlock - at%logBlock; left < logHead { // too short for a head: filled up
			at += left
			continue
		}
		size := 0
		if at+logHead <= len(b) {
			size = int(binary.LittleEndian.Uint16(b[at+4:]))
		}
		end := at + logHead + size
		if end > len(b) {
			r.Note = strings.TrimSpace(r.Note + fmt.Sprintf("\n\nThe file ends within a record, at byte %d; what came before it is here.", at))
			break
		}
		// The checksum is of type and data, CRC-32 as zlib has it.
		if crc32.ChecksumIEEE(b[at+6:end]) != binary.LittleEndian.Uint32(b[at:]) || end > at-at%logBlock+logBlock {
			return r, fmt.Errorf("%w, or damaged at byte %d", errWandb, at)
		}
		kind, data := b[at+6], b[at+logHead:end]
		at = end
		if kind == logFull || kind == logFirst {
			record = nil
		}
		record = append(record, data...)
		if kind == logFull || kind == logLast {
			if err := r.wandbRecord(record, byKey); err != nil {
				return r, fmt.Errorf("%w: the record before byte %d: %w", errWandb, at, err)
			}
		}
	}
	if len(r.Series) == 0 {
		return r, errors.New("it holds no numbers")
	}
	return r, nil
}

func (r *Run) wandbRecord(b []byte, byKey map[string]int) error {
	return protowire.Fields(b, func(f protowire.Field) error {
		if f.Kind != protowire.Bytes {
			return nil
		}
		switch f.Number {
		case recordHistory:
			return r.wandbHistory(f.Data, byKey)
		case recordConfig:
			return r.wandbConfig(f.Data)
		case recordRun:
			return protowire.Fields(f.Data, r.wandbRun)
		case recordExit:
			r.Status = Finished
			return protowire.Fields(f.Data, func(f protowire.Field) error {
				if f.Number == 1 && f.Kind == protowire.Varint && f.Value != 0 {
					r.Status = Failed
				}
				return nil
			})
		}
		return nil
	})
}

func (r *Run) wandbRun(f protowire.Field) error {
	if f.Kind != protowire.Bytes {
		return nil
	}
	switch text := string(f.Data); f.Number {
	case runID:
		r.ID = text
	case runProject:
		r.Tags["wandb.project"] = text
	case runName:
		r.Name = text
	case runNotes:
		r.Note = text
	case runTags:
		r.Tags[text] = ""
	case runConfig:
		return r.wandbConfig(f.Data)
	case runStart: // seconds and nanoseconds
		var s, ns int64
		err := protowire.Fields(f.Data, func(f protowire.Field) error {
			if f.Kind == protowire.Varint && f.Number == 1 {
				s = int64(f.Value)
			} else if f.Kind == protowire.Varint && f.Number == 2 {
				ns = int64(f.Value)
			}
			return nil
		})
		r.Started = seconds(float64(s) + float64(ns)/1e9)
		return err
	}
	return nil
}

// seconds is a time since 1970; one that no clock shows is 1970.
func seconds(x float64) time.Time {
	if !(math.Abs(x) < 1e11) {
		x = 0
	}
	return time.UnixMicro(int64(math.Round(x * 1e6)))
}

// items calls use for each item of a message whose field 1 is items: names and a JSON text.
func items(b []byte, use func(key string, text []byte) error) error {
	return protowire.Fields(b, func(f protowire.Field) error {
		if f.Number != historyItem || f.Kind != protowire.Bytes {
			return nil
		}
		var key string
		var nested []string
		var text []byte
		err := protowire.Fields(f.Data, func(f protowire.Field) error {
			if f.Kind != protowire.Bytes {
				return nil
			}
			switch f.Number {
			case itemKey:
				key = string(f.Data)
			case itemNested:
				nested = append(nested, string(f.Data))
			case itemJSON:
				text = f.Data
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(nested) > 0 {
			key = strings.Join(nested, ".")
		}
		return use(key, text)
	})
}

func (r *Run) wandbConfig(b []byte) error {
	return items(b, func(key string, text []byte) error {
		d := json.NewDecoder(bytes.NewReader(lenient(text)))
		d.UseNumber()
		var v any
		if strings.HasPrefix(key, "_") || d.Decode(&v) != nil {
			return nil // W&B's own, or nothing that can be a parameter
		}
		if m, ok := v.(map[string]any); ok && len(m) <= 2 { // {"value": …, "desc": …}
			if inner, ok := m["value"]; ok {
				v = inner
			}
		}
		flattenParams(key, v, r.Params)
		return nil
	})
}

func (r *Run) wandbHistory(b []byte, byKey map[string]int) error {
	row := make(map[string]any)
	p := Point{Time: r.Started}
	err := items(b, func(key string, text []byte) error {
		var v any
		if json.Unmarshal(lenient(text), &v) == nil {
			row[key] = v
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = protowire.Fields(b, func(f protowire.Field) error {
		if f.Number != historyStep || f.Kind != protowire.Bytes {
			return nil
		}
		return protowire.Fields(f.Data, func(f protowire.Field) error {
			if f.Number == 1 && f.Kind == protowire.Varint {
				p.Step = int64(f.Value)
			}
			return nil
		})
	})
	if v, ok := row["_step"].(float64); ok {
		p.Step = int64(v)
	}
	if v, ok := row["_timestamp"].(float64); ok {
		p.Time = seconds(v)
	}
	r.Finished = p.Time
	r.addRow("", row, p, byKey)
	return err
}
