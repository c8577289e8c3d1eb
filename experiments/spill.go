package experiments

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
)

// What a training does when the database cannot take what it records: the disk is full,
// has become read-only or fails, or another program holds the database for long.
const (
	// Spill goes on. What the database cannot take is appended to a journal: a file beside
	// it, or where that cannot be written either, in the folder that DDPMLAB_SPILL names,
	// the user's cache folder, or the folder for temporary files. It is taken over once the
	// database can take it again: by the same process, or by the next one that opens it.
	Spill = "spill"
	// Stop ends the training with the reason. What was recorded before is kept.
	Stop = "stop"
)

// envSpill names the environment variable with the folder for journals.
const envSpill = "DDPMLAB_SPILL"

// trouble reports whether an error is one that the store goes on from with a journal.
func (s *Store) trouble(err error) bool { return s.OnTrouble != Stop && spillable(err) }

// spillable reports whether an error is one that a journal helps against.
func spillable(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrLocked) || errors.Is(err, ErrDisk)
}

// journalPlaces are the beginnings of the names of a database's journals, in the order in
// which they are tried.
func journalPlaces(database string) []string {
	const infix = "-spill-"
	places := []string{database + infix}
	mark := sha256Hex([]byte(database))[:16] + infix
	if dir := os.Getenv(envSpill); dir != "" {
		places = append(places, filepath.Join(dir, mark))
	}
	if dir, err := os.UserCacheDir(); err == nil {
		places = append(places, filepath.Join(dir, "ddpmlab", "spill", mark))
	}
	return append(places, filepath.Join(os.TempDir(), fmt.Sprintf("ddpmlab-spill-%d", os.Getuid()), mark))
}

// journal is a file of what a database could not take: one entry a line, as JSON. Its
// process holds a lock on it as long as it lives.
type journal struct {
	path string
	f    *os.File
	size int64 // of whole lines
}

// entry is a line of a journal, about a session of a run.
type entry struct {
	Run     string `json:"run"`
	Session int    `json:"session"`

	Key      string `json:"key,omitempty"` // the name of a series, with Protocol and Pack
	Protocol string `json:"protocol,omitempty"`
	Pack     []byte `json:"pack,omitempty"` // its points

	Checkpoint *spilledFile `json:"checkpoint,omitempty"`
	Finish     *spilledEnd  `json:"finish,omitempty"`
}

