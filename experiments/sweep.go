package experiments

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/internal/display"
	"ddpmlab/internal/render"
)

// What a trial's status can be besides those of its run.
const (
	TrialOpen    = "open"    // to be trained
	TrialClaimed = "claimed" // a living process prepares it
)

// SweepStatus is a sweep with all its trials, as they stand.
type SweepStatus struct {
	Name    string
	Axes    []string // names of the fields that vary
	Created time.Time
	Trials  []*Trial
}

// Trial is one training of a sweep.
type Trial struct {
	Number  int      // from 1, in the order of work
	Values  []string // of each axis; "" where it is as in the base
	Config  ddpm.Config
	Variant ddpm.Variant
	Status  string // TrialOpen, TrialClaimed or that of the run
	Run     *Run   // nil before there is one
	By      string // the process that works on it, or ""
	Error   string // why it could not be trained, or ""

	config, variant string // as stored
	claimed         bool   // by By, which lives
}

// done reports whether nothing more is to be done for the trial; with retry, what failed
// is to be done again.
func (t *Trial) done(retry bool) bool {
	switch t.Status {
	case StatusFinished, StatusDiverged:
		return true
	case StatusFailed:
		return !retry
	}
	return false
}

const (
	insertSweep  = `INSERT INTO sweep (name, axes, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	updateAxes   = `UPDATE sweep SET axes = ? WHERE name = ?`
	insertTrial  = `INSERT INTO trial (sweep, number, fields, config, variant) VALUES (?, ?, ?, ?, ?)`
	selectSweep  = `SELECT name, axes, created FROM sweep WHERE name = ?`
	selectSweeps = `SELECT name FROM sweep ORDER BY created, name`
	selectKnown  = `SELECT config, variant FROM trial WHERE sweep = ?`
	// A trial's run is the one noted down, or else the best of its configuration and variant.
	selectTrials = `SELECT trial.number, trial.fields, trial.config, trial.variant, trial.error,
			coalesce(nullif(trial.run, ''), (SELECT run.id FROM run
				WHERE run.config = trial.config AND run.variant = trial.variant AND run.deleted IS NULL
				ORDER BY run.status = 'finished' DESC, run.id DESC LIMIT 1), ''),
			trial.pid IS NOT NULL, coalesce(trial.pid, 0), trial.born, trial.boot, trial.host, trial.heartbeat
		FROM trial WHERE trial.sweep = ? ORDER BY trial.number`
)

// Plan makes a sweep of that name: the trials that the axes describe, as changes to c and
// v. Nothing is trained. Planning again under the same name adds the trials that are new.
func (s *Store) Plan(ctx context.Context, name string, c ddpm.Config, v ddpm.Variant, axes ...Axis) (*SweepStatus, error) {
	if strings.TrimSpace(name) == "" {
		return nil, errors.New("the sweep has no name; give it one, as \"gamma study\"")
	}
	fields, settings, err := expand(axes)
	if err != nil {
		return nil, fmt.Errorf("sweep %s: %w", name, err)
	}
	const most = 100_000
	if len(settings) > most {
		return nil, fmt.Errorf("sweep %s: %d trials; want at most %d", name, len(settings), most)
	}
	trials := make([]plannedTrial, 0, len(settings))
	for _, set := range settings {
		t := plannedTrial{Config: c, Variant: v, Fields: make(map[string]string)}
		for _, a := range set {
			if err := SetField(&t.Config, &t.Variant, a.field, a.value); err != nil {
				return nil, fmt.Errorf("sweep %s: %w", name, err)
			}
			t.Fields[a.field] = a.value
		}
		if err := errors.Join(t.Config.Validate(), t.Variant.Validate()); err != nil {
			return nil, fmt.Errorf("sweep %s: %s: %w", name, describe(set), err)
		}
		trials = append(trials, t)
	}
	if err := s.addTrials(ctx, name, fields, trials); err != nil {
		return nil, err
	}
	return s.Sweeping(ctx, name)
}

func describe(set setting) string {
	if len(set) == 0 {
		return "the base"
	}
	parts := make([]string, len(set))
	for i, a := range set {
		parts[i] = a.field + "=" + a.value
	}
	return strings.Join(parts, " ")
}

// plannedTrial is a trial as a plan file has it.
type plannedTrial struct {
	Fields  map[string]string `json:"fields"`
	Config  ddpm.Config       `json:"config"`
	Variant ddpm.Variant      `json:"variant"`
}

// addTrials stores the trials that the sweep does not have yet.
func (s *Store) addTrials(ctx context.Context, name string, fields []string, trials []plannedTrial) error {
	err := s.do(true, func(tx *sql.Tx) error {
		var axes []string
		var text string
		var created int64
		switch err := tx.QueryRowContext(ctx, selectSweep, name).Scan(&text, &text, &created); {
		case err == nil:
			if err := json.Unmarshal([]byte(text), &axes); err != nil {
				return err
			}
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		for _, f := range fields {
			if i := slices.Index(axes, "seed"); f == "seed" || i < 0 {
				axes = append(axes, f)
			} else if !slices.Contains(axes, f) {
				axes = slices.Insert(axes, i, f) // the seed stands last
			}
		}
		axes = unique(axes)
		list, err := json.Marshal(append([]string{}, axes...))
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, insertSweep, name, string(list), s.micros()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, updateAxes, string(list), name); err != nil {
			return err
		}
		known, err := knownTrials(ctx, tx, name)
		if err != nil {
			return err
		}
		for _, t := range trials {
			fields, err1 := json.Marshal(t.Fields)
			config, err2 := json.Marshal(t.Config)
			variant, err3 := json.Marshal(t.Variant.Normal())
			if err := errors.Join(err1, err2, err3); err != nil {
				return err
			}
			id := [2]string{string(config), string(variant)}
			if known[id] {
				continue
			}
			known[id] = true
			if _, err := tx.ExecContext(ctx, insertTrial, name, len(known), string(fields), id[0], id[1]); err != nil {
				return err
			}
		}
		return nil
	})
	return explain(s.path, err)
}

func unique(names []string) []string {
	var out []string
	for _, n := range names {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func knownTrials(ctx context.Context, tx *sql.Tx, name string) (map[[2]string]bool, error) {
	known := make(map[[2]string]bool)
	rows, err := tx.QueryContext(ctx, selectKnown, name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id [2]string
		if err := rows.Scan(&id[0], &id[1]); err != nil {
			return nil, err
		}
		known[id] = true
	}
	return known, rows.Err()
}

// Sweeps lists the names of all sweeps, oldest first.
func (s *Store) Sweeps(ctx context.Context) ([]string, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	names, err := texts(ctx, db, selectSweeps)
	return names, explain(s.path, err)
}

// Sweeping returns how the sweep of that name stands.
func (s *Store) Sweeping(ctx context.Context, name string) (*SweepStatus, error) {
	if err := s.reapAtOpen(ctx); err != nil {
		return nil, err
	}
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	w, ids, err := s.readSweep(ctx, db, name)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	runs, err := s.runs(ctx, "run.id IN (SELECT value FROM json_each(?))", string(list))
	if err != nil {
		return nil, err
	}
	byID := make(map[string]*Run, len(runs))
	for _, r := range runs {
		byID[r.ID] = r
	}
	for i, t := range w.Trials {
		t.Run = byID[ids[i]]
		t.settle("")
	}
	return w, nil
}

// settle finds the trial's status from its run's, claim and error. status is the run's
// where the run itself was not read.
func (t *Trial) settle(status string) {
	if t.Run != nil {
		status = t.Run.Status
	}
	switch {
	case status != "":
		t.Status = status
		if t.claimed && status != StatusRunning && !t.done(false) {
			t.Status = TrialClaimed
		}
	case t.claimed:
		t.Status = TrialClaimed
	case t.Error != "":
		t.Status = StatusFailed
	default:
		t.Status = TrialOpen
	}
}

// readSweep reads a sweep and the ids of its trials' runs, "" where there is none.
func (s *Store) readSweep(ctx context.Context, q queryer, name string) (*SweepStatus, []string, error) {
	w := &SweepStatus{}
	var axes string
	var created int64
	err := q.QueryRowContext(ctx, selectSweep, name).Scan(&w.Name, &axes, &created)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil, noSweep(ctx, q, name)
	}
	if err == nil {
		err = json.Unmarshal([]byte(axes), &w.Axes)
	}
	if err != nil {
		return nil, nil, explain(s.path, err)
	}
	w.Created = time.UnixMicro(created)
	rows, err := q.QueryContext(ctx, selectTrials, name)
	if err != nil {
		return nil, nil, explain(s.path, err)
	}
	defer rows.Close()
	var ids []string
	me, now := ownLease(), s.now()
	for rows.Next() {
		t, l := &Trial{}, lease{}
		var fields, run, host string
		var heartbeat int64
		if err := rows.Scan(&t.Number, &fields, &t.config, &t.variant, &t.Error, &run,
			&t.claimed, &l.pid, &l.born, &l.boot, &host, &heartbeat); err != nil {
			return nil, nil, explain(s.path, err)
		}
		var values map[string]string
		if err := errors.Join(json.Unmarshal([]byte(fields), &values), json.Unmarshal([]byte(t.config), &t.Config),
			json.Unmarshal([]byte(t.variant), &t.Variant)); err != nil {
			return nil, nil, fmt.Errorf("%s: trial %d of %s: %w", s.path, t.Number, name, err)
		}
		for _, a := range w.Axes {
			t.Values = append(t.Values, values[a])
		}
		l.heartbeat = time.UnixMicro(heartbeat)
		if t.claimed = t.claimed && !l.dead(me, now, processBorn); t.claimed {
			t.By = fmt.Sprintf("%s, process %d", host, l.pid)
		}
		w.Trials, ids = append(w.Trials, t), append(ids, run)
	}
	return w, ids, explain(s.path, rows.Err())
}

// ErrNoSweep is returned for a sweep that was not planned.
var ErrNoSweep = errors.New("no such sweep")

func noSweep(ctx context.Context, q queryer, name string) error {
	names, err := texts(ctx, q, selectSweeps)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: %q; `ddpmlab sweep plan` makes one", ErrNoSweep, name)
	}
	return fmt.Errorf("%w: %q; there are %s", ErrNoSweep, name, strings.Join(names, ", "))
}

// Count is the number of trials with the status.
func (w *SweepStatus) Count(status string) int {
	n := 0
	for _, t := range w.Trials {
		if t.Status == status {
			n++
		}
	}
	return n
}

// Runs are the runs of the trials that have one.
func (w *SweepStatus) Runs() Runs {
	var runs Runs
	for _, t := range w.Trials {
		if t.Run != nil {
			runs = append(runs, t.Run)
		}
	}
	return runs
}

// Table is the sweep, one line a trial.
func (w *SweepStatus) Table() *render.Table {
	t := &render.Table{Caption: w.caption(), Columns: render.Right("Trial")}
	var rows [][]string
	for _, x := range w.Trials {
		rows = append(rows, x.Values)
	}
	for i, a := range w.Axes {
		t.Columns = append(t.Columns, render.Column{Name: strings.TrimPrefix(a, variantPrefix), Right: numbers(rows, i)})
	}
	runs := w.Runs()
	t.Columns = append(append(t.Columns, render.Left("Status", "Run")...), render.Right("Step", "Loss", runs.scoreName())...)
	n := runs.idLength()
	for _, x := range w.Trials {
		cells := append([]string{fmt.Sprint(x.Number)}, x.Values...)
		if r := x.Run; r != nil {
			cells = append(cells, x.Status, r.ID[:min(n, len(r.ID))], fmt.Sprintf("%d/%d", r.Step, r.Config.Iterations), r.showLoss(), r.show(MetricFD, "%.2f"))
		} else {
			cells = append(cells, x.Status)
		}
		t.Add(cells...)
	}
	if len(runs) > 0 {
		t.Notes = runs.scoreNotes()
	}
	for _, x := range w.Trials {
		if x.Error != "" {
			t.Notes = append(t.Notes, fmt.Sprintf("Trial %d: %s.", x.Number, strings.TrimSuffix(x.Error, ".")))
		}
	}
	return t
}

// caption counts the trials by status: "sweep gamma study: 12 trials, 4 finished, 8 open".
func (w *SweepStatus) caption() string {
	s := fmt.Sprintf("sweep %s: %d trials", w.Name, len(w.Trials))
	for _, status := range []string{
		StatusFinished, StatusRunning, TrialClaimed, StatusInterrupted, StatusCrashed,
		StatusDiverged, StatusFailed, TrialOpen,
	} {
		if n := w.Count(status); n > 0 {
			s += fmt.Sprintf(", %d %s", n, status)
		}
	}
	return s
}

// Bundle is the table.
func (w *SweepStatus) Bundle() render.Bundle { return w.Table().Bundle() }

// String is the table as text.
func (w *SweepStatus) String() string { return w.Table().String() }

// SweepLimits say how much of a sweep RunSweep works on. The zero value is all that is
// open.
type SweepLimits struct {
	Trials int  // at most so many; 0: all
	Number int  // this trial alone; 0: any
	Retry  bool // also those that failed before
}

// RunSweep trains the open trials of a sweep one after the other, and goes on with those
// that were interrupted or crashed. Other processes may work on the same sweep at the same
// time: each trial belongs to one living process. A trial that fails does not end the
// sweep; what it failed of is kept with it, and in the error that is returned at the end.
func (s *Store) RunSweep(ctx context.Context, name string, limits SweepLimits) (*SweepStatus, error) {
	w := sweepWork{store: s, sweep: name, limits: limits, tried: make(map[int]bool), start: s.now()}
	err := w.run(ctx)
	status, readErr := s.Sweeping(context.WithoutCancel(ctx), name)
	return status, cmpErr(err, readErr)
}

// cmpErr is the first that is an error.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepWork is this process's work on a sweep.
type sweepWork struct {
	store  *Store
	sweep  string
	limits SweepLimits
	tried  map[int]bool // trials worked on or left to others, not taken again
	start  time.Time
	failed []error
}

func (w *sweepWork) run(ctx context.Context) error {
	report := display.FromContext(ctx)
	worked := 0
	for w.limits.Trials == 0 || worked < w.limits.Trials {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := w.claim(ctx)
		if err != nil {
			return err
		}
		report.Progress(w.progress(c, display.Running))
		if c.trial == nil {
			break
		}
		worked++
		run, err := w.train(ctx, c.trial)
		if e := w.release(ctx, c.trial, run, err); e != nil {
			return e
		}
		switch {
		case err == nil:
		case ctx.Err() != nil || errors.Is(err, ErrInterrupted):
			report.Progress(w.progress(c, display.Interrupted))
			return err
		case fatal(err):
			report.Progress(w.progress(c, display.Failed))
			return err
		case errors.Is(err, ErrAlreadyRuns), run != nil && run.Status == StatusDiverged:
		default:
			w.failed = append(w.failed, fmt.Errorf("trial %d: %w", c.trial.Number, err))
		}
	}
	left, _, err := w.store.readSweepStatus(ctx, w.sweep)
	if err != nil {
		return err
	}
	report.Progress(w.progress(claim{done: left.doneCount(), all: len(left.Trials)}, display.Done))
	if n := len(w.failed); n > 0 {
		return fmt.Errorf("sweep %s: %d trials failed and can be tried again with retry (--retry); %w", w.sweep, n, errors.Join(w.failed...))
	}
	return nil
}

func (w *SweepStatus) doneCount() int {
	n := 0
	for _, t := range w.Trials {
		if t.done(false) {
			n++
		}
	}
	return n
}

// fatal reports whether no other trial will do better.
func fatal(err error) bool {
	for _, kind := range []error{ErrFull, ErrReadOnly, ErrDamaged, ErrClosed, ErrLocked} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

func (w *sweepWork) progress(c claim, state display.State) display.Progress {
	p := display.Progress{
		ID: "sweep-" + w.sweep, Title: "sweep " + w.sweep, Done: int64(c.done), Total: int64(c.all), Unit: "trials",
		State: state, Elapsed: w.store.now().Sub(w.start),
	}
	if c.trial != nil {
		p.Note = fmt.Sprintf("trial %d: %v, seed %d", c.trial.Number, c.trial.Variant, c.trial.Config.Seed)
	}
	if state == display.Interrupted {
		p.Note = "run the sweep again to go on"
	}
	return p
}

// train trains the trial, or goes on with its run.
func (w *sweepWork) train(ctx context.Context, t *Trial) (*Run, error) {
	ctx = withSweep(ctx, w.sweep)
	stop := w.beat(t)
	defer stop()
	if t.Run != nil && resumable(t.Run.ID, t.Run.Status) == nil {
		r, err := w.store.Resume(ctx, t.Run.ID)
		if !errors.Is(err, ErrNoCheckpoint) && !errors.Is(err, ErrNotResumable) {
			return r, err
		}
		// Its checkpoint is on another machine, or of other numerics: it begins anew.
	}
	return w.store.Train(ctx, t.Config, t.Variant)
}
