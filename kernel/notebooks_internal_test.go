package kernel

import (
	"encoding/json"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ddpmlab/kernel/check"
	"ddpmlab/kernel/lower"
	"ddpmlab/kernel/symbols/export"
)

// TestNotebookCells checks and rewrites every cell of the project's notebooks.
func TestNotebookCells(t *testing.T) {
	files, err := filepath.Glob("../notebooks/*.ipynb")
	if err != nil || files == nil {
		t.Fatal(files, err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var nb struct {
			Cells []struct {
				Type   string          `json:"cell_type"`
				Source json.RawMessage `json:"source"`
			} `json:"cells"`
		}
		if err := json.Unmarshal(b, &nb); err != nil {
			t.Fatal(err)
		}
		im := export.NewImporter()
		s, names := check.NewSession(token.NewFileSet(), im), lower.NewNames()
		for i, c := range nb.Cells {
			if c.Type != "code" {
				continue
			}
			var lines []string
			src := ""
			if json.Unmarshal(c.Source, &lines) == nil {
				src = strings.Join(lines, "")
			} else if err := json.Unmarshal(c.Source, &src); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(src, "%") || strings.HasPrefix(src, "!") { // not Go
				continue
			}
			s.Declare("ctx", typeIn(im, "context", contextType))
			cell, errs := s.Check(i, src)
			if errs == nil {
				_, errs = lower.Cell(cell, names)
			}
			for _, e := range errs {
				t.Errorf("%s, cell %d: %v\n%s", filepath.Base(file), i, e, src)
			}
			if errs != nil {
				break
			}
			all := make([]int, len(cell.Items))
			for j := range all {
				all[j] = j
			}
			cell.Commit(all...)
		}
	}
}
