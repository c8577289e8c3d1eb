package experiments

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Figure is a picture that was shown or saved: of which runs it is, and what was drawn.
type Figure struct {
	ID      string          `json:"id"`   // SHA-256 of what follows but Created
	Kind    string          `json:"kind"` // the function of plots that drew it, as FDCurve
	Args    json.RawMessage `json:"args"` // what it was drawn with besides the runs
	Runs    []string        `json:"runs"` // their ids, in the figure's order
	Points  string          `json:"points"`
	Picture string          `json:"picture"` // SHA-256 of the SVG
	Created time.Time       `json:"created"`
}

const (
	insertFigure    = `INSERT INTO figure (id, kind, args, points, picture, created) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	insertFigureRun = `INSERT INTO figure_run (figure, position, run) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	selectFigures   = `SELECT id, kind, args, points, picture, created,
			(SELECT json_group_array(run) FROM (SELECT run FROM figure_run WHERE figure = id ORDER BY position))
		FROM figure WHERE id BETWEEN ?1 AND ?1 || 'g' OR picture = ?1 ORDER BY created, id`
)

// KeepFigure records a figure that was drawn of the runs, in their database, and returns it;
// nil where the runs are in none. args, as JSON, is what it was drawn with besides them, and
// points the SHA-256 of the numbers drawn. The same figure is recorded once.
func (rs Runs) KeepFigure(ctx context.Context, kind string, args any, points string, svg []byte) (*Figure, error) {
	var s *Store
	f := &Figure{Kind: kind, Points: points, Picture: sha256Hex(svg)}
	for _, r := range rs {
		if r.store == nil {
			return nil, nil
		}
		s = r.store
		f.Runs = append(f.Runs, r.ID)
	}
	if s == nil {
		return nil, nil
	}
	var err error
	if f.Args, err = json.Marshal(args); err != nil {
		return nil, err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	f.ID, f.Created = sha256Hex(text), s.now()
	known, err := s.Figures(ctx, f.ID)
	if err != nil || len(known) > 0 {
		return f, err
	}
	return f, s.do(false, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, insertFigure, f.ID, f.Kind, string(f.Args), f.Points, f.Picture, f.Created.UnixMicro()); err != nil {
			return err
		}
		for i, run := range f.Runs {
			if _, err := tx.ExecContext(ctx, insertFigureRun, f.ID, i, run); err != nil {
				return err
			}
		}
		return nil
	})
}

// PointsHash is the SHA-256 of the steps and values of the runs' series of these keys.
func (rs Runs) PointsHash(ctx context.Context, keys []string) (string, error) {
	h := sha256.New()
	for _, r := range rs {
		for _, key := range keys {
			fmt.Fprintf(h, "%s %s\n", r.ID, key)
			points := r.series[key] // of a Detached run
			if r.store != nil {
				var err error
				if points, err = r.store.Points(ctx, r.ID, key); err != nil {
					return "", err
				}
			}
			hashPoints(h, points)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashPoints writes steps and values: 8 bytes each, lowest first. All NaN are one.
func hashPoints(h io.Writer, points []Point) {
	b := make([]byte, 0, 16*len(points))
	for _, p := range points {
		v := math.Float64bits(p.Value)
		if math.IsNaN(p.Value) {
			v = math.Float64bits(math.NaN())
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(p.Step))
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	h.Write(b)
}

// Figures returns the figures whose ids begin with prefix, or whose picture has it as its
// SHA-256; all of them for "". The oldest come first.
func (s *Store) Figures(ctx context.Context, prefix string) ([]Figure, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectFigures, strings.ToLower(prefix))
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var all []Figure
	for rows.Next() {
		var f Figure
		var args, runs string
		var created int64
		if err := rows.Scan(&f.ID, &f.Kind, &args, &f.Points, &f.Picture, &created, &runs); err != nil {
			return nil, explain(s.path, err)
		}
		f.Args, f.Created = json.RawMessage(args), time.UnixMicro(created)
		if err := json.Unmarshal([]byte(runs), &f.Runs); err != nil {
			return nil, fmt.Errorf("figure %s: %w", f.ID, err)
		}
		all = append(all, f)
	}
	return all, explain(s.path, rows.Err())
}

// RunsOf returns a figure's runs, in its order. A run that is no longer there is an error
// that wraps ErrNoRun.
func (s *Store) RunsOf(ctx context.Context, f Figure) (Runs, error) {
	var runs Runs
	var missing error
	for _, id := range f.Runs {
		r, err := s.Run(ctx, id)
		if errors.Is(err, ErrNoRun) {
			missing = errors.Join(missing, fmt.Errorf("figure %s: %w", f.ID[:12], err))
			continue
		}
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return runs, missing
}
