package plots

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"ddpmlab/ddpm"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

// SampleGrid shows samples, one block a run under its title. Pixels stay sharp: each is
// a square of whole screen pixels. At equal places stand images from equal noise, so
// that blocks of one seed can be compared image by image.
func SampleGrid(samples ...*experiments.Samples) (*Figure, error) {
	var g sampleGrid
	var captions []string
	t := &render.Table{Columns: append(render.Left("model"), render.Right("images", "size", "sampling steps", "seed", "mean", "least", "largest")...)}
	for _, s := range samples {
		if s == nil {
			continue
		}
		m := s.Images
		if m.N < 1 || m.H < 1 || m.W < 1 || m.C < 1 || len(m.Pix) != m.N*m.H*m.W*m.C {
			return nil, fmt.Errorf("sample grid: %s with %d values are no images; draw some with lab.Samples(ctx, run, n, steps)", m, len(m.Pix))
		}
		title := "samples"
		if s.Run != nil {
			title = variantLabel(s.Run.Variant)
			if s.Run.Step > 0 {
				title += fmt.Sprintf(", step %s", formatCount(s.Run.Step))
			}
		}
		st := pixelStats(m.Pix)
		t.Add(title, formatCount(int64(m.N)), fmt.Sprintf("%d×%d×%d", m.H, m.W, m.C), formatCount(int64(s.Steps)),
			fmt.Sprint(s.Seed), formatFixed(st.mean, 3), formatFixed(st.least, 3), formatFixed(st.largest, 3))
		if st.broken > 0 {
			captions = append(captions, fmt.Sprintf("%s: %s not finite, drawn black.", title, plural(st.broken, "value is", "values are")))
		}
		shown := min(m.N, maxShown)
		if shown < m.N {
			captions = append(captions, fmt.Sprintf("%s: the first %d of %s.", title, shown, formatCount(int64(m.N))))
		}
		g.blocks = append(g.blocks, block{title: title, images: m.Part(0, shown)})
	}
	if len(g.blocks) == 0 {
		return nil, errors.New("sample grid: no samples to show; draw some with lab.Samples(ctx, run, n, steps)")
	}
	g.caption = strings.Join(append([]string{sampledBy(samples)}, captions...), " ")
	g.layout()
	f := &Figure{Title: "samples", Caption: g.caption, text: t.Text(), width: g.width, height: g.height, draw: g.draw}
	if len(g.blocks) == 1 {
		f.Title = "samples of " + g.blocks[0].title
	}
	return f.fromSamples(samples), nil
}

// sampledBy says with how many steps and from which noise the samples come.
func sampledBy(samples []*experiments.Samples) string {
	var first *experiments.Samples
	same := true
	for _, s := range samples {
		switch {
		case s == nil:
		case first == nil:
			first = s
		default:
			same = same && s.Steps == first.Steps && s.Seed == first.Seed
		}
	}
	if !same {
		return "Blocks differ in sampling steps or seed; see the text form."
	}
	s := fmt.Sprintf("%s of Alg. 2, seed %d, not selected.", plural(first.Steps, "step", "steps"), first.Seed)
	if len(samples) > 1 {
		s += " Equal places have equal noise."
	}
	return s
}

// maxShown is how many images of a run are drawn.
const maxShown = 100

// block is one run's images.
type block struct {
	title  string
	images ddpm.Images
	cols   int
	x, y   int // top left corner, in CSS pixels
}

// sampleGrid is blocks from left to right and top to bottom.
type sampleGrid struct {
	blocks        []block
	caption       string
	scale         int // CSS pixels an image pixel
	width, height int
}

// Lengths of the grid, in CSS pixels.
const (
	gridMargin = 9
	gridGap    = 2  // between images
	blockGap   = 16 // between blocks
	titleRoom  = 19 // above a block
	gridHeight = 620
	leastWidth = 360 // leaves room for titles and captions
	largest    = 96  // an image is not enlarged beyond
)

// layout chooses the largest scale with which all blocks fit the figure's width and a
// sensible height, and places the blocks.
func (g *sampleGrid) layout() {
	for i := range g.blocks {
		b := &g.blocks[i]
		b.cols = int(math.Ceil(math.Sqrt(float64(b.images.N))))
	}
	widest := 1
	for _, b := range g.blocks {
		widest = max(widest, b.images.W, b.images.H)
	}
	for g.scale = max(1, largest/widest); ; g.scale-- {
		fits := g.place()
		if fits || g.scale == 1 {
			break
		}
	}
	lines := wrap(g.caption, textStyle(captionSize, grey), vg.Length(g.width-2*gridMargin)*px)
	g.height += int(math.Ceil(float64(len(lines)) * float64(captionSize/px) * lineHeight))
}

