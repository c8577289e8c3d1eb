package exchange

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ddpmlab/internal/tfevents"
)

// eventMark is in the names of event files.
const eventMark = "tfevents"

// WriteTensorBoard writes a folder of logs for `tensorboard --logdir`: a folder for each
// run, named by its name and id, with the scalars in an event file. Values are 32-bit
// numbers there.
func WriteTensorBoard(dir string, runs []Run) error {
	for _, r := range runs {
		folder := filepath.Join(dir, safeName(r.Name+" "+r.ID))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		path := filepath.Join(folder, fmt.Sprintf("events.out.%s.%010d.ddpmlab", eventMark, r.Started.Unix()))
		if err := writeEvents(path, r); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func writeEvents(path string, r Run) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tfevents.NewWriter(f, r.Started)
	for _, s := range r.Series {
		for _, p := range s.Points {
			w.Write(tfevents.Scalar{Tag: s.Key, Step: p.Step, Time: p.Time, Value: p.Value})
		}
	}
	return w.Flush()
}

// safeName is a file name without what a shell or file system would trip over.
func safeName(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(`/\:*?"<>|()`, r) || r < ' ' {
			return '_'
		}
		if r == ' ' {
			return '-'
		}
		return r
	}, s)
}

// ReadTensorBoard reads the event files below a folder: each folder with some is a run.
// The end of a file that was cut off is passed over, and said in the run's note.
func ReadTensorBoard(dir string) ([]Run, error) {
	byFolder := make(map[string][]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(d.Name(), eventMark) {
			folder := filepath.Dir(path)
			byFolder[folder] = append(byFolder[folder], path) // WalkDir goes by name, which holds the time
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var folders []string
	for folder := range byFolder {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	var runs []Run
	for _, folder := range folders {
		r := Run{ID: "tensorboard " + folder, Name: filepath.Base(folder), Status: Finished}
		byKey := make(map[string]int)
		for _, path := range byFolder[folder] {
			if err := r.readEvents(path, byKey); err != nil {
				return nil, err
			}
		}
		if len(r.Series) > 0 {
			runs = append(runs, r)
		}
	}
	return runs, nil
}

func (r *Run) readEvents(path string, byKey map[string]int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = tfevents.Read(f, func(s tfevents.Scalar) error {
		i, ok := byKey[s.Tag]
		if !ok {
			i = len(r.Series)
			byKey[s.Tag] = i
			r.Series = append(r.Series, Series{Key: s.Tag})
		}
		r.Series[i].Points = append(r.Series[i].Points, Point{s.Step, s.Time, s.Value})
		if r.Started.IsZero() || s.Time.Before(r.Started) {
			r.Started = s.Time
		}
		if s.Time.After(r.Finished) {
			r.Finished = s.Time
		}
		return nil
	})
	if errors.Is(err, tfevents.ErrTruncated) {
		r.Note = fmt.Sprintf("%s: %v; what came before it is here", filepath.Base(path), err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
