package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"ddpmlab/ddpm/inception/inceptiontest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ddpmlab": main})
}

// Each script runs the program in a folder of its own, without the caller's database.
func TestScripts(t *testing.T) {
	sets, err := filepath.Abs("../../ddpm/data/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DDPMLAB_DB", "")
			e.Setenv("DDPMLAB_DATA", "")
			e.Setenv("SETS", sets)
			e.Setenv("WEIGHTS", filepath.Join(sets, "../../testdata/small.pt"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			return writeTensors(e.WorkDir)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"refuses": refuses, "newest": newest, "checkpoint": checkpoint, "inception": inceptionWeights, "arrays": arrays,
		},
	})
}

// refuses is the script command
//
//	refuses CODE ARGUMENT...
//
// The program must end with the exit code, print nothing, and say why in one line.
func refuses(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("ddpmlab", args[1:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	}
	said := ts.ReadFile("stderr")
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s; it said: %s", code, args[0], said)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout, want nothing: %s", out)
	}
	lines := strings.Split(strings.TrimSuffix(said, "\n"), "\n")
	if len(lines) != 1 || !strings.HasPrefix(said, "ddpmlab: ") {
		ts.Fatalf("stderr, want one line: %s", said)
	}
}

// The help of each command, of each group and of the whole is a golden file.
func TestHelp(t *testing.T) {
	lines := [][]string{nil}
	for _, c := range commands {
		words := strings.Fields(c.name)
		if len(words) == 2 {
			lines = append(lines, words[:1])
		}
		lines = append(lines, words)
	}
	for _, line := range lines {
		name := strings.Join(append([]string{"ddpmlab"}, line...), "-")
		t.Run(name, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(t.Context(), append([]string{"help"}, line...), world{out: &out, err: &errs})
			if code != exitOK || errs.Len() > 0 {
				t.Fatalf("exit code %d, %s", code, errs.String())
			}
			for i, l := range strings.Split(out.String(), "\n") {
				if n := len([]rune(l)); n > 100 {
					t.Errorf("line %d has %d letters: %s", i+1, n, l)
				}
			}
			golden := filepath.Join("testdata", "help", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if out.String() != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s\n(go test -update rewrites it)", out.String(), want)
			}
		})
	}
}

// newest is the script command
//
//	newest DATABASE
//
// It sets RUN to the id of the database's newest run.
func newest(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("ddpmlab", "runs", "list", "--json", "--db", args[0]))
	var runs []struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &runs))
	ts.Setenv("RUN", runs[len(runs)-1].ID)
}

// checkpoint is the script command
//
//	checkpoint FILE
//
// It copies a checkpoint of the script's databases to FILE.
func checkpoint(ts *testscript.TestScript, _ bool, args []string) {
	found := false
	ts.Check(filepath.WalkDir(ts.Getenv("WORK"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found {
			return err
		}
		b, err := os.ReadFile(path)
		if found = strings.HasPrefix(string(b), "ddpmlab\x00"); found && err == nil {
			err = os.WriteFile(ts.MkAbs(args[0]), b, 0o644)
		}
		return err
	}))
	if !found {
		ts.Fatalf("no checkpoint")
	}
}

// inceptionWeights is the script command
//
//	inception FILE
//
// It writes random weights of Inception, as pytorch-fid has its own.
func inceptionWeights(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(inceptiontest.Write(ts.MkAbs(args[0])))
}

// arrays is the script command
//
//	arrays FROM TO NAME...
//
// It copies arrays of an .npz file to another, as those who write fewer do.
func arrays(ts *testscript.TestScript, _ bool, args []string) {
	in, err := zip.OpenReader(ts.MkAbs(args[0]))
	ts.Check(err)
	defer in.Close()
	file, err := os.Create(ts.MkAbs(args[1]))
	ts.Check(err)
	out := zip.NewWriter(file)
	for _, f := range in.File {
		if slices.Contains(args[2:], strings.TrimSuffix(f.Name, ".npy")) {
			ts.Check(out.Copy(f))
		}
	}
	ts.Check(errors.Join(out.Close(), file.Close()))
}

// writeTensors puts a small safetensors file into a script's folder.
func writeTensors(dir string) error {
	header := `{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}   `
	return os.WriteFile(filepath.Join(dir, "a.safetensors"), append([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}, header+"xy"...), 0o644)
}