// place places the blocks at the scale and reports whether they fit.
func (g *sampleGrid) place() bool {
	x, y, rowHeight, right := gridMargin, gridMargin, 0, 0
	for i := range g.blocks {
		b := &g.blocks[i]
		w, h := b.size(g.scale)
		if x > gridMargin && x+w > figureWidth-gridMargin {
			x, y, rowHeight = gridMargin, y+rowHeight+blockGap, 0
		}
		b.x, b.y = x, y
		x += w + blockGap
		right, rowHeight = max(right, b.x+w), max(rowHeight, h)
	}
	g.width, g.height = max(leastWidth, right+gridMargin), y+rowHeight+gridMargin+6
	return right+gridMargin <= figureWidth && g.height <= gridHeight
}

// size is the block's size with its title, in CSS pixels.
func (b block) size(scale int) (w, h int) {
	rows := (b.images.N + b.cols - 1) / b.cols
	return b.cols*(b.images.W*scale+gridGap) - gridGap, titleRoom + rows*(b.images.H*scale+gridGap) - gridGap
}

// draw draws blocks and caption.
func (g *sampleGrid) draw(c draw.Canvas) {
	for _, b := range g.blocks {
		w, h := b.size(g.scale)
		left, top := c.Min.X+vg.Length(b.x)*px, c.Max.Y-vg.Length(b.y)*px
		style := textStyle(labelSize, ink)
		c.FillText(style, vg.Point{X: left, Y: top}, shorten(b.title, style, vg.Length(max(w, 150))*px))
		c.DrawImage(vg.Rectangle{
			Min: vg.Point{X: left, Y: top - vg.Length(h)*px},
			Max: vg.Point{X: left + vg.Length(w)*px, Y: top - titleRoom*px},
		}, b.enlarged(g.scale))
	}
	style := textStyle(captionSize, grey)
	foot := draw.Crop(c, gridMargin*px, -gridMargin*px, 0, 0)
	lines := wrap(g.caption, style, foot.Size().X)
	foot.Max.Y = foot.Min.Y + vg.Length(len(lines))*captionSize*lineHeight + 3*px
	drawText(foot, lines, style)
}

// enlarged is the block's images side by side, each pixel scale×scale points, on white.
// Grey images stay grey, which makes small PNGs.
func (b block) enlarged(scale int) image.Image {
	w, h := b.size(scale)
	bounds := image.Rect(0, 0, w, h-titleRoom)
	m := b.images
	bytes := m.Bytes()
	var set func(x, y int, p []byte)
	var out image.Image
	if m.C < 3 {
		img := image.NewGray(bounds)
		fill(img.Pix, 0xff)
		set = func(x, y int, p []byte) { img.Pix[img.PixOffset(x, y)] = p[0] }
		out = img
	} else {
		img := image.NewRGBA(bounds)
		fill(img.Pix, 0xff)
		set = func(x, y int, p []byte) { img.SetRGBA(x, y, color.RGBA{p[0], p[1], p[2], 0xff}) }
		out = img
	}
	for i := range m.N {
		x0, y0 := i%b.cols*(m.W*scale+gridGap), i/b.cols*(m.H*scale+gridGap)
		for y := range m.H * scale {
			for x := range m.W * scale {
				at := ((i*m.H+y/scale)*m.W + x/scale) * m.C
				set(x0+x, y0+y, bytes[at:at+m.C])
			}
		}
	}
	return out
}

func fill(b []byte, v byte) {
	for i := range b {
		b[i] = v
	}
}

// stats of pixels.
type stats struct {
	mean, least, largest float64
	broken               int // values that are not finite, left out of the others
}

func pixelStats(pix []float32) stats {
	s := stats{least: math.Inf(1), largest: math.Inf(-1)}
	for _, p := range pix {
		v := float64(p)
		if !finite(v) {
			s.broken++
			continue
		}
		s.mean += v
		s.least, s.largest = min(s.least, v), max(s.largest, v)
	}
	if n := len(pix) - s.broken; n > 0 {
		s.mean /= float64(n)
	} else {
		s.mean, s.least, s.largest = math.NaN(), math.NaN(), math.NaN()
	}
	return s
}
