package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// side is a process that does one work, ours or PyTorch's.
type side struct {
	mode  string // as base_mode is printed; ours: ""
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan []byte
	said  strings.Builder // on standard error
	hello hello
	ms    []float64 // of all runs in turns
	turns []float64 // the median of each turn
}

// start runs argv, gives it the job and waits until it is warm, at most so long.
func start(ctx context.Context, mode string, argv []string, j job, limit time.Duration) (*side, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("OMP_NUM_THREADS=%d", j.Threads))
	if cache, err := os.UserCacheDir(); err == nil { // what torch.compile compiles is kept
		cmd.Env = append(cmd.Env, "TORCHINDUCTOR_CACHE_DIR="+filepath.Join(cache, "ddpmlab", "torch-compiled"))
	}
	s := &side{mode: mode, cmd: cmd, lines: make(chan []byte)}
	cmd.Stderr = &s.said
	// torch.compile starts compilers: all of them end with their parent.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.lines)
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				return
			}
			s.lines <- line
		}
	}()
	if err := s.ask(ctx, j, &s.hello, limit); err != nil {
		_ = cmd.Cancel()
		s.end()
		return nil, err
	}
	return s, nil
}

// turn makes n runs and keeps their times.
func (s *side) turn(ctx context.Context, n int, limit time.Duration) error {
	var t times
	if err := s.ask(ctx, request{n}, &t, limit); err != nil {
		return err
	}
	s.ms, s.turns = append(s.ms, t.MS...), append(s.turns, median(t.MS))
	return nil
}

// end lets the process end and waits for it.
func (s *side) end() {
	_ = s.in.Close()
	for range s.lines {
	}
	_ = s.cmd.Wait() // what it has measured is known
}

// died says how a process ended that should not have.
func (s *side) died() error {
	for range s.lines {
	}
	err := s.cmd.Wait()
	lines := strings.Split(strings.TrimSpace(s.said.String()), "\n")
	return fmt.Errorf("%s (%v)", strings.TrimPrefix(lines[len(lines)-1], "ddpmlab: "), err)
}

// errLimit is that a side was not ready in time.
var errLimit = errors.New("not ready in time")

// ask sends a line and waits for the answer, at most so long.
func (s *side) ask(ctx context.Context, question, answer any, limit time.Duration) error {
	if err := json.NewEncoder(s.in).Encode(question); err != nil {
		return s.died()
	}
	select {
	case line, ok := <-s.lines:
		if !ok {
			return s.died()
		}
		return json.Unmarshal(line, answer)
	case <-time.After(limit):
		return fmt.Errorf("%w (%v)", errLimit, limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
