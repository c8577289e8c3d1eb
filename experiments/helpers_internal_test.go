package experiments

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"ddpmlab/ddpm"
)

// The test binary started again is another process that uses the database.
const (
	envChild = "EXPERIMENTS_TEST_CHILD" // what the child does
	envFile  = "EXPERIMENTS_TEST_FILE"  // with which database
)

func TestMain(m *testing.M) {
	os.Unsetenv(envPath) // the user's database is not the tests'
	if name := os.Getenv(envChild); name != "" {
		if err := children[name](os.Getenv(envFile)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// children is what a child process can do with the database at path.
var children = map[string]func(path string) error{
	"mortal":      childMortal,
	"mortal full": childMortalFull,
	"spill":       childSpill,
	"open":        childOpen,
	"runs":        childRuns,
	"guest":       childGuest,
	"full":        childFull,
	"hold":        childHold,
	"train":       childTrain,
	"resume":      childResume,
}

// child prepares the test binary to be started again.
func child(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), envChild+"="+name, envFile+"="+path)
	return cmd
}

// openFiles is how many databases childOpen makes.
const openFiles = 25

// childOpen opens one new database after the other: path0, path1, ...
func childOpen(path string) error {
	for n := range openFiles {
		s, err := Open(path + strconv.Itoa(n))
		if err != nil {
			return err
		}
		if _, err := s.AllRuns(context.Background()); err != nil {
			return err
		}
		if err := s.do(true, func(*sql.Tx) error { return nil }); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// childRuns records several short runs, as fast as it can, in small transactions.
func childRuns(path string) error {
	for n := range 3 {
		s, err := Open(path)
		if err != nil {
			return err
		}
		o := testOrder(uint64(os.Getpid()))
		o.again = true
		a, _, err := s.begin(context.Background(), o)
		if err != nil {
			return err
		}
		a.start(context.Background())
		for step := int64(1); step <= 300; step++ {
			a.Record(step, MetricLoss, float64(n))
			a.Record(step, MetricGradNorm, float64(step))
			if step%10 == 0 {
				if err := s.Flush(); err != nil {
					return err
				}
			}
		}
		if _, err := s.AllRuns(context.Background()); err != nil {
			return err
		}
		if err := a.finish(StatusFinished, 300, ""); err != nil {
			return err
		}
		if err := a.err(); err != nil {
			return err
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

// testConfig is a configuration that no test trains with.
func testConfig(seed uint64) ddpm.Config {
	c := ddpm.Tour()
	c.Seed = seed
	return c
}

func testOrder(seed uint64) order {
	c, v := testConfig(seed), ddpm.ADM()
	return order{config: c, variant: v, key: ddpm.Key(c, v, "data"), data256: "data", env: observe(context.Background(), "cpu 2 threads")}
}

// testStore opens a new database in a folder of its own.
func testStore(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// testRun records a run with the losses given and ends it with the status.
func testRun(t *testing.T, s *Store, o order, status string, losses ...float64) *Run {
	t.Helper()
	a, done, err := s.begin(t.Context(), o)
	if err != nil || done != "" {
		t.Fatalf("begin: run %q is done, error %v", done, err)
	}
	a.start(t.Context())
	for i, x := range losses {
		a.Record(int64(i+1), MetricLoss, x)
	}
	if err := a.finish(status, int64(len(losses)), ""); err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), a.run)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
