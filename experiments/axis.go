package experiments

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/philox"
)

// Axis is one thing that a sweep varies. Make them with Grid, GridText, Points, Range,
// LogRange, Draws and Seeds, or from a text with ParseGrid, ParseRange and ParseSeeds.
//
// The trials of a sweep are every combination of all axes of the grid, every point of
// the list, and every drawing of the ranges, for every seed.
type Axis struct {
	kind   axisKind
	field  string
	values []string // of a grid; the points of a list, as "gamma=0.1 lr=1e-4"
	lo, hi float64  // of a range
	seeds  []uint64 // of seeds
	draws  int      // of drawings
	seed   uint64   // of drawings
}

type axisKind int

const (
	axisGrid axisKind = iota
	axisPoints
	axisRange
	axisLogRange
	axisDraws
	axisSeeds
)

// Grid varies a field of configuration or variant over numbers:
// Grid("gamma", 0, 0.1, 0.15).
func Grid(field string, values ...float64) Axis {
	a := Axis{kind: axisGrid, field: field}
	for _, x := range values {
		a.values = append(a.values, strconv.FormatFloat(x, 'g', -1, 64))
	}
	return a
}

// GridText is Grid for any field: GridText("schedule", "cosine", "linear"),
// GridText("model.mult", "[1, 2]", "[1, 2, 2]").
func GridText(field string, values ...string) Axis {
	return Axis{kind: axisGrid, field: field, values: values}
}

// Points is a list of settings, each a text of NAME=VALUE with spaces between:
// Points("gamma=0.1 lr=1e-4", "gamma=0.2 lr=3e-4").
func Points(points ...string) Axis { return Axis{kind: axisPoints, values: points} }

// Range varies a field at random, uniform from lo to hi; Draws says how often. A field of
// whole numbers takes lo and hi too.
func Range(field string, lo, hi float64) Axis {
	return Axis{kind: axisRange, field: field, lo: lo, hi: hi}
}

// LogRange is Range, but uniform in the logarithm, as for learning rates.
func LogRange(field string, lo, hi float64) Axis {
	return Axis{kind: axisLogRange, field: field, lo: lo, hi: hi}
}

// Draws draws n times from the ranges. The same seed draws the same; more draws add to
// fewer.
func Draws(n int, seed uint64) Axis { return Axis{kind: axisDraws, draws: n, seed: seed} }

// Seeds repeats every trial with these seeds.
func Seeds(seeds ...uint64) Axis { return Axis{kind: axisSeeds, seeds: seeds} }

// ParseGrid reads "gamma=0,0.1,0.15" and "model.mult=[1,2],[1,2,2]".
func ParseGrid(text string) (Axis, error) {
	field, values, ok := strings.Cut(text, "=")
	if field = strings.TrimSpace(field); !ok || field == "" {
		return Axis{}, errors.New("NAME=VALUE,VALUE,…, as gamma=0,0.1,0.15")
	}
	return GridText(field, splitList(values)...), nil
}

// splitList splits at commas outside of brackets.
func splitList(text string) []string {
	var parts []string
	depth, from := 0, 0
	for i, r := range text {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == ',' && depth == 0:
			parts, from = append(parts, text[from:i]), i+1
		}
	}
	parts = append(parts, text[from:])
	for i, p := range parts {
		parts[i] = strings.TrimSpace(p)
	}
	return parts
}

// ParseRange reads "gamma=0..0.2" and, for a uniform logarithm, "lr=1e-5..1e-3:log".
func ParseRange(text string) (Axis, error) {
	bad := errors.New("NAME=FROM..TO, as gamma=0..0.2, or NAME=FROM..TO:log, as lr=1e-5..1e-3:log")
	field, ends, ok := strings.Cut(text, "=")
	ends, log := strings.CutSuffix(ends, ":log")
	from, to, ok2 := strings.Cut(ends, "..")
	lo, err1 := strconv.ParseFloat(strings.TrimSpace(from), 64)
	hi, err2 := strconv.ParseFloat(strings.TrimSpace(to), 64)
	if field = strings.TrimSpace(field); field == "" || !ok || !ok2 || err1 != nil || err2 != nil {
		return Axis{}, bad
	}
	if log {
		return LogRange(field, lo, hi), nil
	}
	return Range(field, lo, hi), nil
}

// ParseSeeds reads "1,2,7" and "1-5".
func ParseSeeds(text string) (Axis, error) {
	const most = 10_000
	bad := errors.New("seeds as 1,2,3 or 1-5")
	var seeds []uint64
	for part := range strings.SplitSeq(text, ",") {
		from, to, span := strings.Cut(strings.TrimSpace(part), "-")
		if !span {
			to = from
		}
		a, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 64)
		b, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 64)
		if err1 != nil || err2 != nil || a > b || b-a >= most {
			return Axis{}, bad
		}
		for n := a; ; n++ {
			seeds = append(seeds, n)
			if n == b {
				break
			}
		}
	}
	return Seeds(seeds...), nil
}

// setting is the fields of one trial that are set beside the base's, in order.
type setting []assignment

type assignment struct{ field, value string }

