package ddpm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The paper's values (Sec. 6 and 7).
const (
	PaperGamma       = 0.1  // γ of Eq. 7
	PaperGradPenalty = 1e-6 // λ_GP of Eq. 9
	PaperWeightDecay = 0.03 // λ_WD of Eq. 10
)

// How a weight decay is applied. The paper writes the penalty into the loss
// (Eq. 10); the authors' code offers AdamW's decoupled decay alone (Loshchilov and
// Hutter 2019). Either touches every parameter, biases and norms included.
const (
	Decoupled = "decoupled" // AdamW: w -= lr·λ·w at each update; the default
	Coupled   = "coupled"   // Eq. 10 as written: λ·‖θ‖² in the loss
)

// How ‖∂ε_θ/∂x‖²_F of Eq. 9 is taken. No training code of the authors is public.
const (
	// Hutchinson takes one product vᵀJ with random signs v: an unbiased estimate of
	// the norm, with a standard deviation of about its own size; the default.
	Hutchinson = "hutchinson"
	// Ones takes one product with ones, as the authors' diagnostic code does: the
	// squared norm of the gradient of the sum of outputs, another quantity.
	Ones = "ones"
	// Exact takes one product for every value of an image; for images of at most
	// maxExact values.
	Exact = "exact"
)

// maxExact is the number of values of an image up to which the exact penalty is taken: it
// costs as many backward passes.
const maxExact = 256

// Shapes of γ_t for Variant.GammaSchedule.
const (
	Constant = "constant"
	Rising   = "rising"
	Falling  = "falling"
)

// Variant is what distinguishes the paper's methods from ADM: switches that may be
// combined, all zero for ADM itself. An empty mode is the default one.
type Variant struct {
	Gamma           float64 `json:"gamma"`             // input perturbation, Eq. 7
	WeightDecay     float64 `json:"weight_decay"`      // λ_WD; Eq. 10 when Coupled
	WeightDecayMode string  `json:"weight_decay_mode"` // Decoupled or Coupled
	GradPenalty     float64 `json:"grad_penalty"`      // λ_GP, Eq. 9
	GradPenaltyMode string  `json:"grad_penalty_mode"` // Hutchinson, Ones or Exact

	// GammaSchedule makes γ depend on t, γ_t = Gamma·f(t): "constant" (or empty, the paper's),
	// "rising" (f from 0 at the first step to 1 at the last), "falling" (from 1 to 0), or the
	// points of a broken line, as "0:0,500:1,999:0.5" (t from 0 to T-1, constant outside).
	GammaSchedule string `json:"gamma_schedule,omitempty"`
	// GradPenaltyDraws is the number of random vectors of Hutchinson's estimate, of which the
	// mean is taken; 0 means 1. Each costs one more double backward pass.
	GradPenaltyDraws int `json:"grad_penalty_draws,omitempty"`
}

// ADM is the baseline: Eq. 6.
func ADM() Variant { return Variant{} }

// InputPerturbation is DDPM-IP: Eq. 7, with the paper's gamma at 0.1.
func InputPerturbation(gamma float64) Variant { return Variant{Gamma: gamma} }

// GradPenalty is ADM-GP: Eq. 9, with the paper's lambda at 1e-6.
func GradPenalty(lambda float64) Variant { return Variant{GradPenalty: lambda} }

// WeightDecay is ADM-WD, with the paper's lambda at 0.03. In the default mode the decay is
// AdamW's and the loss Eq. 6; Coupled puts it into the loss, as Eq. 10 does.
func WeightDecay(lambda float64) Variant { return Variant{WeightDecay: lambda} }

// ParseVariant returns the paper's variant for a short name: "adm", "wd", "gp" or
// "ip"; or for the name in the paper's tables, as "ADM-WD" or "DDPM-IP".
func ParseVariant(name string) (Variant, error) {
	for _, v := range []struct {
		short string
		v     Variant
	}{
		{"adm", ADM()},
		{"wd", WeightDecay(PaperWeightDecay)},
		{"gp", GradPenalty(PaperGradPenalty)},
		{"ip", InputPerturbation(PaperGamma)},
	} {
		if strings.EqualFold(name, v.short) || strings.EqualFold(name, v.v.Name()) {
			return v.v, nil
		}
	}
	return Variant{}, fmt.Errorf("unknown variant %q; there are: adm, wd, gp, ip; combine others by --gamma, --weight-decay and --grad-penalty", name)
}

