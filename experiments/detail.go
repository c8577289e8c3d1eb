package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/render"
)

// Detail is all that is known of a run but its points: `ddpmlab runs show --json`.
type Detail struct {
	Summary
	Attempt   int                 `json:"attempt"`
	Key       string              `json:"key"`
	Error     string              `json:"error,omitempty"`
	Started   time.Time           `json:"started"`
	Finished  *time.Time          `json:"finished,omitempty"`
	Config    ddpm.Config         `json:"config"`
	Switches  ddpm.Variant        `json:"switches"` // the variant's fields
	Sessions  []Session           `json:"sessions"`
	Cells     []Executed          `json:"cells,omitempty"`
	Artifacts []Artifact          `json:"artifacts,omitempty"`
	Protocols map[string]Protocol `json:"protocols,omitempty"` // by series
	Notes     []Note              `json:"notes,omitempty"`

	run *Run
}

// Session is one time that a process worked on a run.
type Session struct {
	FromStep    int64           `json:"from_step"` // above 0: resumed there
	Started     time.Time       `json:"started"`
	Heartbeat   time.Time       `json:"heartbeat"` // its last sign of life
	Host        string          `json:"host"`
	PID         int             `json:"pid"`
	Commit      string          `json:"commit"`
	Dirty       bool            `json:"dirty"`
	Device      string          `json:"device"`
	Environment json.RawMessage `json:"environment"`
}

// Executed is a notebook cell that led to a run. The last one of a session started it.
type Executed struct {
	Session  int    `json:"session"` // from 1
	Notebook string `json:"notebook,omitempty"`
	Number   int    `json:"number,omitempty"` // execution count, where known
	Source   string `json:"source"`
}

// Artifact is a file that belongs to a run.
type Artifact struct {
	Name   string `json:"name"` // as "checkpoint"
	Step   int64  `json:"step"`
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
	Here   bool   `json:"here"` // false: not in this machine's store folder
}

// Note is what somebody wrote about a run.
type Note struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

const (
	selectSessions = `SELECT from_step, started, heartbeat, host, pid, commit_id, dirty, device, environment
		FROM session WHERE run = ? ORDER BY number`
	selectCells = `SELECT session, notebook, executed.number, source
		FROM executed JOIN cell ON sha256 = cell WHERE run = ? ORDER BY session, position`
	selectArtifacts = `SELECT name, step, size, artifact.sha256, body IS NOT NULL
		FROM run_artifact JOIN artifact USING (sha256) WHERE run = ? ORDER BY name, step`
	selectNotes = `SELECT time, text FROM note WHERE run = ? ORDER BY time`
)

