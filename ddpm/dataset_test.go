package ddpm_test

import (
	"strings"
	"testing"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/internal/render"
)

const testSets = "data/testdata/"

// The network gets the channels of the data, and the size of arrays.
func TestOn(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, tt := range []struct {
		config             ddpm.Config
		path               string
		size, in, out, len int
	}{
		{ddpm.Fashion(), "cifar-bin", 32, 3, 3, 5},
		{ddpm.CIFAR10(), "cifar-py2", 32, 3, 6, 5},
		{ddpm.LSUNTower64(), "lmdb/tower_train_lmdb", 64, 3, 6, 135},
		{ddpm.CIFAR10(), "greys", 32, 1, 2, 3},
		{ddpm.Fashion(), "folder", 28, 3, 3, 9},
		{ddpm.Tour(), "idx", 28, 1, 1, 5},
	} {
		c, err := tt.config.On(testSets + tt.path)
		if err != nil {
			t.Errorf("%s: %v", tt.path, err)
			continue
		}
		set, err := c.OpenData()
		if err != nil {
			t.Fatal(err)
		}
		c.Batch = 2
		if m := c.Model; m.Size != tt.size || m.InChannels != tt.in || m.OutChannels != tt.out || set.Len() != tt.len || c.EvalSamples != 0 {
			t.Errorf("%s: size %d, channels %d and %d, %d images; want %v", tt.path, m.Size, m.InChannels, m.OutChannels, set.Len(), tt)
		}
		if err := c.CheckData(set); err != nil {
			t.Error(err)
		}
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	if _, err := ddpm.Tour().On("none/at/all"); err == nil || !strings.Contains(err.Error(), "none/at/all does not exist") {
		t.Errorf("error %v", err)
	}
}

// Where the images lie is no part of a run's key; the images are.
func TestKeyOfPaths(t *testing.T) {
	a, b := ddpm.Tour(), ddpm.Tour()
	a.Data, b.Data, b.Broken = "x/photos", "y/photos", data.Skip
	if ddpm.Key(a, ddpm.ADM(), "1") != ddpm.Key(b, ddpm.ADM(), "1") || ddpm.Key(a, ddpm.ADM(), "1") == ddpm.Key(a, ddpm.ADM(), "2") {
		t.Error("keys of paths")
	}
	b.Data, b.Broken = "fashion-mnist", ""
	if ddpm.Key(a, ddpm.ADM(), "1") == ddpm.Key(b, ddpm.ADM(), "1") {
		t.Error("a path has the key of a named set")
	}
}

func TestDescribe(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	set, err := data.Open(testSets+"folder", 16)
	if err != nil {
		t.Fatal(err)
	}
	card, err := ddpm.Describe(set, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"folder of images", "16×16×3", "a 4, b 5", "11 to 64", "bicubic", set.SHA256()} {
		if !strings.Contains(card.String(), want) {
			t.Errorf("no %q in\n%v", want, card)
		}
	}
	b := card.Bundle()
	if html := string(b.Data[render.HTML]); !strings.Contains(html, "<table") || !strings.Contains(html, `<img alt="4 images" src="data:image/png;base64,`) {
		t.Errorf("shown as %.200s", html)
	}
	if set, err = data.Open("fashion-mnist", 14); err != nil {
		t.Fatal(err)
	}
	if card, err = ddpm.Describe(set, 1); err != nil || !strings.Contains(card.String(), "1000 1000") {
		t.Errorf("%v, %v", card, err)
	}
}

// The paper's network, all of it, trains on CIFAR-10's own format.
func TestCIFAR10OnItsFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("57 million weights")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c, err := ddpm.CIFAR10().On(testSets + "cifar-bin")
	if err != nil {
		t.Fatal(err)
	}
	c.Batch, c.Iterations = 2, 2
	r := record{}
	last, err := ddpm.Train(t.Context(), c, ddpm.InputPerturbation(0.1), ddpm.WithRecorder(r))
	if err != nil {
		t.Fatal(err)
	}
	// A network that predicts nothing has a mean squared error of 1; so does a new one.
	if mse := r["mse"]; last.Step != 2 || len(last.Weights) != 57_094_662 || len(mse) != 2 || mse[0] < 0.9 || mse[0] > 1.1 || mse[1] > 1.1 {
		t.Errorf("step %d, %d weights, mse %v", last.Step, len(last.Weights), mse)
	}
}
