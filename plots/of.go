package plots

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg/draw"
)

// Of is a plot of gonum/plot as a figure of 640 by 400 pixels, so that a cell that ends
// with a plot shows it; nil for anything else.
func Of(v any) *Figure {
	p, ok := v.(*plot.Plot)
	if !ok || p == nil {
		return nil
	}
	words := "plot"
	if p.X.Label.Text != "" || p.Y.Label.Text != "" {
		words = "plot of " + p.Y.Label.Text + " by " + p.X.Label.Text
	}
	return &Figure{
		Title: p.Title.Text, width: 640, height: 400, text: words,
		draw: func(c draw.Canvas) { p.Draw(c) },
	}
}
