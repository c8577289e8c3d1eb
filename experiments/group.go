package experiments

import "context"

// place is where people put a new run.
type place struct{ group, sweep string }

type placeKey struct{}

// WithGroup returns a context whose new runs belong to the group of that name, as
// "gamma study". A run is in one group; tags may be many.
func WithGroup(ctx context.Context, name string) context.Context {
	p := placeOf(ctx)
	p.group = name
	return context.WithValue(ctx, placeKey{}, p)
}

func placeOf(ctx context.Context) place {
	p, _ := ctx.Value(placeKey{}).(place)
	return p
}
