// Package history keeps the cells that were executed, across restarts of the kernel, in a
// SQLite database of the user's.
package history

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	_ "github.com/mattn/go-sqlite3"
)

// Entry is a cell that was executed.
type Entry struct {
	Session int64 // of the kernel that executed it, from 1
	Line    int   // its execution count
	Source  string
	Output  string // its value as text, "" when it had none
}

// Store is the history, with a session of its own for what is added. Several kernels may
// use the same database at a time.
type Store struct {
	db      *sql.DB
	session int64
}

const schema = `
CREATE TABLE IF NOT EXISTS session (
	id       INTEGER PRIMARY KEY,
	started  TEXT NOT NULL,
	notebook TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS entry (
	id      INTEGER PRIMARY KEY,
	session INTEGER NOT NULL REFERENCES session,
	line    INTEGER NOT NULL,
	source  TEXT NOT NULL,
	output  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_place ON entry (session, line);
PRAGMA user_version = 1;
`

// Open opens the database, made when it is not there and readable by the user only, and
// begins a session. An empty path is a history that ends with the process.
func Open(path, notebook string) (*Store, error) {
	dsn := "file::memory:?"
	if path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		if err := os.MkdirAll(filepath.Dir(abs), 0o700); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		f, err := os.OpenFile(abs, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would make it readable by all
		if err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		f.Close()
		dsn = (&url.URL{Scheme: "file", Path: abs}).String() + "?_journal_mode=WAL&_synchronous=NORMAL&"
	}
	db, err := sql.Open("sqlite3", dsn+"_busy_timeout=2000&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	db.SetMaxOpenConns(1) // an in-memory database belongs to its connection
	s := &Store{db: db}
	if err := s.begin(notebook); err != nil {
		return nil, errors.Join(fmt.Errorf("history %s: %w", path, err), db.Close())
	}
	return s, nil
}

// begin makes the tables and a session in one transaction: kernels may start together.
func (s *Store) begin(notebook string) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > 1 {
		return fmt.Errorf("it was written by a newer ddpmlab (version %d)", version)
	}
	if version == 0 {
		if _, err := tx.Exec(schema); err != nil {
			return err
		}
	}
	r, err := tx.Exec("INSERT INTO session (started, notebook) VALUES (?, ?)", time.Now().UTC().Format(time.RFC3339), notebook)
	if err != nil {
		return err
	}
	if s.session, err = r.LastInsertId(); err != nil {
		return err
	}
	return tx.Commit()
}

// Session is the number of the store's own session.
func (s *Store) Session() int64 { return s.session }

// Add adds a cell to the session.
func (s *Store) Add(line int, source, output string) error {
	_, err := s.db.Exec("INSERT INTO entry (session, line, source, output) VALUES (?, ?, ?, ?)", s.session, line, source, output)
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	return nil
}

const (
	columns = "SELECT session, line, source, output FROM entry "
	// newest keeps of entries with the same source the last one.
	newest = "AND id IN (SELECT max(id) FROM entry GROUP BY source) "
)

// Tail returns the last n entries of all sessions, oldest first; all when n is 0.
func (s *Store) Tail(n int, unique bool) ([]Entry, error) { return s.last("WHERE true ", n, unique) }

// Search returns the last n entries whose whole source matches the pattern, in which *
// stands for any text, ? for one character and [abc] for one of several; all when n is 0.
func (s *Store) Search(pattern string, n int, unique bool) ([]Entry, error) {
	return s.last("WHERE source GLOB ? ", n, unique, pattern)
}

func (s *Store) last(where string, n int, unique bool, args ...any) ([]Entry, error) {
	if unique {
		where += newest
	}
	if n <= 0 {
		n = -1 // no limit
	}
	entries, err := s.query(columns+where+"ORDER BY id DESC LIMIT ?", append(args, n)...)
	slices.Reverse(entries)
	return entries, err
}

// Range returns a session's entries from line start up to, not including, stop; with
// stop 0 or less to its end. Session 0 is the store's own, -1 the one before it.
func (s *Store) Range(session int64, start, stop int) ([]Entry, error) {
	if session <= 0 {
		session += s.session
	}
	return s.query(columns+"WHERE session = ? AND line >= ? AND (? <= 0 OR line < ?) ORDER BY id", session, start, stop, stop)
}

func (s *Store) query(q string, args ...any) ([]Entry, error) {
	rows, err := s.db.Query(q, args...)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	defer rows.Close()
	var entries []Entry
	for rows.Next() {
		var e Entry
		if err := rows.Scan(&e.Session, &e.Line, &e.Source, &e.Output); err != nil {
			return nil, fmt.Errorf("history: %w", err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// DefaultPath is where a user's history is: XDG_STATE_HOME/ddpmlab/history.sqlite, by
// default under ~/.local/state.
func DefaultPath() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ddpmlab", "history.sqlite"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("history: %w", err)
	}
	return filepath.Join(home, ".local", "state", "ddpmlab", "history.sqlite"), nil
}
