// Package experiments keeps what training runs measure: every run with its
// configuration, status, environment and notebook cells, every recorded number, the
// checkpoints, and the figures that papers report, in one SQLite file, runs.db, and a
// folder of checkpoints beside it. It holds the project's only SQL.
//
// Open returns a *Store, whose methods return errors: for programs. MustOpen returns a
// *Lab, whose methods panic with a *CellError that the kernel shows as a message: for
// notebook cells.
//
// Several processes may use one database at the same time. A killed process loses at
// most the last 50 ms of its numbers, and its runs are marked as crashed by whoever
// opens the database next.
package experiments

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/fid"
)

// Store is an open database of runs. Its methods may be called from several goroutines.
type Store struct {
	// Threads is the number of processor threads to compute with; 0 means all of them.
	// Device replaces the one that EnvDevice names; the caller closes it. Neither decides any number.
	// Set them before the first computation.
	Threads int
	// CheckpointEvery is after how many iterations a training saves its state, besides before
	// evaluations, every ten minutes, and when it ends; 0 means 500. No number depends on it.
	CheckpointEvery int
	Device          engine.Device

	// OnTrouble is what a training does when the database cannot take what it records:
	// Spill, which "" means too, or Stop.
	OnTrouble string

	path  string
	files string // folder of the artifacts that are too large for the database
	read  *sql.DB
	now   func() time.Time

	mu     sync.Mutex
	write  *writer // opened by the first write: reading alone leaves the file as it is
	closed bool

	opening    sync.Mutex
	sets       map[string]data.Set      // opened so far, by name and size
	extractors map[string]fid.Extractor // opened so far, by data
}

// Open opens the database that name means, and makes it where there is none.
//
// The names "" and "runs.db" mean DDPMLAB_DB's value where that environment variable is
// set. A bare name is looked for in the working directory and its parents up to the one
// with go.mod, and is made beside go.mod; outside a module it is in the working
// directory. Other paths are taken as they are. Path tells which file it was.
//
// Runs whose process has ended without a word are marked as crashed.
func Open(name string) (*Store, error) { return openAs(name, true) }

// OpenExisting is Open, but makes no database: where there is none, the error wraps
// fs.ErrNotExist.
func OpenExisting(name string) (*Store, error) { return openAs(name, false) }

func openAs(name string, create bool) (*Store, error) {
	path, err := resolve(name)
	if err != nil {
		return nil, err
	}
	there, err := checkPlace(path)
	if err != nil {
		return nil, err
	}
	if !there && !create {
		return nil, noDatabase(path)
	}
	if err := checkNetwork(path, systemNumber); err != nil {
		return nil, err
	}
	s := &Store{
		path:  path,
		files: storeFolder(path),
		now:   time.Now,
	}
	if err := s.open(context.Background(), there); err != nil {
		s.Close()
		return nil, explain(path, err)
	}
	return s, nil
}

// storeFolder is where the database at path keeps what is too large for it.
func storeFolder(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".store" }

func (s *Store) open(ctx context.Context, there bool) (err error) {
	steps, err := migrations()
	if err != nil {
		return err
	}
	if there {
		if s.read, err = openReaders(ctx, s.path); err != nil {
			return err
		}
		state, err := readState(ctx, s.read, s.path, len(steps))
		if err != nil {
			return err
		}
		if state.version == len(steps) {
			return errors.Join(s.takeJournals(ctx), s.reapAtOpen(ctx))
		}
	}
	err = s.do(true, func(tx *sql.Tx) error { return migrate(ctx, tx, s.path, steps) })
	if err == nil && s.read == nil {
		s.read, err = openReaders(ctx, s.path)
	}
	if err != nil {
		return err
	}
	return errors.Join(s.takeJournals(ctx), s.reapAtOpen(ctx))
}

// Path is the database file's absolute path.
func (s *Store) Path() string { return s.path }

// String names the file.
func (s *Store) String() string { return "runs in " + s.path }

// Close writes what waits to be written, and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	w, closed := s.write, s.closed
	s.write, s.closed = nil, true
	s.mu.Unlock()
	if closed {
		return nil
	}
	err := s.closeExtractors()
	if s.read != nil {
		// First, so that the last one to close tidies the log away.
		err = errors.Join(err, s.read.Close())
	}
	if w != nil {
		err = errors.Join(err, w.close())
	}
	return explain(s.path, err)
}

// writer returns the writing connection, opened at its first use.
func (s *Store) writer() (*writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, explain(s.path, ErrClosed)
	}
	if s.write == nil {
		db, err := openWriter(context.Background(), s.path)
		if err != nil {
			return nil, explain(s.path, err)
		}
		s.write = newWriter(s, db)
	}
	return s.write, nil
}

// do runs fn in a writing transaction, after the points recorded so far. With full it
// survives a power cut once do has returned, not only a killed process.
func (s *Store) do(full bool, fn func(*sql.Tx) error) error {
	w, err := s.writer()
	if err != nil {
		return err
	}
	return w.do(full, fn)
}

// queue runs a job of the writer.
func (s *Store) queue(j job) error {
	w, err := s.writer()
	if err != nil {
		return err
	}
	return w.queue(j)
}

// Flush returns when all that was recorded before is in the database, where other
// processes see it and a killed process does not take it along.
func (s *Store) Flush() error {
	s.mu.Lock()
	w, closed := s.write, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return explain(s.path, ErrClosed)
	case w == nil:
		return nil
	}
	return w.flush()
}

// reader returns the reading pool, after what was recorded so far has been written, so
// that a caller reads its own numbers.
func (s *Store) reader() (*sql.DB, error) {
	if err := s.Flush(); err != nil {
		return nil, err
	}
	return s.read, nil
}

// Check reads the whole database and reports the first damage found.
func (s *Store) Check(ctx context.Context) error {
	db, err := s.reader()
	if err != nil {
		return err
	}
	var found string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&found); err != nil {
		return explain(s.path, err)
	}
	if found != "ok" {
		return &problem{path: s.path, kind: ErrDamaged, cure: cureDamaged, cause: fmt.Errorf("integrity check: %s", found)}
	}
	return nil
}

// Copy writes a compact copy of the database, without checkpoints, to a new file, also
// while runs are being recorded.
func (s *Store) Copy(ctx context.Context, path string) error {
	if err := s.Flush(); err != nil {
		return err
	}
	if exists(path) {
		return fmt.Errorf("%s exists; name a file that does not", path)
	}
	if _, err := checkPlace(path); err != nil {
		return err
	}
	db := connect(s.path, copyParams, 1)
	_, err := db.ExecContext(ctx, "VACUUM INTO ?", path)
	return explain(path, errors.Join(err, db.Close()))
}

// micros is how times are stored: microseconds since 1970.
func (s *Store) micros() int64 { return s.now().UnixMicro() }
