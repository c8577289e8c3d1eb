package experiments

import "context"

// place is where people put a new run.
type place struct{ group, sweep, parent string }

type placeKey struct{}

// WithGroup returns a context whose new runs belong to the group of that name, as
// "gamma study". A run is in one group; tags may be many.
func WithGroup(ctx context.Context, name string) context.Context {
	p := placeOf(ctx)
	p.group = name
	return context.WithValue(ctx, placeKey{}, p)
}

// WithParent returns a context whose new runs were made from the run of that id, as the
// repetitions of one.
func WithParent(ctx context.Context, id string) context.Context {
	p := placeOf(ctx)
	p.parent = id
	return context.WithValue(ctx, placeKey{}, p)
}

func placeOf(ctx context.Context) place {
	p, _ := ctx.Value(placeKey{}).(place)
	return p
}
