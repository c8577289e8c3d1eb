package experiments

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var kills = flag.Int("kills", 200, "how often TestKill kills a process")

// childMortal trains one run after the other, and says what it was told is safe, until it
// is killed: "record RUN STEP MICROS" after a point was recorded, "flush RUN STEP" when
// all up to that step is written, "save RUN STEP SUM" of a checkpoint, "finish RUN STEP".
func childMortal(path string) error { return mortal(path, false) }

// childMortalFull is childMortal on a disk that is full: all goes to journals.
func childMortalFull(path string) error { return mortal(path, true) }

func mortal(path string, full bool) error {
	out := bufio.NewWriter(os.Stdout)
	say := func(what string, args ...any) {
		fmt.Fprintln(out, append([]any{what}, args...)...)
		out.Flush()
	}
	ctx := context.Background()
	for {
		s, err := Open(path)
		if err != nil {
			return err
		}
		o := testOrder(1)
		o.again = true
		a, _, err := s.begin(ctx, o)
		if err != nil {
			return err
		}
		a.start(ctx)
		if full {
			if err := fill(s); err != nil {
				return err
			}
		}
		length := 10 + rand.Int64N(200)
		for step := int64(1); step <= length; step++ {
			a.Record(step, MetricLoss, 1/float64(step))
			switch rand.IntN(40) {
			case 0:
				time.Sleep(rand.N(5 * time.Millisecond))
			case 1:
				if err := s.Flush(); err != nil {
					return err
				}
				say("flush", a.run, step)
			case 2:
				body := bytes.Repeat([]byte{byte(step)}, 1+rand.IntN(1<<16))
				if err := a.saveAs(ctx, step, func(w io.Writer) error { _, err := w.Write(body); return err }); err != nil {
					return err
				}
				say("save", a.run, step, sha256Hex(body))
			default:
				say("record", a.run, step, time.Now().UnixMicro())
				time.Sleep(100 * time.Microsecond)
			}
		}
		if err := a.err(); err != nil {
			return err
		}
		if err := a.finish(StatusFinished, length, ""); err != nil && !(full && errors.Is(err, ErrSpilled)) {
			return err
		}
		say("finish", a.run, length)
		if err := s.Close(); err != nil {
			return err
		}
	}
}

// A process killed at any moment, while it opens, records, saves or closes, leaves an
// intact database with all that it was told is safe, a run that is crashed, and all but
// the last moment of its points; and the next process goes on in the same file.
func TestKill(t *testing.T) {
	rounds := *kills
	if testing.Short() {
		rounds = 20
	}
	var left atomic.Int64
	left.Store(int64(rounds))
	var total acknowledged
	var mu sync.Mutex
	var wg sync.WaitGroup
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for i := range 4 {
		path := filepath.Join(t.TempDir(), "runs.db")
		what := "mortal"
		if i == 3 {
			what = "mortal full"
		}
		wg.Go(func() {
			for left.Add(-1) >= 0 && !t.Failed() {
				said := killOnce(t, what, path)
				mu.Lock()
				total.add(said)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	t.Logf("%d kills; acknowledged: %d flushes, %d checkpoints, %d finished runs", rounds, total.flushes, total.saves, total.finishes)
	if !testing.Short() && (total.flushes == 0 || total.saves == 0 || total.finishes == 0) {
		t.Errorf("got acknowledged %+v, want some of each", total)
	}
}

// acknowledged counts what children were told is safe.
type acknowledged struct{ flushes, saves, finishes int }

func (a *acknowledged) add(b acknowledged) {
	a.flushes, a.saves, a.finishes = a.flushes+b.flushes, a.saves+b.saves, a.finishes+b.finishes
}

// firstWord keeps what a process writes, and tells when it begins to.
type firstWord struct {
	text bytes.Buffer // a field: its ReadFrom would be used in place of Write
	said chan bool
	once sync.Once
}

func (w *firstWord) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.said) })
	return w.text.Write(p)
}

// killOnce lets a child work on the database for a moment, kills it, and compares what
// the child was told with what is there.
func killOnce(t *testing.T, what, path string) (total acknowledged) {
	cmd := child(t, what, path)
	var stderr bytes.Buffer
	out := firstWord{said: make(chan bool)}
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	if rand.IntN(4) > 0 { // at work, however slow the machine is
		select {
		case <-out.said:
		case <-time.After(10 * time.Second):
		}
	}
	time.Sleep(rand.N(300 * time.Millisecond))
	cmd.Process.Kill()
	killed := time.Now()
	cmd.Wait() // it was killed
	if stderr.Len() > 0 {
		t.Error(stderr.String())
		return
	}
	s, err := Open(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := s.AllRuns(t.Context())
	if err != nil {
		t.Error(err)
		return
	}
	text := out.text.String()
	byID, saved := make(map[string]*Run), make(map[string]int64)
	for i, r := range runs {
		byID[r.ID] = r
		if r.Status != StatusCrashed && r.Status != StatusFinished {
			t.Errorf("run %s is %s, want crashed or finished", r.ID, r.Status)
		}
		if i < len(runs)-3 && !strings.Contains(text, r.ID) {
			continue // was compared after an earlier kill
		}
		points := r.Series(MetricLoss)
		saved[r.ID] = int64(len(points))
		for i, p := range points {
			if p.Step != int64(i+1) || p.Value != 1/float64(i+1) {
				t.Errorf("run %s: got point %d = %v, want step %d", r.ID, i, p, i+1)
				break
			}
		}
	}
	if left := s.Waiting(); len(left) > 0 {
		t.Errorf("journals %v were not taken over", left)
	}
	for line := range strings.Lines(text[:strings.LastIndexByte(text, '\n')+1]) {
		f := strings.Fields(line)
		total.add(compare(t, s, byID[f[1]], saved[f[1]], f, killed))
	}
	return total
}

// compare compares one line of a child, about the run r of which so many points are saved,
// with the database.
func compare(t *testing.T, s *Store, r *Run, saved int64, f []string, killed time.Time) (n acknowledged) {
	const slack = 10 * flushEvery // the machine may be busy
	if r == nil {
		t.Errorf("%v: the run is not there", f)
		return
	}
	var step int64
	fmt.Sscan(f[2], &step)
	switch f[0] {
	case "record":
		var micros int64
		fmt.Sscan(f[3], &micros)
		if age := killed.Sub(time.UnixMicro(micros)); step > saved && age > flushEvery+slack {
			t.Errorf("run %s: step %d was recorded %v before the kill and is not there", r.ID, step, age)
		}
	case "flush":
		n.flushes++
		if saved < step {
			t.Errorf("run %s: got %d points, want the %d that were flushed", r.ID, saved, step)
		}
	case "save":
		n.saves++
		if saved < step {
			t.Errorf("run %s: got %d points, want the %d before its checkpoint", r.ID, saved, step)
		}
		all, err := s.checkpoints(t.Context(), r.ID)
		if err != nil || len(all) == 0 || all[0].step < step {
			t.Errorf("run %s: got checkpoints %v, error %v, want one at %d or later", r.ID, all, err, step)
			return
		}
		f, err := s.artifact(t.Context(), all[0].sum)
		if err == nil {
			_, err = io.Copy(io.Discard, f)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Errorf("run %s: checkpoint of step %d: %v", r.ID, all[0].step, err)
		}
	case "finish":
		n.finishes++
		if r.Status != StatusFinished || r.Step != step || saved != step {
			t.Errorf("run %s: got %s at step %d with %d points, want finished at %d", r.ID, r.Status, r.Step, saved, step)
		}
	}
	return n
}
