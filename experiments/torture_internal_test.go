package experiments

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/fid"
	"ddpmlab/internal/display"
)

// slowly is a display that holds a training up.
type slowly struct{ display.Sink }

func (slowly) Progress(p display.Progress) {
	if p.Unit == "it" {
		time.Sleep(20 * time.Millisecond)
	}
}

// slow is the configuration that childTrain trains with.
func slow() ddpm.Config {
	c := small()
	c.Iterations, c.EvalEvery = 60, 4
	return c
}

// childTrain trains, slowly.
func childTrain(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	s.extractors, s.Threads = map[string]fid.Extractor{"fashion-mnist": moments{}}, 1
	_, err = s.Train(display.NewContext(context.Background(), slowly{display.Discard}), slow(), ddpm.ADM())
	return err
}

// A training that was killed goes on from its last checkpoint to the numbers of one that
// was not.
func TestKillResume(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	s := labStore(t)
	cmd := child(t, "train", s.Path())
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var r *Run
	for deadline := time.Now().Add(time.Minute); r == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		runs, err := s.AllRuns(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 {
			if all, err := s.checkpoints(t.Context(), runs[0].ID); err == nil && len(all) == keepCheckpoints {
				r = runs[0]
			}
		}
	}
	cmd.Process.Kill()
	cmd.Wait() // it was killed
	if r == nil {
		t.Fatalf("no checkpoint came: %s", stderr.String())
	}
	if _, err := s.Train(t.Context(), slow(), ddpm.WeightDecay(0.1)); err != nil { // another run meanwhile
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), r.ID)
	if err != nil || r.Status != StatusCrashed || r.Step >= 60 {
		t.Fatalf("got %v, error %v, want a crashed run", r, err)
	}
	if r, err = s.Resume(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	whole, err := s.Rerun(t.Context(), slow(), ddpm.ADM())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{MetricLoss, MetricGradNorm, MetricFD} {
		if got, want := values(r, key), values(whole, key); got != want {
			t.Errorf("%s: got %s\nwant %s", key, got, want)
		}
	}
}