// expand is the settings that the axes describe, and the names of all fields in them: the
// seed varies slowest, so that a sweep broken off has each setting once.
func expand(axes []Axis) (names []string, settings []setting, err error) {
	grid := []setting{nil}
	var points, random []setting
	var ranges []Axis
	var draws *Axis
	seeds := []setting{nil}
	for _, a := range axes {
		switch a.kind {
		case axisGrid:
			if len(a.values) == 0 {
				return nil, nil, fmt.Errorf("the grid of %s is empty; give it values, as %[1]s=0,0.1", a.field)
			}
			if a.field == "seed" {
				return nil, nil, errors.New("seed is not for the grid; give seeds as seeds")
			}
			grid = cross(grid, a.field, a.values)
		case axisPoints:
			for _, text := range a.values {
				p, err := parsePoint(text)
				if err != nil {
					return nil, nil, err
				}
				points = append(points, p)
			}
		case axisRange, axisLogRange:
			ranges = append(ranges, a)
		case axisDraws:
			draws = &a
		case axisSeeds:
			var values []string
			for _, n := range a.seeds {
				values = append(values, strconv.FormatUint(n, 10))
			}
			if len(values) == 0 {
				return nil, nil, errors.New("no seeds; give some, as 1-3, or leave them out")
			}
			seeds = cross(seeds, "seed", values)
		}
	}
	if random, err = draw(ranges, draws); err != nil {
		return nil, nil, err
	}
	all := product(product(product(seeds, grid), orOne(points)), orOne(random))
	for _, s := range all {
		for _, a := range s {
			if !slices.Contains(names, a.field) && a.field != "seed" {
				names = append(names, a.field)
			}
		}
	}
	if len(seeds) > 1 || len(seeds[0]) > 0 {
		names = append(names, "seed")
	}
	return names, all, nil
}

func orOne(s []setting) []setting {
	if len(s) == 0 {
		return []setting{nil}
	}
	return s
}

func cross(all []setting, field string, values []string) []setting {
	var more []setting
	for _, v := range values {
		more = append(more, setting{{field, v}})
	}
	return product(all, more)
}

// product is every setting of a with every one of b after it.
func product(a, b []setting) []setting {
	out := make([]setting, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, slices.Concat(x, y))
		}
	}
	return out
}

func parsePoint(text string) (setting, error) {
	var s setting
	for _, part := range strings.Fields(text) {
		name, value, ok := strings.Cut(part, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("point %q: %q is no NAME=VALUE; write as \"gamma=0.1 lr=1e-4\"", text, part)
		}
		s = append(s, assignment{name, value})
	}
	if len(s) == 0 {
		return nil, errors.New("a point of the list is empty; write it as \"gamma=0.1 lr=1e-4\"")
	}
	return s, nil
}

// draw draws from the ranges: number i of a field depends on the seed, the field's name
// and i alone.
func draw(ranges []Axis, draws *Axis) ([]setting, error) {
	switch {
	case len(ranges) == 0 && draws == nil:
		return nil, nil
	case draws == nil:
		return nil, fmt.Errorf("%s has a range; say how many to draw from it", ranges[0].field)
	case len(ranges) == 0:
		return nil, errors.New("nothing to draw from; give a range, as gamma=0..0.2")
	case draws.draws < 1:
		return nil, fmt.Errorf("%d draws; want 1 or more", draws.draws)
	}
	var out []setting
	for i := range draws.draws {
		var s setting
		for _, a := range ranges {
			value, err := a.draw(draws.seed, i)
			if err != nil {
				return nil, err
			}
			s = append(s, assignment{a.field, value})
		}
		out = append(out, s)
	}
	return out, nil
}

func (a *Axis) draw(seed uint64, i int) (string, error) {
	log := a.kind == axisLogRange
	if !(a.lo < a.hi) || math.IsInf(a.hi-a.lo, 0) || log && a.lo <= 0 {
		want := "FROM below TO"
		if log {
			want = "0 < FROM < TO for a logarithm"
		}
		return "", fmt.Errorf("the range of %s goes from %g to %g; want %s", a.field, a.lo, a.hi, want)
	}
	lo, hi := a.lo, a.hi
	if a.whole() {
		lo, hi = math.Ceil(lo)-0.5, math.Floor(hi)+0.5 // so that the ends are as likely as the rest
		if log {
			lo = max(lo, a.lo/2)
		}
	}
	// 48 bits are more than the digits kept.
	key := philox.Key(seed, "sweep "+a.field)
	u := (float64(key.Uint32(uint64(i), 0, 0)) + float64(key.Uint32(uint64(i), 1, 0)>>16)/(1<<16)) / (1 << 32)
	x := lo + u*(hi-lo)
	if log {
		x = math.Exp(math.Log(lo) + u*(math.Log(hi)-math.Log(lo)))
	}
	if a.whole() {
		return strconv.FormatFloat(min(max(math.Round(x), math.Ceil(a.lo)), math.Floor(a.hi)), 'f', 0, 64), nil
	}
	return strconv.FormatFloat(x, 'g', 4, 64), nil // digits that a table shows and a person can type
}

// whole reports whether the field takes whole numbers.
func (a *Axis) whole() bool {
	f := fieldOf(new(ddpm.Config), new(ddpm.Variant), a.field)
	return f.IsValid() && (f.Kind() == reflect.Int || f.Kind() == reflect.Int64 || f.Kind() == reflect.Uint64)
}
