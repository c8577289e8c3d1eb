package cell_test

import (
	"context"
	"testing"

	"ddpmlab/internal/cell"
)

func TestContext(t *testing.T) {
	if c, ok := cell.FromContext(context.Background()); ok {
		t.Errorf("got cell %v of an empty context, want none", c)
	}
	ctx := cell.NewContext(context.Background(), cell.Cell{Index: 3, Source: "x"})
	if c, ok := cell.FromContext(ctx); !ok || c.Index != 3 || c.Source != "x" {
		t.Errorf("got cell %v %v, want the one put in", c, ok)
	}
}
