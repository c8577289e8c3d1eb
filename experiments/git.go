package experiments

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// codeState finds the git commit of the code, and whether and how the working tree differs
// from it, in the repository around dir. Without git or a repository it is what the build
// recorded, or "".
func codeState(ctx context.Context, dir string) (commit string, dirty bool, diff []byte) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	git := func(args ...string) ([]byte, bool) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
		out, err := cmd.Output()
		return out, err == nil
	}
	head, ok := git("rev-parse", "HEAD")
	if !ok {
		commit, dirty = buildState()
		return commit, dirty, nil
	}
	commit = string(bytes.TrimSpace(head))
	top, ok1 := git("rev-parse", "--show-toplevel")
	status, ok2 := git("status", "--porcelain=v1", "-z", "--untracked-files=all")
	if !ok1 || !ok2 {
		return commit, true, nil // not known to be clean
	}
	root := string(bytes.TrimSpace(top))
	entries := strings.Split(strings.TrimSuffix(string(status), "\x00"), "\x00")
	var changed, added []string
	for i := 0; i < len(entries); i++ {
		if len(entries[i]) < 4 {
			continue
		}
		code, name := entries[i][:2], entries[i][3:]
		switch {
		case code[0] == 'R' || code[0] == 'C': // the next entry is the old name
			changed = append(changed, name)
			if i++; i < len(entries) {
				changed = append(changed, entries[i])
			}
		case ignored(name) || onlyOutputs(code, root, name, git):
		case code == "??":
			added = append(added, name)
		default:
			changed = append(changed, name)
		}
	}
	return commit, len(changed)+len(added) > 0, patch(ctx, root, changed, added)
}

// maxPatch is the size in bytes up to which a new file is part of the patch.
const maxPatch = 1 << 20

// patch is what `git apply` needs to make the working tree out of the commit: the changed
// files, and new ones up to maxPatch.
func patch(ctx context.Context, root string, changed, added []string) []byte {
	var out bytes.Buffer
	diff := func(args ...string) {
		cmd := exec.CommandContext(ctx, "git", append([]string{"-C", root, "diff", "--no-color", "--no-ext-diff", "--binary"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "LC_ALL=C")
		cmd.Stdout = &out
		_ = cmd.Run() // --no-index ends with 1 where there is a difference; without git the patch is empty
	}
	if len(changed) > 0 {
		diff(append([]string{"HEAD", "--"}, changed...)...)
	}
	for _, name := range added {
		if info, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err == nil && info.Size() <= maxPatch {
			diff("--no-index", "--", os.DevNull, name)
		}
	}
	return out.Bytes()
}

// ignored reports whether a file is written by running, not by people: runs.db and its
// companions, and pages made of notebooks.
func ignored(name string) bool {
	base := path.Base(name)
	return strings.HasPrefix(base, DefaultName) || strings.HasSuffix(base, ".out.ipynb") ||
		path.Ext(base) == ".html" || strings.HasPrefix(name, "runs.store/")
}

// onlyOutputs reports whether a notebook has the cells that it has in HEAD: executing
// one changes its outputs. A notebook that HEAD lacks is recorded cell by cell.
func onlyOutputs(code, root, name string, git func(...string) ([]byte, bool)) bool {
	if path.Ext(name) != ".ipynb" {
		return false
	}
	if code == "??" {
		return true
	}
	before, ok := git("show", "HEAD:"+name)
	now, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if !ok || err != nil {
		return false
	}
	a, okA := cellSources(before)
	b, okB := cellSources(now)
	return okA && okB && slices.Equal(a, b)
}

// cellSources is the kind and text of each cell of a notebook.
func cellSources(notebook []byte) ([]string, bool) {
	var nb struct {
		Cells []struct {
			Kind   string          `json:"cell_type"`
			Source json.RawMessage `json:"source"` // a text or a list of lines
		} `json:"cells"`
	}
	if json.Unmarshal(notebook, &nb) != nil {
		return nil, false
	}
	var sources []string
	for _, c := range nb.Cells {
		var text string
		var lines []string
		if json.Unmarshal(c.Source, &text) != nil {
			if json.Unmarshal(c.Source, &lines) != nil {
				return nil, false
			}
			text = strings.Join(lines, "")
		}
		sources = append(sources, c.Kind+"\n"+text)
	}
	return sources, true
}

// buildState is the commit that the go command recorded in this binary.
func buildState() (commit string, dirty bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	return commit, dirty
}