// Name is the variant's name in the paper's tables, "ADM", "ADM-WD", "ADM-GP" or
// "DDPM-IP", or composed, as "DDPM-IP+WD" and "ADM-WD+GP".
func (v Variant) Name() string {
	name, sep := "ADM", "-"
	if v.Gamma != 0 {
		name, sep = "DDPM-IP", "+"
	}
	if v.WeightDecay != 0 {
		name, sep = name+sep+"WD", "+"
	}
	if v.GradPenalty != 0 {
		name += sep + "GP"
	}
	return name
}

// String is the name with its values and with modes that are not the default, as
// "DDPM-IP (γ 0.1)" or "ADM-WD (λ_wd 0.03, coupled)".
func (v Variant) String() string {
	var s []string
	add := func(name string, value float64, mode string) {
		if value != 0 {
			s = append(s, strings.TrimSuffix(name+" "+strconv.FormatFloat(value, 'g', -1, 64)+", "+mode, ", "))
		}
	}
	mode := func(m, usual string) string {
		if m == usual {
			return ""
		}
		return m
	}
	add("γ", v.Gamma, mode(v.GammaSchedule, Constant))
	add("λ_wd", v.WeightDecay, mode(v.WeightDecayMode, Decoupled))
	gp := mode(v.GradPenaltyMode, Hutchinson)
	if v.GradPenaltyDraws > 1 {
		gp = fmt.Sprintf("%d draws", v.GradPenaltyDraws)
	}
	add("λ_gp", v.GradPenalty, gp)
	if s == nil {
		return v.Name()
	}
	return v.Name() + " (" + strings.Join(s, ", ") + ")"
}

// Validate reports the first field that cannot be trained with.
func (v Variant) Validate() error {
	for _, f := range []struct {
		field string
		value float64
		paper float64
	}{
		{"gamma", v.Gamma, PaperGamma},
		{"weight_decay", v.WeightDecay, PaperWeightDecay},
		{"grad_penalty", v.GradPenalty, PaperGradPenalty},
	} {
		if !(f.value >= 0) || math.IsInf(f.value, 1) {
			return fieldError("variant", f.field, f.value, fmt.Sprintf("0 or more; the paper has %g", f.paper))
		}
	}
	if m := v.WeightDecayMode; m != "" && m != Decoupled && m != Coupled {
		return fieldError("variant", "weight_decay_mode", m, fmt.Sprintf("%q or %q", Decoupled, Coupled))
	}
	if m := v.GradPenaltyMode; m != "" && m != Hutchinson && m != Ones && m != Exact {
		return fieldError("variant", "grad_penalty_mode", m, fmt.Sprintf("%q, %q or %q", Hutchinson, Ones, Exact))
	}
	if n := v.GradPenaltyDraws; n < 0 || n > 64 || n > 1 && v.GradPenaltyMode != "" && v.GradPenaltyMode != Hutchinson {
		return fieldError("variant", "grad_penalty_draws", n, fmt.Sprintf("0 to 64, and more than 1 with the mode %q alone", Hutchinson))
	}
	_, err := gammaPoints(v.GammaSchedule, 2)
	return err
}

// Normal is v with the default of each mode written out where it matters and
// left empty where it does not, so that equal methods are equal values.
func (v Variant) Normal() Variant {
	if v.WeightDecayMode == "" {
		v.WeightDecayMode = Decoupled
	}
	if v.GradPenaltyMode == "" {
		v.GradPenaltyMode = Hutchinson
	}
	if v.WeightDecay == 0 {
		v.WeightDecayMode = ""
	}
	if v.GradPenalty == 0 {
		v.GradPenaltyMode = ""
	}
	if v.GradPenalty == 0 || v.GradPenaltyDraws == 1 {
		v.GradPenaltyDraws = 0
	}
	if v.Gamma == 0 || v.GammaSchedule == Constant {
		v.GammaSchedule = ""
	}
	return v
}
