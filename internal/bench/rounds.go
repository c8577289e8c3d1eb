package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"time"
)

// turnTime is how long a turn lasts, at least one run, and rest the pause after it:
// PyTorch's threads go on waiting actively for a moment.
const (
	turnTime = 300 * time.Millisecond
	rest     = 20 * time.Millisecond
)

// rounds lets the sides take turns. A side that does so cannot gain by what else the
// machine does for a while.
func (b *bench) rounds(ctx context.Context, sides []*side) error {
	n := make([]int, len(sides)) // runs in a turn
	for i := range n {
		n[i] = 1
	}
	for round := range b.o.Rounds {
		release, err := guard(ctx, b.o.Guard)
		if err != nil {
			return err
		}
		for i, s := range sides {
			if err := s.turn(ctx, n[i], b.o.Limit); err != nil {
				release()
				return fmt.Errorf("%s: %w", s.mode, err)
			}
			if round == 0 {
				n[i] = max(1, int(turnTime.Seconds()*1e3/median(s.ms)))
			}
			time.Sleep(rest)
		}
		release()
	}
	return nil
}

// guard waits until the command, followed by "cat", returns a line that it is given, and
// keeps it running until release: a command that waits until the machine is free.
func guard(ctx context.Context, command []string) (release func(), err error) {
	if len(command) == 0 {
		return func() {}, nil
	}
	cmd := exec.CommandContext(ctx, command[0], append(slices.Clone(command[1:]), "cat")...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("guard: %w", err)
	}
	release = func() {
		_ = in.Close()
		_ = cmd.Wait()
	}
	if _, err = fmt.Fprintln(in, "go"); err == nil {
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		release()
		return nil, errors.Join(fmt.Errorf("guard %q", command), err, ctx.Err())
	}
	return release, nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	if len(x) == 0 {
		return math.NaN()
	}
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}
