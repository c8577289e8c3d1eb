package suggest

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"train", "sample", "bias", "evaluate", "runs list"}
	for _, tt := range []struct{ in, want string }{
		{"trian", "train"},
		{"trai", "train"},
		{"TRAIN", ""},
		{"sampel", "sample"},
		{"b", ""},
		{"", ""},
		{"biass", "bias"},
		{"evaluation", "evaluate"},
		{"xyz", ""},
		{"Σample", "sample"},
	} {
		if got := Nearest(tt.in, names); got != tt.want {
			t.Errorf("got %q, want %q, for %q", got, tt.want, tt.in)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "abc", 3}, {"ca", "ac", 1}, {"kitten", "sitting", 3}, {"γ", "g", 1}} {
		if got := distance(tt.a, tt.b); got != tt.want || distance(tt.b, tt.a) != got {
			t.Errorf("got %d, want %d, from %q to %q and back", got, tt.want, tt.a, tt.b)
		}
	}
}
