package ddpm_test

import (
	"math"
	"strings"
	"testing"

	"ddpmlab/ddpm"
)

func TestVariantNames(t *testing.T) {
	tests := []struct {
		v    ddpm.Variant
		name string
		text string
	}{
		{ddpm.ADM(), "ADM", "ADM"},
		{ddpm.WeightDecay(0.03), "ADM-WD", "ADM-WD (λ_wd 0.03)"},
		{ddpm.GradPenalty(1e-6), "ADM-GP", "ADM-GP (λ_gp 1e-06)"},
		{ddpm.InputPerturbation(0.1), "DDPM-IP", "DDPM-IP (γ 0.1)"},
		{ddpm.Variant{Gamma: 0.1, WeightDecay: 0.03, WeightDecayMode: ddpm.Coupled}, "DDPM-IP+WD", "DDPM-IP+WD (γ 0.1, λ_wd 0.03, coupled)"},
		{ddpm.Variant{Gamma: 0.1, GradPenalty: 1}, "DDPM-IP+GP", "DDPM-IP+GP (γ 0.1, λ_gp 1)"},
		{ddpm.Variant{WeightDecay: 1, GradPenalty: 1, GradPenaltyMode: ddpm.Ones}, "ADM-WD+GP", "ADM-WD+GP (λ_wd 1, λ_gp 1, ones)"},
	}
	for _, tt := range tests {
		if got := tt.v.Name(); got != tt.name {
			t.Errorf("Name = %q, want %q (%+v)", got, tt.name, tt.v)
		}
		if got := tt.v.String(); got != tt.text {
			t.Errorf("String = %q, want %q (%+v)", got, tt.text, tt.v)
		}
		if err := tt.v.Validate(); err != nil {
			t.Errorf("Validate(%+v) = %v, want nil", tt.v, err)
		}
	}
}

func TestParseVariant(t *testing.T) {
	for name, want := range map[string]ddpm.Variant{
		"adm": ddpm.ADM(), "wd": ddpm.WeightDecay(0.03), "gp": ddpm.GradPenalty(1e-6), "ip": ddpm.InputPerturbation(0.1),
		"ADM-WD": ddpm.WeightDecay(0.03), "ddpm-ip": ddpm.InputPerturbation(0.1),
	} {
		if got, err := ddpm.ParseVariant(name); err != nil || got != want {
			t.Errorf("ParseVariant(%q) = %+v, %v, want %+v", name, got, err, want)
		}
	}
	if _, err := ddpm.ParseVariant("ddim"); err == nil || !strings.Contains(err.Error(), "adm, wd, gp, ip") {
		t.Errorf("ParseVariant(\"ddim\") = %v, want an error that lists the variants", err)
	}
}

func TestVariantValidate(t *testing.T) {
	for _, tt := range []struct {
		v    ddpm.Variant
		want string
	}{
		{ddpm.InputPerturbation(-0.1), "gamma is -0.1; want 0 or more; the paper has 0.1"},
		{ddpm.GradPenalty(math.NaN()), "grad_penalty is NaN"},
		{ddpm.WeightDecay(math.Inf(1)), "weight_decay is +Inf"},
		{ddpm.Variant{WeightDecayMode: "l2"}, `weight_decay_mode is "l2"; want "decoupled" or "coupled"`},
		{ddpm.Variant{GradPenaltyMode: "frobenius"}, `grad_penalty_mode is "frobenius"`},
		{ddpm.Variant{GradPenaltyMode: ddpm.Exact, GradPenaltyDraws: 2}, "grad_penalty_draws is 2"},
		{ddpm.Variant{Gamma: 0.1, GammaSchedule: "5:1,3:0"}, `gamma_schedule is "5:1,3:0"; want "constant", "rising"`},
	} {
		if err := tt.v.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Validate(%+v) = %v, want %q in it", tt.v, err, tt.want)
		}
	}
}
