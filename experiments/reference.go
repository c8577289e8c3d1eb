package experiments

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"strconv"
)

// Each file is one table of a paper. The first line, a comment, names the paper and the
// table: "# Title (Authors Year), Table N: what it shows".
//
//go:embed reference/*.csv
var referenceFiles embed.FS

// paperIP is how the paper that ddpmlab reproduces is named: Ning et al. 2023, "Input
// Perturbation Reduces Exposure Bias in Diffusion Models".
const paperIP = "Ning et al. 2023"

// Reference is one number that a paper reports.
type Reference struct {
	Paper   string // as "Ning et al. 2023"
	Table   int
	Model   string // "ADM", "DDPM-IP", ...
	Dataset string // "cifar10", "imagenet32", "lsun_tower64"
	Steps   int    // sampling steps
	Metric  string // "fid", "sfid", "l1"
	Value   float64
}

// readReference reads the files of reference/.
func readReference() ([]Reference, error) {
	var all []Reference
	for _, name := range []string{"reference/table1.csv", "reference/table2.csv", "reference/table3.csv"} {
		text, err := referenceFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var table int
		if _, err := fmt.Sscanf(name, "reference/table%d.csv", &table); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		rows, err := parseReference(table, text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, rows...)
	}
	return all, nil
}

// parseReference reads one table: model, dataset, steps, and a column for each metric.
func parseReference(table int, text []byte) ([]Reference, error) {
	lines, err := readCSV(text)
	if err != nil {
		return nil, err
	}
	var rows []Reference
	for i, line := range lines[1:] {
		steps, err := strconv.Atoi(line[2])
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		for c := 3; c < len(line); c++ {
			value, err := strconv.ParseFloat(line[c], 64)
			if err != nil {
				return nil, fmt.Errorf("row %d: %w", i+1, err)
			}
			rows = append(rows, Reference{
				Paper: paperIP, Table: table, Model: line[0], Dataset: line[1],
				Steps: steps, Metric: lines[0][c], Value: value,
			})
		}
	}
	return rows, nil
}

// readCSV is the lines of a file of reference/: the first one names the columns.
func readCSV(text []byte) ([][]string, error) {
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment = '#'
	return r.ReadAll()
}

// Published is one score of a curve that the paper's authors publish beside it.
type Published struct {
	Model     string // "ADM", or "DDPM-IP 0.1" with its gamma
	Dataset   string // as Reference has it, and "celeba64", "ffhq128"
	Steps     int    // sampling steps; 0: not said
	Iteration int    // of the training
	FID       float64
	Source    string // where they publish it
}

// publishedSource is where the authors publish the scores of curves.csv.
const publishedSource = "plot script of the authors' repository, forever208/DDPM-IP"

// readPublished reads curves.csv.
func readPublished() ([]Published, error) {
	text, err := referenceFiles.ReadFile("reference/curves.csv")
	if err != nil {
		return nil, err
	}
	lines, err := readCSV(text)
	if err != nil {
		return nil, fmt.Errorf("reference/curves.csv: %w", err)
	}
	var all []Published
	for i, line := range lines[1:] {
		p := Published{Model: line[0], Dataset: line[1], Source: publishedSource}
		var err1, err2, err3 error
		p.Steps, err1 = strconv.Atoi(line[2])
		p.Iteration, err2 = strconv.Atoi(line[3])
		p.FID, err3 = strconv.ParseFloat(line[4], 64)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("reference/curves.csv, row %d: %w", i+1, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// readSettings reads Table 4: of each data set the value of every hyperparameter, as the
// paper writes it.
func readSettings() (map[string]map[string]string, error) {
	text, err := referenceFiles.ReadFile("reference/table4.csv")
	if err != nil {
		return nil, err
	}
	lines, err := readCSV(text)
	if err != nil {
		return nil, fmt.Errorf("reference/table4.csv: %w", err)
	}
	all := make(map[string]map[string]string)
	for _, line := range lines[1:] {
		all[line[0]] = make(map[string]string)
		for c, name := range lines[0][1:] {
			all[line[0]][name] = line[c+1]
		}
	}
	return all, nil
}

const (
	insertSetting   = `INSERT OR REPLACE INTO reference_setting (paper, number, dataset, name, value) VALUES (?, 4, ?, ?, ?)`
	insertPublished = `INSERT OR REPLACE INTO reference_curve (paper, source, model, dataset, steps, iteration, metric, value)
		VALUES (?, ?, ?, ?, ?, ?, 'fid', ?)`
	selectPublished = `SELECT model, dataset, steps, iteration, value, source FROM reference_curve
		WHERE dataset = ? ORDER BY model, steps, iteration`
)

// storePublished writes Table 4 and the authors' curves into a new database.
func storePublished(ctx context.Context, tx *sql.Tx) error {
	settings, err := readSettings()
	if err != nil {
		return err
	}
	for dataset, fields := range settings {
		for name, value := range fields {
			if _, err := tx.ExecContext(ctx, insertSetting, paperIP, dataset, name, value); err != nil {
				return err
			}
		}
	}
	curves, err := readPublished()
	if err != nil {
		return err
	}
	for _, p := range curves {
		if _, err := tx.ExecContext(ctx, insertPublished, paperIP, p.Source, p.Model, p.Dataset, p.Steps, p.Iteration, p.FID); err != nil {
			return err
		}
	}
	return nil
}

// Published returns the curves that the paper's authors publish of a data set, as
// "cifar10": FID by training iterations. They are not the paper's tables, and other
// versions of the paper have other numbers.
func (s *Store) Published(ctx context.Context, dataset string) ([]Published, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectPublished, dataset)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var all []Published
	for rows.Next() {
		var p Published
		if err := rows.Scan(&p.Model, &p.Dataset, &p.Steps, &p.Iteration, &p.FID, &p.Source); err != nil {
			return nil, explain(s.path, err)
		}
		all = append(all, p)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(s.path, err)
	}
	if all == nil {
		return nil, fmt.Errorf("no published curve of %q; there are cifar10, imagenet32, lsun_tower64, celeba64 and ffhq128", dataset)
	}
	return all, nil
}

const insertReference = `INSERT OR REPLACE INTO reference (paper, number, model, dataset, steps, metric, value, line)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?)`

// storeReference writes the papers' rows into a new database.
func storeReference(ctx context.Context, tx *sql.Tx) error {
	rows, err := readReference()
	if err != nil {
		return err
	}
	for i, r := range rows {
		if _, err := tx.ExecContext(ctx, insertReference, r.Paper, r.Table, r.Model, r.Dataset, r.Steps, r.Metric, r.Value, i); err != nil {
			return err
		}
	}
	return storePublished(ctx, tx)
}

const selectReference = `SELECT paper, number, model, dataset, steps, metric, value FROM reference
	WHERE number = ? ORDER BY line`

// Reference returns the rows of the paper's table 1, 2 or 3, in its order.
func (s *Store) Reference(ctx context.Context, table int) ([]Reference, error) {
	db, err := s.reader()
	if err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, selectReference, table)
	if err != nil {
		return nil, explain(s.path, err)
	}
	defer rows.Close()
	var all []Reference
	for rows.Next() {
		var r Reference
		if err := rows.Scan(&r.Paper, &r.Table, &r.Model, &r.Dataset, &r.Steps, &r.Metric, &r.Value); err != nil {
			return nil, explain(s.path, err)
		}
		all = append(all, r)
	}
	if err := rows.Err(); err != nil {
		return nil, explain(s.path, err)
	}
	if all == nil {
		return nil, fmt.Errorf("table %d has no reference rows; there are tables 1, 2 and 3", table)
	}
	return all, nil
}