// Several processes make one database, and write to it and read from it at once.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	n := 8
	if testing.Short() {
		n = 2
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if out, err := child(t, "runs", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	runs, err := s.AllRuns(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3*n {
		t.Errorf("got %d runs, want %d", len(runs), 3*n)
	}
	for _, r := range runs {
		if got := len(r.Series(MetricLoss)) + len(r.Series(MetricGradNorm)); got != 600 || r.Status != StatusFinished {
			t.Errorf("run %s: got %d points, %s, want 600, finished", r.ID, got, r.Status)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Several processes make, open, write and close the same new databases at once. While a
// file is switched to write-ahead logging, or its last user closes it, SQLite answers the
// others that it is busy without waiting.
func TestOpenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if out, err := child(t, "open", path).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
}

// childGuest is a user who may read the database and its folder, and write neither.
func childGuest(path string) error {
	s, err := Open(path)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer s.Close()
	runs, err := s.AllRuns(context.Background())
	if err != nil || len(runs) != 1 {
		return fmt.Errorf("got %d runs, error %v, want 1", len(runs), err)
	}
	_, _, err = s.begin(context.Background(), testOrder(2))
	if !errors.Is(err, ErrReadOnly) || !strings.Contains(err.Error(), "cannot be written") {
		return fmt.Errorf("begin: got %v, want ErrReadOnly", err)
	}
	_, err = Open(filepath.Join(filepath.Dir(path), "new.db"))
	if !errors.Is(err, ErrReadOnly) {
		return fmt.Errorf("make a database: got %v, want ErrReadOnly", err)
	}
	return nil
}

// A database in a folder that cannot be written can be read; writing tells why not. The
// superuser may write everywhere, so another user tries, which only the superuser can
// arrange; other users try themselves.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "runs.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	testRun(t, s, testOrder(1), StatusFinished, 1, 2)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := child(t, "guest", path)
	if os.Getuid() == 0 {
		cmd = guest(t, cmd)
	}
	for _, f := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o444}, {dir, 0o555}} {
		if err := os.Chmod(f.path, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755) }) // so that it can be removed
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// guest lets cmd, the test binary, run as the user "nobody", from a copy in a folder
// that nobody may enter.
func guest(t *testing.T, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	const nobody = 65534
	body, err := os.ReadFile(cmd.Path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd.Path = filepath.Join(dir, "guest")
	if err := os.WriteFile(cmd.Path, body, 0o755); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd
}

// childFull records on a disk that fills up, and finds out.
func childFull(path string) error {
	s, err := Open(path)
	if err != nil {
		return err
	}
	defer s.Close()
	s.OnTrouble = Stop
	a, _, err := s.begin(context.Background(), testOrder(1))
	if err != nil {
		return err
	}
	ctx := a.start(context.Background())
	for step := int64(1); ctx.Err() == nil; step++ {
		a.Record(step, MetricLoss, 1/float64(step))
		if step > 1_000_000 {
			return errors.New("the disk never filled up")
		}
	}
	if cause := context.Cause(ctx); !errors.Is(cause, ErrFull) || !strings.Contains(cause.Error(), "free some space") {
		return fmt.Errorf("got %v, want ErrFull", cause)
	}
	err = a.finish(StatusFailed, 1, "disk full")
	fmt.Println("finish:", err)
	return nil
}

// onSmallDisk lets a child work on a database on a disk of one megabyte, and puts what is
// on that disk then into the folder where it was. Mounting it takes a superuser with its
// own mounts.
func onSmallDisk(t *testing.T, what, disk string, env ...string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := `mount -t tmpfs -o size=1m tmpfs "$1" || exit 77
		"$2" || exit 1
		cp -r "$1" "$3" && umount "$1" && cp -r "$3/." "$1"`
	saved := filepath.Join(t.TempDir(), "saved")
	cmd := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", disk, exe, saved)
	cmd.Env = append(append(os.Environ(), envChild+"="+what, envFile+"="+filepath.Join(disk, "runs.db")), env...)
	out, err := cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); errors.Is(err, exec.ErrNotFound) || errors.As(err, &e) && e.ExitCode() != 1 {
		t.Skipf("cannot mount a small disk: %v %s", err, out)
	} else if err != nil && strings.Contains(string(out), "unshare") {
		t.Skipf("cannot mount a small disk: %s", out)
	} else if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
}

// A disk that fills up ends the training with a clear error, where the store is told to
// stop, and what was saved before is intact.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	onSmallDisk(t, "full", disk)
	s, err := Open(filepath.Join(disk, "runs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	runs, err := s.AllRuns(t.Context())
	if err != nil || len(runs) != 1 || runs[0].Status == StatusFinished || runs[0].Status == StatusRunning {
		t.Fatalf("got runs %v, error %v, want one that is not finished", runs, err)
	}
	points := runs[0].Series(MetricLoss)
	for i, p := range points {
		if p.Step != int64(i+1) {
			t.Fatalf("got step %d at %d, want no gap", p.Step, i)
		}
	}
	if len(points) < 1000 {
		t.Errorf("got %d points, want those of the first flushes", len(points))
	}
}

// childHold keeps the database to itself until its input ends.
func childHold(path string) error {
	db := connect(path, writeParams, 1)
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	fmt.Println("held")
	var b [1]byte
	os.Stdin.Read(b[:])
	return tx.Rollback()
}

// A database that another program holds for a while delays points and loses none.
func TestHeld(t *testing.T) {
	s := testStore(t)
	a, _, err := s.begin(t.Context(), testOrder(1))
	if err != nil {
		t.Fatal(err)
	}
	ctx := a.start(t.Context())
	cmd := child(t, "hold", s.Path())
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, new(string)); err != nil {
		t.Fatal(err)
	}
	for step := int64(1); step <= 3; step++ {
		a.Record(step, MetricLoss, 1)
	}
	time.Sleep(4 * flushEvery)
	if got := len(mustPoints(t, s.read, a.run)); got != 0 {
		t.Errorf("got %d points while the database was held, want 0", got)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Flush(), ctx.Err()); err != nil {
		t.Fatal(err)
	}
	if got := len(mustPoints(t, s.read, a.run)); got != 3 {
		t.Errorf("got %d points afterwards, want 3", got)
	}
	if err := a.finish(StatusFinished, 3, ""); err != nil {
		t.Fatal(err)
	}
}
