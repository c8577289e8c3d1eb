package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// How often a working process says that it lives, and how long after its last word it
// is taken for dead when there is no other way to tell.
const (
	heartbeatEvery = 5 * time.Second
	heartbeatGrace = time.Minute
)

// lease is what a process leaves in a session so that others can tell whether it lives.
type lease struct {
	boot      string // of the machine and container: where pid means something
	pid       int
	born      int64 // the process's start, in clock ticks after boot: pids are used again
	heartbeat time.Time
}

// ownLease is this process's lease, without heartbeat.
func ownLease() lease {
	l := lease{pid: os.Getpid()}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return l // not Linux: the heartbeat decides
	}
	space, _ := os.Readlink("/proc/self/ns/pid") // containers share the boot id, not pids
	l.boot = strings.TrimSpace(string(id)) + " " + space
	l.born, _ = processBorn(l.pid)
	return l
}

// dead reports whether the process that left l has ended, as seen by the process that
// has the lease me. On the same machine, since the same boot, the process table knows,
// however late the heartbeat is: a laptop sleeps. Elsewhere the heartbeat decides, and
// for this very process, whose session may have ended without a word on a full disk.
func (l lease) dead(me lease, now time.Time, born func(pid int) (int64, bool)) bool {
	if l.boot == "" || l.boot != me.boot || l.pid == me.pid && l.born == me.born {
		return now.Sub(l.heartbeat) > heartbeatGrace
	}
	start, alive := born(l.pid)
	return !alive || start != l.born
}

// processBorn is the start of a process in clock ticks after boot, and false when there
// is no such process, or it has ended and only waits to be collected.
func processBorn(pid int) (int64, bool) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	// "pid (name) state ppid ...": the name may hold anything; start is field 22.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	born, err := strconv.ParseInt(fields[19], 10, 64)
	return born, err == nil
}

const (
	selectRunning = `SELECT run.id, session.number, boot, pid, born, heartbeat
		FROM run JOIN session ON session.run = run.id
		WHERE status = 'running'
			AND number = (SELECT max(number) FROM session WHERE session.run = run.id)`
	// The step is the last one that left a number; the process lived until then at least.
	updateCrashed = `UPDATE run SET status = 'crashed',
			finished = max(?2, (SELECT coalesce(max(time), 0) FROM point_row JOIN series ON series.id = series WHERE series.run = ?1)),
			step = max(step, (SELECT coalesce(max(step), 0) FROM point_row JOIN series ON series.id = series WHERE series.run = ?1))
		WHERE id = ?1 AND status = 'running'
			AND ?3 = (SELECT max(number) FROM session WHERE session.run = ?1)`
)

// reap marks the runs whose process has ended as crashed, at the time of its last sign of
// life.
func (s *Store) reap(ctx context.Context) error {
	type dead struct {
		run       string
		session   int
		heartbeat int64
	}
	var found []dead
	me, now := ownLease(), s.now()
	db, err := s.reader()
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, selectRunning)
	if err != nil {
		return explain(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var d dead
		var l lease
		if err := rows.Scan(&d.run, &d.session, &l.boot, &l.pid, &l.born, &d.heartbeat); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if l.heartbeat = time.UnixMicro(d.heartbeat); l.dead(me, now, processBorn) {
			found = append(found, d)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(found) == 0 {
		return explain(s.path, err)
	}
	return s.do(true, func(tx *sql.Tx) error {
		for _, d := range found {
			if _, err := tx.ExecContext(ctx, updateCrashed, d.run, d.heartbeat, d.session); err != nil {
				return err
			}
		}
		return nil
	})
}

// reapAtOpen is reap, but for a database that can only be read, whose runs stay as
// they are.
func (s *Store) reapAtOpen(ctx context.Context) error {
	err := s.reap(ctx)
	if errors.Is(err, ErrReadOnly) {
		return nil
	}
	return err
}
