package experiments

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"os"
	"time"

	"ddpmlab/internal/pointrows"

	"github.com/mattn/go-sqlite3"
)

// connector makes connections to one database, which know the functions that its schema
// uses.
type connector struct{ dsn string }

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.Driver().Open(c.dsn) }

func (connector) Driver() driver.Driver {
	err := pointrows.Register()
	return &sqlite3.SQLiteDriver{ConnectHook: func(c *sqlite3.SQLiteConn) error {
		return errors.Join(err, c.RegisterFunc("unpack", unpack, true))
	}}
}

// connect opens a pool of at most n connections to the file at path. The parameters
// that start with an underscore are run on every connection before its first use.
func connect(path, params string, n int) *sql.DB {
	db := sql.OpenDB(connector{"file:" + (&url.URL{Path: path}).EscapedPath() + "?" + params})
	db.SetMaxOpenConns(n)
	return db
}

// Connection parameters. Write-ahead logging lets one process write while others read;
// immediate transactions wait their turn instead of failing half-way.
const (
	writeParams = "mode=rwc&_journal_mode=WAL&_synchronous=NORMAL&_busy_timeout=10000&_txlock=immediate&_foreign_keys=on"
	readParams  = "mode=rw&_query_only=true&_busy_timeout=10000&_foreign_keys=on"
	sqlParams   = "mode=ro&_query_only=true&_busy_timeout=10000"
	copyParams  = "mode=rw&_busy_timeout=10000" // query_only would forbid the copy too
)

// busyTimeout is how long another process's lock is waited for: _busy_timeout above.
const busyTimeout = 10 * time.Second

// patiently calls f again, for at most that long, while it finds the database locked.
// SQLite waits by itself for most locks, but answers at once where two processes might
// wait for each other: while one of them switches a new file to write-ahead logging.
func patiently(long time.Duration, f func() error) error {
	const most = 50 * time.Millisecond
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, most) {
		err := f()
		if !isBusy(err) || time.Since(start) > long {
			return err
		}
		time.Sleep(pause)
	}
}

// openWriter connects for writing.
func openWriter(ctx context.Context, path string) (*sql.DB, error) {
	db := connect(path, writeParams, 1)
	if err := patiently(busyTimeout, func() error { return db.PingContext(ctx) }); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// openReaders connects for reading. A database whose folder cannot be written is read
// as it lies: nobody changes it there, and SQLite cannot make its lock files beside it.
func openReaders(ctx context.Context, path string) (*sql.DB, error) {
	db := connect(path, readParams, readers)
	look := func() error {
		var n int
		return db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n)
	}
	err := patiently(busyTimeout, look)
	if err == nil {
		return db, nil
	}
	db.Close()
	_, kind := diagnose(err)
	if info, e := os.Stat(path + "-wal"); kind != ErrReadOnly || e == nil && info.Size() > 0 {
		return nil, err
	}
	db = connect(path, readParams+"&immutable=1", readers)
	if look() != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// readers is the number of reading connections.
const readers = 4
