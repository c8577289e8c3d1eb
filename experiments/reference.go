package experiments

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/csv"
	"fmt"
	"io/fs"
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
	names, err := fs.Glob(referenceFiles, "reference/table*.csv")
	if err != nil {
		return nil, err
	}
	var all []Reference
	for _, name := range names {
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
	r := csv.NewReader(bytes.NewReader(text))
	r.Comment = '#'
	lines, err := r.ReadAll()
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
	return nil
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