// Show returns all that is known of the run whose id begins with prefix.
func (s *Store) Show(ctx context.Context, prefix string) (*Detail, error) {
	r, err := s.Run(ctx, prefix)
	if err != nil {
		return nil, err
	}
	d := &Detail{
		Summary: r.Summary(), Attempt: r.Attempt, Key: r.Key, Error: r.Error, Started: r.Started,
		Config: r.Config, Switches: r.Variant, Protocols: r.protocols, run: r,
	}
	if !r.Finished.IsZero() {
		d.Finished = &r.Finished
	}
	for _, part := range []struct {
		query string
		scan  func(*sql.Rows) error
	}{
		{selectSessions, d.scanSession},
		{selectCells, d.scanCell},
		{selectArtifacts, func(rows *sql.Rows) error { return d.scanArtifact(s, rows) }},
		{selectNotes, d.scanNote},
	} {
		if err := s.each(ctx, part.query, r.ID, part.scan); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// each calls scan for each row of a query about a run.
func (s *Store) each(ctx context.Context, query, run string, scan func(*sql.Rows) error) error {
	db, err := s.reader()
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, query, run)
	if err != nil {
		return explain(s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return explain(s.path, err)
		}
	}
	return explain(s.path, rows.Err())
}

func (d *Detail) scanSession(rows *sql.Rows) error {
	var x Session
	var started, heartbeat int64
	var environment string
	err := rows.Scan(&x.FromStep, &started, &heartbeat, &x.Host, &x.PID, &x.Commit, &x.Dirty, &x.Device, &environment)
	x.Started, x.Heartbeat, x.Environment = time.UnixMicro(started), time.UnixMicro(heartbeat), json.RawMessage(environment)
	d.Sessions = append(d.Sessions, x)
	return err
}

func (d *Detail) scanCell(rows *sql.Rows) error {
	var x Executed
	err := rows.Scan(&x.Session, &x.Notebook, &x.Number, &x.Source)
	d.Cells = append(d.Cells, x)
	return err
}

func (d *Detail) scanArtifact(s *Store, rows *sql.Rows) error {
	var x Artifact
	var inside bool
	err := rows.Scan(&x.Name, &x.Step, &x.Size, &x.SHA256, &inside)
	x.Here = inside || err == nil && exists(s.file(x.SHA256))
	d.Artifacts = append(d.Artifacts, x)
	return err
}

func (d *Detail) scanNote(rows *sql.Rows) error {
	var micros int64
	var x Note
	err := rows.Scan(&micros, &x.Text)
	x.Time = time.UnixMicro(micros)
	d.Notes = append(d.Notes, x)
	return err
}

// Table is the run's card, with its sessions, series, files, tags, notes and cells.
func (d *Detail) Table() *render.Table {
	t := d.run.Table()
	t.Add("key", d.Key)
	for i, x := range d.Sessions {
		what := "started"
		if x.FromStep > 0 {
			what = fmt.Sprintf("resumed at step %d", x.FromStep)
		}
		t.Add(fmt.Sprintf("session %d", i+1), fmt.Sprintf("%s %s on %s, process %d", what, x.Started.Format(minute), x.Host, x.PID))
	}
	t.Add("series", strings.Join(d.run.Keys(), ", "))
	for _, x := range d.Artifacts {
		where := ""
		if !x.Here {
			where = ", not on this machine"
		}
		t.Add(x.Name, fmt.Sprintf("step %d, %d bytes, SHA-256 %s%s", x.Step, x.Size, x.SHA256, where))
	}
	for _, x := range d.Notes {
		t.Add("note", x.Time.Format(minute)+" "+x.Text)
	}
	if n := len(d.Cells); n > 0 {
		t.Add("cell", d.Cells[n-1].Source)
	}
	t.AddClass(render.ClassHead, "configuration and variant")
	config, err1 := json.Marshal(d.Config)
	variant, err2 := json.Marshal(d.Switches)
	if err := errors.Join(err1, err2); err != nil { // both came out of JSON
		t.Notes = append(t.Notes, err.Error())
	}
	for _, p := range flatten(config, variant) {
		t.Add(p.name, fmt.Sprint(p.value))
	}
	return t
}

// Bundle is the table.
func (d *Detail) Bundle() render.Bundle { return d.Table().Bundle() }

// String is the table as text.
func (d *Detail) String() string { return d.Table().String() }

const (
	deleteTag   = `DELETE FROM tag WHERE run = ? AND name = ?`
	updateLabel = `UPDATE run SET label = ?2 WHERE id = ?1`
	upsertTag   = `INSERT INTO tag (run, name, value) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value`
	insertNote  = `INSERT INTO note (run, time, text) VALUES (?, ?, ?)`
)

// Tag gives the run whose id begins with prefix a tag, as "good" or "seed study" with
// the value "7"; a tag of that name is replaced.
func (s *Store) Tag(ctx context.Context, prefix, name, value string) error {
	return s.about(ctx, prefix, upsertTag, name, value)
}

// Untag takes the tag of that name from the run whose id begins with prefix.
func (s *Store) Untag(ctx context.Context, prefix, name string) error {
	return s.about(ctx, prefix, deleteTag, name)
}

// SetGroup puts the run whose id begins with prefix into a group; "" takes it out of its
// group. WithGroup puts new runs into one.
func (s *Store) SetGroup(ctx context.Context, prefix, group string) error {
	return s.about(ctx, prefix, updateLabel, group)
}

// Note adds a note to the run whose id begins with prefix.
func (s *Store) Note(ctx context.Context, prefix, text string) error {
	return s.about(ctx, prefix, insertNote, s.micros(), text)
}

func (s *Store) about(ctx context.Context, prefix, query string, args ...any) error {
	r, err := s.Run(ctx, prefix)
	if err != nil {
		return err
	}
	return s.do(true, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, append([]any{r.ID}, args...)...)
		return err
	})
}
