package display

// What a value can be shown as, by its methods: a type that has one or several of them,
// declared in a cell or compiled, is shown in these forms as a cell's last value.
type (
	// Renderer gives all forms at once.
	Renderer interface{ Render() Data }
	// SimpleRenderer gives all forms, without metadata.
	SimpleRenderer interface {
		SimpleRender() map[string]interface{}
	}

	HTMLer       interface{ HTML() string }                     // a piece of HTML
	JavaScripter interface{ JavaScript() string }               // JavaScript
	JPEGer       interface{ JPEG() []byte }                     // the bytes of a JPEG file
	JSONer       interface{ JSON() map[string]interface{} }     // a tree
	Latexer      interface{ Latex() string }                    // LaTeX, with dollar signs
	LaTeXer      interface{ LaTeX() string }                    // the same, as this project spells it
	Markdowner   interface{ Markdown() string }                 // Markdown
	PNGer        interface{ PNG() []byte }                      // the bytes of a PNG file
	PDFer        interface{ PDF() []byte }                      // the bytes of a PDF file
	SVGer        interface{ SVG() string }                      // an SVG document
	VegaLiter    interface{ VegaLite() map[string]interface{} } // a Vega-Lite specification
)

// Interfaces are the interfaces above, as nil pointers.
func Interfaces() []interface{} {
	return []interface{}{
		(*Renderer)(nil), (*SimpleRenderer)(nil), (*HTMLer)(nil), (*JavaScripter)(nil), (*JPEGer)(nil), (*JSONer)(nil),
		(*Latexer)(nil), (*LaTeXer)(nil), (*Markdowner)(nil), (*PNGer)(nil), (*PDFer)(nil), (*SVGer)(nil), (*VegaLiter)(nil),
	}
}

// Of is the value in the forms that its methods give; zero when it has none of them.
func Of(x interface{}) Data {
	var d Data
	switch x := x.(type) {
	case Data:
		return x
	case *Data:
		return *x
	}
	if r, ok := x.(Renderer); ok {
		d.merge(r.Render())
	}
	if r, ok := x.(SimpleRenderer); ok {
		d.merge(Data{Data: r.SimpleRender()})
	}
	set := func(mime string, data interface{}) { d.merge(Data{Data: MIMEMap{mime: data}}) }
	if r, ok := x.(HTMLer); ok {
		set(MIMETypeHTML, r.HTML())
	}
	if r, ok := x.(JavaScripter); ok {
		set(MIMETypeJavaScript, r.JavaScript())
	}
	if r, ok := x.(JPEGer); ok {
		set(MIMETypeJPEG, r.JPEG())
	}
	if r, ok := x.(JSONer); ok {
		set(MIMETypeJSON, r.JSON())
	}
	if r, ok := x.(Latexer); ok {
		set(MIMETypeLatex, r.Latex())
	}
	if r, ok := x.(LaTeXer); ok {
		set(MIMETypeLatex, r.LaTeX())
	}
	if r, ok := x.(Markdowner); ok {
		set(MIMETypeMarkdown, r.Markdown())
	}
	if r, ok := x.(PNGer); ok {
		set(MIMETypePNG, r.PNG())
	}
	if r, ok := x.(PDFer); ok {
		set(MIMETypePDF, r.PDF())
	}
	if r, ok := x.(SVGer); ok {
		set(MIMETypeSVG, r.SVG())
	}
	if r, ok := x.(VegaLiter); ok {
		set(MIMETypeVegaLite, r.VegaLite())
	}
	return d
}