// spilledFile is a checkpoint. Path is where it lies, or "" in the store folder.
type spilledFile struct {
	Step   int64  `json:"step"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Path   string `json:"path,omitempty"`
}

// spilledEnd is how a session ended.
type spilledEnd struct {
	Status string `json:"status"`
	Time   int64  `json:"time"`
	Step   int64  `json:"step"`
	Reason string `json:"reason,omitempty"`
}

// newJournal makes a journal whose name begins with place.
func newJournal(place string) (*journal, error) {
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return nil, err
	}
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	path := place + id.String()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return &journal{path: path, f: f}, nil
}

// append adds an entry, wholly or not at all. With sync it survives a power cut.
func (j *journal) append(e entry, sync bool) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.f.Write(append(line, '\n')); err != nil {
		return errors.Join(err, j.f.Truncate(j.size))
	}
	j.size += int64(len(line)) + 1
	if sync {
		return j.f.Sync()
	}
	return nil
}

// remove ends the journal: the database has taken it over.
func (j *journal) remove() error {
	return errors.Join(os.Remove(j.path), j.f.Close())
}

// spillFile writes a checkpoint where a journal could lie, because the store folder cannot
// take it.
func (s *Store) spillFile(write func(io.Writer) error) (c spilledFile, err error) {
	for _, place := range journalPlaces(s.path) {
		if err = os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			continue
		}
		var f *os.File
		if f, err = os.CreateTemp(filepath.Dir(place), filepath.Base(place)+"new-*"); err != nil {
			continue
		}
		h := sha256.New()
		err = write(io.MultiWriter(f, h))
		c.Size, _ = f.Seek(0, io.SeekEnd) // it is known to be open, and a file
		err = errors.Join(err, f.Sync(), f.Close())
		if err == nil {
			c.SHA256 = hex.EncodeToString(h.Sum(nil))
			c.Path = place + "checkpoint-" + c.SHA256
			err = os.Rename(f.Name(), c.Path)
		}
		if err == nil {
			return c, nil
		}
		os.Remove(f.Name()) // the first error is the one to tell
	}
	return c, explain(s.path, err)
}

// spillEntries appends entries to the process's journal, or to a new one in the next place
// where that cannot be written.
func (w *writer) spillEntries(entries []entry, sync bool) error {
	places := journalPlaces(w.path)
	var first error
	for len(entries) > 0 {
		if n := len(w.journals); n > 0 {
			err := w.journals[n-1].append(entries[0], sync)
			if err == nil {
				entries = entries[1:]
				continue
			}
			if first == nil {
				first = err
			}
		}
		if w.place == len(places) {
			w.place = 0
			return errors.Join(first, errors.New("and no journal can be written either"))
		}
		j, err := newJournal(places[w.place])
		if w.place++; err == nil {
			w.journals = append(w.journals, j)
		} else if first == nil {
			first = err
		}
	}
	return nil
}

// spillPoints appends points to a journal, because the database could not take them.
func (w *writer) spillPoints(points []queued, cause error) error {
	bySeries := make(map[*seriesRef][]Point)
	var order []*seriesRef
	for _, p := range points {
		if bySeries[p.series] == nil {
			order = append(order, p.series)
		}
		bySeries[p.series] = append(bySeries[p.series], Point{p.step, time.UnixMicro(p.time), p.value})
	}
	var entries []entry
	for _, s := range order {
		entries = append(entries, entry{
			Run: s.session.run, Session: s.session.number, Key: s.name, Protocol: s.protocol, Pack: encodePack(bySeries[s]),
		})
	}
	if err := w.spillEntries(entries, false); err != nil {
		return err
	}
	for _, s := range order {
		s.session.spilled(w.journals[len(w.journals)-1].path, cause)
	}
	return nil
}

// retryEvery is how long a process waits before it tries again to bring its journal into
// the database, and retryWait how long it waits for a lock when it does.
const (
	retryEvery = 2 * time.Second
	retryWait  = 100 * time.Millisecond
)

// drain brings the journals into the database, if it can take them now.
func (w *writer) drain() error {
	w.retried = time.Now()
	if _, err := w.db.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", retryWait.Milliseconds())); err != nil {
		return err
	}
	defer w.db.Exec(fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds())) // as it was; it cannot fail
	for len(w.journals) > 0 {
		j := w.journals[0]
		tx, err := w.db.Begin()
		if err != nil {
			return err
		}
		left, err := w.store.replay(tx, j.path)
		if err != nil {
			tx.Rollback() // the first error is the one to tell
			return err
		}
		if err := tx.Commit(); err != nil {
			return err
		}
		w.journals = w.journals[1:]
		if left > 0 { // of runs that are not there: kept, for whoever has them
			j.f.Close()
			continue
		}
		if err := j.remove(); err != nil {
			return err
		}
	}
	w.place = 0
	return nil
}

// replay writes a journal's entries into the database, and returns the number of those
// that it cannot: their run is not in it. Doing it again changes nothing.
func (s *Store) replay(tx *sql.Tx, path string) (left int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return left, nil // what follows the last whole line was not acknowledged
		}
		if err != nil {
			return left, err
		}
		var e entry
		if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
			return left, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		known, err := s.replayEntry(tx, e)
		if err != nil {
			return left, fmt.Errorf("%s, line %d: %w", path, number, err)
		}
		if !known {
			left++
		}
	}
}

const (
	selectSession = `SELECT coalesce((SELECT from_step FROM session AS next WHERE next.run = session.run AND next.number = session.number + 1), -1)
		FROM session WHERE run = ? AND number = ?`
	selectSealed  = `SELECT n IS NOT NULL FROM series WHERE id = ?`
	insertSpilled = `INSERT OR REPLACE INTO point_row (series, step, time, value) VALUES (?, ?, ?, ?)`
)

// replayEntry writes one entry, and reports whether the database knows its session. Where
// the run was resumed meanwhile, what lies after the step that it was resumed at has been
// recorded anew.
func (s *Store) replayEntry(tx *sql.Tx, e entry) (known bool, err error) {
	var until int64
	switch err := tx.QueryRow(selectSession, e.Run, e.Session).Scan(&until); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	}
	switch {
	case e.Pack != nil:
		points, err := decodePack(nil, e.Pack)
		if err != nil {
			return true, err
		}
		var series int64
		context, key := splitSeries(e.Key)
		if err := tx.QueryRow(insertSeries, e.Run, context, key, e.Protocol).Scan(&series); err != nil {
			return true, err
		}
		var final bool // a process took the journal over, and was killed before it removed it
		if err := tx.QueryRow(selectSealed, series).Scan(&final); err != nil || final {
			return true, err
		}
		stmt, err := tx.Prepare(insertSpilled)
		if err != nil {
			return true, err
		}
		defer stmt.Close()
		for _, p := range points {
			if until >= 0 && p.Step > until {
				continue
			}
			if _, err := stmt.Exec(series, p.Step, p.Time.UnixMicro(), p.Value); err != nil {
				return true, err
			}
		}
	case e.Checkpoint != nil:
		return true, s.replayCheckpoint(tx, e)
	case e.Finish != nil:
		x := e.Finish
		_, err := tx.Exec(updateFinish, x.Status, x.Time, x.Step, x.Reason, e.Run, e.Session)
		return true, err
	}
	return true, nil
}

// replayCheckpoint moves a checkpoint into the store folder, where it is not, and enters it.
func (s *Store) replayCheckpoint(tx *sql.Tx, e entry) error {
	c := e.Checkpoint
	if c.Path != "" && !exists(s.file(c.SHA256)) {
		f, err := os.Open(c.Path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // an older one, which was removed when a newer one was saved
		}
		if err != nil {
			return err
		}
		got, _, err := s.saveFile(func(w io.Writer) error { _, err := io.Copy(w, f); return err })
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		if got != c.SHA256 {
			return fmt.Errorf("%s: %w", c.Path, errChanged)
		}
		os.Remove(c.Path) // it has been moved; a second copy does no harm
	}
	_, err := enterCheckpoint(context.Background(), tx, e.Run, c.Step, c.SHA256, c.Size, s.micros())
	return err
}

// waiting lists the journals of the database that no living process writes.
func (s *Store) waiting() []string {
	var found []string
	for _, place := range journalPlaces(s.path) {
		names, err := os.ReadDir(filepath.Dir(place))
		if err != nil {
			continue // there is no such folder
		}
		for _, n := range names {
			rest, ok := strings.CutPrefix(n.Name(), filepath.Base(place))
			if _, err := ulid.ParseStrict(rest); ok && err == nil {
				found = append(found, filepath.Join(filepath.Dir(place), n.Name()))
			}
		}
	}
	return found
}

// Waiting lists the journals that hold what trainings recorded while the database could
// not take it, and that it has not taken over yet.
func (s *Store) Waiting() []string { return s.waiting() }

// takeJournals brings the journals that processes left behind into the database. Where it
// still cannot take them they stay.
func (s *Store) takeJournals(ctx context.Context) error {
	for _, path := range s.waiting() {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue // another one has just taken it, or it is not ours to take
		}
		if err := s.takeJournal(ctx, f); err != nil && !spillable(err) {
			return errors.Join(err, f.Close())
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) takeJournal(ctx context.Context, f *os.File) error {
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil // its process lives
	}
	if !exists(f.Name()) {
		return nil // another process was faster
	}
	left := 0
	err := s.do(true, func(tx *sql.Tx) (err error) {
		left, err = s.replay(tx, f.Name())
		return err
	})
	if err != nil || left > 0 {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		return explain(f.Name(), err)
	}
	return nil
}
