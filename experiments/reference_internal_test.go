package experiments

import (
	"strconv"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

// The presets are Table 4's rows.
func TestSettings(t *testing.T) {
	s := testStore(t)
	for dataset, c := range map[string]ddpm.Config{
		"cifar10": ddpm.CIFAR10(), "imagenet32": ddpm.ImageNet32(), "lsun_tower64": ddpm.LSUNTower64(),
	} {
		attention := make([]string, len(c.Model.Attention))
		for i, r := range c.Model.Attention {
			attention[i] = strconv.Itoa(r)
		}
		mult := make([]string, len(c.Model.Mult))
		for i, m := range c.Model.Mult {
			mult[i] = strconv.Itoa(m)
		}
		for name, got := range map[string]string{
			"size": strconv.Itoa(c.Model.Size), "channels": strconv.Itoa(c.Model.Channels), "batch": strconv.Itoa(c.Batch),
			"iterations": strconv.Itoa(c.Iterations), "res_blocks": strconv.Itoa(c.Model.ResBlocks),
			"head_channels": strconv.Itoa(c.Model.HeadChannels), "channel_mult": strings.Join(mult, ","),
			"attention_resolutions": strings.Join(attention, ","),
		} {
			var want string
			err := s.read.QueryRow("SELECT value FROM reference_setting WHERE dataset = ? AND name = ?", dataset, name).Scan(&want)
			if err != nil || got != want {
				t.Errorf("%s of %s: got %s, error %v, want the paper's %s", name, dataset, got, err, want)
			}
		}
	}
}

// The authors' curves are there, with their source.
func TestPublished(t *testing.T) {
	s := testStore(t)
	curve, err := s.Published(t.Context(), "cifar10")
	if err != nil || len(curve) != 41 {
		t.Fatalf("got %d scores, error %v, want 41", len(curve), err)
	}
	want := Published{"ADM", "cifar10", 100, 140_000, 4.42, publishedSource}
	if curve[0] != want {
		t.Errorf("got %+v, want %+v", curve[0], want)
	}
	if _, err := s.Published(t.Context(), "mnist"); err == nil || !strings.Contains(err.Error(), "cifar10") {
		t.Errorf("got %v, want the names of those that there are", err)
	}
}
