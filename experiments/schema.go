package experiments

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
)

// The schema is the sequence of files schema/NNNN_name.sql. A file, once committed, is
// never edited: a new table or column is a new file.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// applicationID marks a SQLite file as ours ("ddpm" in ASCII).
const applicationID = 0x6464706d

// migrations returns the SQL of the schema's steps; step i leads to version i+1.
func migrations() ([]string, error) {
	names, err := fs.Glob(schemaFiles, "schema/*.sql") // sorted by name
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(names))
	for i, name := range names {
		var number int
		if _, err := fmt.Sscanf(name, "schema/%04d_", &number); err != nil || number != i+1 {
			return nil, fmt.Errorf("schema file %s: want number %04d", name, i+1)
		}
		text, err := schemaFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps[i] = string(text)
	}
	return steps, nil
}

// schemaState is what a database says about itself.
type schemaState struct {
	application, version, tables int
}

// queryer is a database, connection or transaction to read from.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// readState reads the state of the database at path, and refuses one that is not ours
// or is of a newer ddpmlab, which knows this many steps.
func readState(ctx context.Context, q queryer, path string, steps int) (schemaState, error) {
	var s schemaState
	err := q.QueryRowContext(ctx, `SELECT
		(SELECT application_id FROM pragma_application_id),
		(SELECT user_version FROM pragma_user_version),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&s.application, &s.version, &s.tables)
	switch {
	case err != nil:
		return s, explain(path, err)
	case s.application != applicationID && (s.tables > 0 || s.application != 0):
		return s, &problem{path: path, kind: ErrNotDatabase, cure: cureNotOurs}
	case s.version > steps:
		return s, &problem{path: path, kind: ErrNewerSchema, cure: fmt.Sprintf("its schema is %d, this one knows up to %d; %s", s.version, steps, cureNewer)}
	}
	return s, nil
}

// migrate brings the database to the newest schema, in the given transaction.
func migrate(ctx context.Context, tx *sql.Tx, path string, steps []string) error {
	state, err := readState(ctx, tx, path, len(steps))
	if err != nil || state.version == len(steps) {
		return err // another process may have been faster
	}
	for i := state.version; i < len(steps); i++ {
		if _, err := tx.ExecContext(ctx, steps[i]); err != nil {
			return fmt.Errorf("schema step %d: %w", i+1, err)
		}
	}
	// Both numbers lie in the file's header and are part of the transaction.
	pragmas := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(steps))
	if _, err := tx.ExecContext(ctx, pragmas); err != nil {
		return err
	}
	return storeReference(ctx, tx)
}
