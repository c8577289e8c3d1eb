package kernel

import (
	"regexp"
	"slices"
	"strings"
)

// greek are the letters that can be typed by name: \gamma, then the tab key. All are
// letters to Go.
var greek = map[string]string{
	"alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ϵ", "zeta": "ζ", "eta": "η",
	"theta": "θ", "iota": "ι", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "omicron": "ο", "pi": "π",
	"rho": "ρ", "sigma": "σ", "tau": "τ", "upsilon": "υ", "phi": "φ", "varphi": "ϕ", "chi": "χ", "psi": "ψ", "omega": "ω",
	"Alpha": "Α", "Beta": "Β", "Gamma": "Γ", "Delta": "Δ", "Epsilon": "Ε", "Zeta": "Ζ", "Eta": "Η", "Theta": "Θ",
	"Iota": "Ι", "Kappa": "Κ", "Lambda": "Λ", "Mu": "Μ", "Nu": "Ν", "Xi": "Ξ", "Omicron": "Ο", "Pi": "Π", "Rho": "Ρ",
	"Sigma": "Σ", "Tau": "Τ", "Upsilon": "Υ", "Phi": "Φ", "Chi": "Χ", "Psi": "Ψ", "Omega": "Ω", "ell": "ℓ",
}

var (
	letterBefore = regexp.MustCompile(`\\([A-Za-z]*)$`)
	magicBefore  = regexp.MustCompile(`(?:^|\n)(%[a-z]*)$`)
)

// completeTyped completes what is not Go: letters by name and the kernel's commands. ok
// is false when there is none before pos.
func completeTyped(src string, pos int) (names []string, start int, ok bool) {
	before := src[:pos]
	if m := letterBefore.FindStringSubmatchIndex(before); m != nil {
		name := before[m[2]:m[3]]
		if letter := greek[name]; letter != "" {
			return []string{letter}, m[0], true
		}
		for n := range greek {
			if strings.HasPrefix(n, name) {
				names = append(names, `\`+n)
			}
		}
		slices.Sort(names)
		return names, m[0], true
	}
	if m := magicBefore.FindStringSubmatchIndex(before); m != nil {
		for _, c := range magics {
			if strings.HasPrefix("%"+c.name, before[m[2]:]) {
				names = append(names, "%"+c.name)
			}
		}
		return names, m[2], true
	}
	return nil, 0, false
}
