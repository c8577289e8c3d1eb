package kernels_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"ddpmlab/ddpm/engine/cuda/kernels"
)

// sources are the files that the image is made of, in the order of build.
func sources(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"*.cu", "*.h"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	if len(names) < 5 {
		t.Fatalf("%d sources", len(names))
	}
	return names
}

// TestImageIsOfTheSources fails when a source was changed and `make kernels` forgotten.
func TestImageIsOfTheSources(t *testing.T) {
	h := sha256.New()
	for _, name := range append(sources(t), "build") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		h.Write(text)
	}
	sum, err := os.ReadFile("all.sum")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)); got != strings.TrimSpace(string(sum)) {
		t.Errorf("the sources' SHA-256 is %s, that of the image's sources %s; run `make kernels`", got, sum)
	}
}

// TestLayouts compares the kernels that the sources register with those of the image.
func TestLayouts(t *testing.T) {
	image, err := kernels.Image()
	if err != nil {
		t.Fatal(err)
	}
	layouts, err := kernels.Layouts(image)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]kernels.Param{ // worked out by hand from the sources
		"fill":        {{0, 8}, {8, 8}, {16, 4}},
		"concat":      {{0, 8}, {8, 8}, {16, 8}, {24, 8}, {32, 4}, {36, 4}, {40, 4}},
		"norm_stats":  {{0, 8}, {8, 8}, {16, 4}, {20, 4}, {24, 4}, {28, 4}, {32, 4}},
		"sum_squares": {{0, 8}, {8, 8}, {16, 8}, {24, 4}},
	}
	for name, params := range want {
		if !slices.Equal(layouts[name], params) {
			t.Errorf("parameters %v, want %v, of %s", layouts[name], params, name)
		}
	}
	registered := 0
	for _, name := range sources(t) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:REGISTER|DRAW|GATHER|UNARY|BINARY|PRODUCT|POOL|CONV|CONV_DX|CONV_DW|ATTENTION\w*)\((\w+)`).FindAllStringSubmatch(string(text), -1) {
			registered++
			if len(layouts[m[1]]) == 0 {
				t.Errorf("%s of %s is not in the image", m[1], name)
			}
		}
	}
	if registered != len(layouts) {
		t.Errorf("%d kernels in the sources, %d in the image", registered, len(layouts))
	}
}

func TestLayoutsOfGarbage(t *testing.T) {
	for _, image := range []string{"", "no code", "\x7fELF", "\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 80)} {
		if l, err := kernels.Layouts([]byte(image)); err == nil && len(l) != 0 {
			t.Errorf("layouts %v of %q", l, image)
		}
	}
}
