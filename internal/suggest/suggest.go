// Package suggest finds the name that was meant by one that does not exist.
package suggest

import "fmt"

// Unknown is the sentence for a name that is none of names. Where one of them is near it
// is suggested, otherwise the sentence ends with the cure.
func Unknown(kind, name string, names []string, cure string) string {
	if near := Nearest(name, names); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	}
	return fmt.Sprintf("unknown %s %q; %s", kind, name, cure)
}

// Nearest is the name that the fewest edits turn name into, or "" when that takes more
// than a third of its letters.
func Nearest(name string, names []string) string {
	best, least := "", len([]rune(name))/3+1
	for _, n := range names {
		if d := distance(name, n); d <= least && (best == "" || d < least) {
			best, least = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with the next one
// to turn a into b (optimal string alignment).
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	rows := make([][]int, len(s)+1)
	for i := range rows {
		rows[i] = make([]int, len(t)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(s)][len(t)]
}
