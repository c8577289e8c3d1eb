package experiments

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// method is how something is measured, as the table protocol has it. Whatever was
// measured once of a checkpoint or data set by a method is not measured again.
type method struct {
	id     string // identifies all that decides the result
	metric string
	detail any // what id stands for
	floor  float64
}

// newMethod is a method whose id is the SHA-256 of its details.
func newMethod(metric string, detail any) (method, error) {
	text, err := json.Marshal(detail)
	if err != nil {
		return method{}, fmt.Errorf("describe %s: %w", metric, err)
	}
	sum := sha256.Sum256(append([]byte("ddpmlab "+metric+" 1\n"), text...))
	return method{id: hex.EncodeToString(sum[:]), metric: metric, detail: detail, floor: math.NaN()}, nil
}

const (
	insertProtocol = `INSERT INTO protocol (id, metric, detail, floor) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`
	insertResult   = `INSERT OR REPLACE INTO result (subject, protocol, value, created) VALUES (?, ?, ?, ?)`
	selectResult   = `SELECT value FROM result WHERE subject = ? AND protocol = ?`
)

func (m method) save(ctx context.Context, tx *sql.Tx) error {
	detail, err := json.Marshal(m.detail)
	if err != nil {
		return fmt.Errorf("describe %s: %w", m.metric, err)
	}
	_, err = tx.ExecContext(ctx, insertProtocol, m.id, m.metric, string(detail), m.floor)
	return err
}

// recall reads into value what was measured of the subject before, and reports whether
// there was anything.
func (s *Store) recall(ctx context.Context, subject string, m method, value any) (bool, error) {
	db, err := s.reader()
	if err != nil {
		return false, err
	}
	var text string
	switch err := db.QueryRowContext(ctx, selectResult, subject, m.id).Scan(&text); {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, explain(s.path, err)
	}
	if err := json.Unmarshal([]byte(text), value); err != nil {
		return false, fmt.Errorf("stored %s of %s: %w", m.metric, subject, err)
	}
	return true, nil
}

// keep stores what was measured of the subject.
func (s *Store) keep(ctx context.Context, subject string, m method, value any) error {
	return s.tryKeep(ctx, func(tx *sql.Tx) error { return s.keepIn(ctx, tx, subject, m, value) })
}

// tryKeep runs fn in a writing transaction. A database that cannot take the result does
// not cost the result: the display of ctx says that it was not kept.
func (s *Store) tryKeep(ctx context.Context, fn func(*sql.Tx) error) error {
	err := s.do(false, fn)
	if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrFull) {
		return err
	}
	display.FromContext(ctx).Show("not kept", render.Text(fmt.Sprintf("the result was not kept for the next time: %v", err)))
	return nil
}

func (s *Store) keepIn(ctx context.Context, tx *sql.Tx, subject string, m method, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("store %s: %w", m.metric, err)
	}
	if err := m.save(ctx, tx); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, insertResult, subject, m.id, string(text), s.micros())
	return err
}
