package render_test

import (
	"fmt"

	"ddpmlab/internal/render"
)

func ExampleTable() {
	t := render.Table{
		Caption: "FD (fashion-cnn) by variant",
		Columns: append(render.Left("variant"), render.Right("FD")...),
	}
	t.Add("ADM", "12.34")
	t.Add("DDPM-IP", "9.87")
	fmt.Println(&t)
	// Output:
	// FD (fashion-cnn) by variant
	// variant     FD
	// -------  -----
	// ADM      12.34
	// DDPM-IP   9.87
}

func ExampleEscapeLaTeX() {
	fmt.Println(render.EscapeLaTeX("γ_t ± 50% & more"))
	// Output: $\gamma_{\mathit{t}}$ $\pm$ 50\% \& more
}

func ExampleEscapeMarkdown() {
	fmt.Println(render.EscapeMarkdown("mse_q0 | <b>"))
	// Output: mse\_q0 \| &lt;b&gt;
}
