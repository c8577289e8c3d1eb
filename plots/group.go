package plots

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
)

// errNoRuns is what every figure says that gets none.
var errNoRuns = errors.New("no runs to show; train one first")

// group is the runs that differ in nothing but their seed: what a mean is taken over.
type group struct {
	label   string // tells the group from the others, as "DDPM-IP (γ 0.2)"
	variant ddpm.Variant
	style   style
	runs    []*experiments.Run // one a seed, seeds ascending
}

// imported reports whether another program trained the runs, of which no variant is known.
func (g *group) imported() bool { return len(g.runs) > 0 && g.runs[0].Imported() }

// groupRuns sorts runs into groups, in the order of their first appearance. Of several
// runs with one seed the one that came farthest counts, and of those the last begun; the
// notes say what was left out and which runs are not finished.
func groupRuns(runs experiments.Runs) (groups []group, notes []string) {
	index := map[string]int{}
	for _, r := range runs {
		if r == nil {
			continue
		}
		key := groupKey(r)
		i, ok := index[key]
		if !ok {
			i = len(groups)
			index[key] = i
			groups = append(groups, group{variant: r.Variant.Normal()})
		}
		groups[i].runs = append(groups[i].runs, r)
	}
	label(groups)
	for i := range groups {
		g := &groups[i]
		var left int
		g.runs, left = onePerSeed(g.runs)
		if left > 0 {
			notes = append(notes, fmt.Sprintf("%s: %s of the same seeds not shown.", g.label, plural(left, "other attempt", "other attempts")))
		}
		g.style = variantStyle(g.variant.Name())
		if g.imported() {
			g.style = variantStyle(g.label)
		}
		switch { // by names, not by all of the configuration, so that colours last
		case configDiffers(groups[:i], *g):
			g.style = g.style.shade(g.label)
		case !isPaper(g.variant):
			g.style = g.style.shade(g.variant.String())
		}
		for _, r := range g.runs {
			if r.Status != experiments.StatusFinished {
				notes = append(notes, fmt.Sprintf("%s, seed %d: %s at step %s of %s.",
					g.label, r.Seed, r.Status, formatCount(r.Step), formatCount(int64(r.Config.Iterations))))
			}
		}
	}
	return groups, notes
}

// groupKey is the same for runs that differ in nothing but their seed.
func groupKey(r *experiments.Run) string {
	if r.Imported() { // of which nothing but its name is known to be its own
		return "imported " + r.ID
	}
	return fmt.Sprintf("%+v %s", r.Variant.Normal(), configJSON(r.Config))
}

// configJSON is the configuration without seed and preset, which tell runs of a group
// apart or say nothing.
func configJSON(c ddpm.Config) string {
	c.Seed, c.Preset = 0, ""
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Sprintf("%+v", c) // NaN or an infinity in it
	}
	return string(b)
}

// label names the groups: by variant alone where that tells them apart, else with the
// variant's values, else with what their configurations differ in.
func label(groups []group) {
	for i := range groups {
		g := &groups[i]
		if g.imported() {
			g.label = g.runs[0].Name + " (imported)"
			continue
		}
		g.label = variantLabel(g.variant)
		for _, other := range groups {
			if other.variant.Name() == g.variant.Name() && other.variant != g.variant {
				g.label = g.variant.String()
				break
			}
		}
	}
	plain := make([]string, len(groups))
	for i, g := range groups {
		plain[i] = g.label
	}
	for i := range groups {
		var parts []string
		for j := range groups {
			if i != j && plain[i] == plain[j] {
				parts = append(parts, configDiff(groups[i].runs[0].Config, groups[j].runs[0].Config)...)
			}
		}
		if len(parts) > 0 {
			slices.Sort(parts)
			groups[i].label = plain[i] + ", " + strings.Join(slices.Compact(parts), ", ")
		}
	}
}

// configDiff lists a's values of the fields in which it differs from b, as
// "iterations 3000".
func configDiff(a, b ddpm.Config) []string {
	fields := func(c ddpm.Config) map[string]string {
		var top map[string]json.RawMessage
		if json.Unmarshal([]byte(configJSON(c)), &top) != nil {
			return nil
		}
		out := map[string]string{}
		for k, v := range top {
			var inner map[string]json.RawMessage
			if json.Unmarshal(v, &inner) == nil {
				for ik, iv := range inner {
					out[ik] = strings.Trim(string(iv), `"`)
				}
				continue
			}
			out[k] = strings.Trim(string(v), `"`)
		}
		return out
	}
	fa, fb := fields(a), fields(b)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(fa)) {
		if fa[k] != fb[k] {
			parts = append(parts, strings.ReplaceAll(k, "_", " ")+" "+fa[k])
		}
	}
	return parts
}

// configDiffers reports whether an earlier group has g's variant with another
// configuration, so that g needs a shade of its own.
func configDiffers(earlier []group, g group) bool {
	return slices.ContainsFunc(earlier, func(e group) bool { return e.variant == g.variant })
}

// variantLabel is the variant's name, with its values when they are not the paper's.
func variantLabel(v ddpm.Variant) string {
	if isPaper(v) {
		return v.Name()
	}
	return v.String()
}

// isPaper reports whether the variant's values are those of the paper (or zero).
func isPaper(v ddpm.Variant) bool {
	ok := func(x, paper float64) bool { return x == 0 || x == paper }
	v = v.Normal()
	return ok(v.Gamma, ddpm.PaperGamma) && ok(v.WeightDecay, ddpm.PaperWeightDecay) &&
		ok(v.GradPenalty, ddpm.PaperGradPenalty) &&
		(v.WeightDecay == 0 || v.WeightDecayMode == ddpm.Decoupled) &&
		(v.GradPenalty == 0 || v.GradPenaltyMode == ddpm.Hutchinson)
}

// onePerSeed keeps one run of each seed, and says how many it left out.
func onePerSeed(runs []*experiments.Run) (kept []*experiments.Run, left int) {
	best := map[uint64]*experiments.Run{}
	for _, r := range runs {
		if b := best[r.Seed]; b == nil || r.Step > b.Step || r.Step == b.Step && !r.Started.Before(b.Started) {
			best[r.Seed] = r
		}
	}
	for _, seed := range slices.Sorted(maps.Keys(best)) {
		kept = append(kept, best[seed])
	}
	return kept, len(runs) - len(kept)
}

// seedsOf says over how many seeds the groups go, as "n = 1 seed" or "n = 1 to 3 seeds".
func seedsOf(groups []group) string {
	lo, hi := len(groups[0].runs), 0
	for _, g := range groups {
		lo, hi = min(lo, len(g.runs)), max(hi, len(g.runs))
	}
	if lo == hi {
		return "n = " + plural(lo, "seed", "seeds")
	}
	return fmt.Sprintf("n = %d to %d seeds", lo, hi)
}

// oneSeed is the warning below figures that rest on single seeds.
const oneSeed = "Of one seed: how much another would change is not known, differences may be luck."
