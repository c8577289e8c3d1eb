// Package plots draws the figures and tables of the paper from recorded runs, for a
// notebook cell, a terminal and a paper alike: a *Figure holds SVG, PNG and text, a
// *render.Table HTML, LaTeX, Markdown and text.
//
//	FDCurve        score by training step            Fig. 2
//	LossCurve      training loss
//	BiasTable      exposure bias, Alg. 3             Table 1
//	StepsTable     score by sampling steps           Table 2
//	VariantsTable  last score of each variant        Table 3
//	SampleGrid     images drawn from runs
//	Curve          any lines, as a running computation reports them
//	Verify         draws recorded figures again from the data, and compares
//
// Every figure says how many seeds (n) and images (N) its numbers rest on, and by which
// protocol they were measured; scores of different protocols are refused, not drawn. A
// variant has one colour and dash in all figures (theme.go).
package plots
