package experiments

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"syscall"

	"github.com/mattn/go-sqlite3"
)

// What a caller may want to tell apart with errors.Is. The errors that wrap these name
// the file or run and say the cure.
var (
	ErrReadOnly     = errors.New("database is read-only")
	ErrFull         = errors.New("disk is full")
	ErrNotDatabase  = errors.New("not a ddpmlab database")
	ErrDamaged      = errors.New("database is damaged")
	ErrNewerSchema  = errors.New("database was written by a newer ddpmlab")
	ErrLocked       = errors.New("database is locked by another program")
	ErrClosed       = errors.New("database is closed")
	ErrNoRun        = errors.New("no such run")
	ErrAmbiguous    = errors.New("more than one run matches")
	ErrNoCheckpoint = errors.New("checkpoint is not here")
	ErrNotResumable = errors.New("run cannot be resumed")
	ErrAlreadyRuns  = errors.New("run is being trained now")
	ErrInterrupted  = errors.New("training interrupted")
	ErrDisk         = errors.New("disk or network file system fails")
	ErrNetwork      = errors.New("database is on a network file system")
	ErrSpilled      = errors.New("database could not take the end of a run")
)

// CellError is what the methods of Lab panic with. The kernel shows CellMessage under
// the cell, with the cell's line, instead of a stack trace.
type CellError struct {
	Err error
}

// Error is the wrapped error's text.
func (e *CellError) Error() string { return e.Err.Error() }

// Unwrap is the wrapped error.
func (e *CellError) Unwrap() error { return e.Err }

// CellMessage is what a notebook shows: the error with calls in place of commands.
func (e *CellError) CellMessage() string {
	text := e.Err.Error()
	for _, w := range cellWords {
		text = w.command.ReplaceAllString(text, w.call)
	}
	return text
}

// cellWords are the commands that errors name, and the calls that do the same in a cell.
var cellWords = []struct {
	command *regexp.Regexp
	call    string
}{
	{regexp.MustCompile("`ddpmlab train --rerun`"), "lab.Rerun(ctx, cfg, variant)"},
	{regexp.MustCompile("`ddpmlab train --resume ([0-9A-Z]+)`"), `lab.Resume(ctx, "$1")`},
	{regexp.MustCompile("`ddpmlab runs restore ([0-9A-Za-z]+)`"), `lab.Restore("$1")`},
	{regexp.MustCompile("`ddpmlab runs merge FILE`"), `lab.Merge("FILE")`},
	{regexp.MustCompile("`ddpmlab runs import`"), `lab.Import("PATH")`},
	{regexp.MustCompile("`ddpmlab sweep plan`"), `lab.Plan("NAME", cfg, variant, axes...)`},
}

// problem is an error of a database, its files or a run, in the user's words.
type problem struct {
	path  string // of the file, or which run
	kind  error  // one of the Err variables
	cure  string // what the user can do
	cause error
}

func (p *problem) Error() string {
	return fmt.Sprintf("%s: %v; %s", p.path, p.kind, p.cure)
}

func (p *problem) Unwrap() []error { return []error{p.kind, p.cause} }

// noDatabase is the error for a path where there is no file.
type noDatabase string

func (path noDatabase) Error() string {
	return fmt.Sprintf("no database at %s; train a run first, or name another by --db or DDPMLAB_DB", string(path))
}

func (noDatabase) Unwrap() error { return fs.ErrNotExist }

// explain turns what SQLite or the operating system says about the file at path into
// one sentence with a cure. An error it does not know comes back wrapped with the path.
func explain(path string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem](err); ok ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrNoSweep) ||
		strings.HasPrefix(err.Error(), path+": ") { // it has been explained
		return err
	}
	cure, kind := diagnose(err)
	if kind == nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return &problem{path: path, kind: kind, cure: cure, cause: err}
}

// Cures, each the end of a sentence.
const (
	cureReadOnly = "its file or folder cannot be written; copy it to a folder of your own, or name another by --db or DDPMLAB_DB"
	cureFull     = "what was saved before is intact; free some space, or name a database on another disk by --db or DDPMLAB_DB"
	cureNotOurs  = "name another file by --db or DDPMLAB_DB, or move this one away and a new one is made"
	cureDamaged  = "put an earlier copy in its place (a committed one: `git checkout FILE`), or save what can still be read into a new one by `sqlite3 FILE .recover | sqlite3 NEW`"
	cureLocked   = "end the program that holds it, or wait until it is done, and try again"
	cureDisk     = "look into the system's log; name a database on another disk by --db or DDPMLAB_DB"
	cureClosed   = "open it again"
	cureNewer    = "update ddpmlab (git pull), or name another database by --db or DDPMLAB_DB"
)

// diagnose finds the cure of an error, and its kind: nil when it is none of ours.
func diagnose(err error) (cure string, kind error) {
	if e, ok := errors.AsType[sqlite3.Error](err); ok {
		switch e.SystemErrno {
		case syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG:
			return cureFull, ErrFull
		case syscall.EROFS, syscall.EACCES, syscall.EPERM:
			return cureReadOnly, ErrReadOnly
		}
		switch e.Code {
		case sqlite3.ErrFull:
			return cureFull, ErrFull
		case sqlite3.ErrReadonly, sqlite3.ErrCantOpen, sqlite3.ErrPerm:
			return cureReadOnly, ErrReadOnly
		case sqlite3.ErrIoErr:
			return cureDisk, ErrDisk
		case sqlite3.ErrNotADB:
			return cureNotOurs, ErrNotDatabase
		case sqlite3.ErrCorrupt:
			return cureDamaged, ErrDamaged
		case sqlite3.ErrBusy, sqlite3.ErrLocked, sqlite3.ErrProtocol: // protocol: the log's locks were busy too often
			return cureLocked, ErrLocked
		}
		return "", nil
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return cureFull, ErrFull
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return cureReadOnly, ErrReadOnly
	case errors.Is(err, ErrClosed), errors.Is(err, driver.ErrBadConn):
		return cureClosed, ErrClosed
	}
	return "", nil
}
