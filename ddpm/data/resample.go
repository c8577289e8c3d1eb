package data

import "math"

// filter is a resampling kernel of Pillow.
type filter struct {
	support float64
	weight  func(x float64) float64
}

var (
	box = filter{0.5, func(x float64) float64 {
		if x > -0.5 && x <= 0.5 {
			return 1
		}
		return 0
	}}
	// bicubic is Keys' kernel with a = -1/2.
	bicubic = filter{2, func(x float64) float64 {
		const a = -0.5
		x = math.Abs(x)
		switch {
		case x < 1:
			return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
		case x < 2:
			return float64(float64(float64(float64(float64(x-5)*x)+8)*x)-4) * a
		}
		return 0
	}}
)

// resizeBits is the precision of Pillow's weights.
const resizeBits = 32 - 8 - 2

// window is the weights by which one output value is made of the inputs from first.
type window struct {
	first   int
	weights []int32 // times 2^resizeBits
}

// windows are the weights from a row of in values to one of out, of which n from the
// number from on (Pillow, src/libImaging/Resample.c, precompute_coeffs and
// normalize_coeffs_8bpc).
func (f filter) windows(in, out, from, n int) []window {
	scale := float64(in) / float64(out)
	stretch := max(1, scale)
	support := f.support * stretch
	all := make([]window, n)
	for i := range all {
		center := float64((float64(from+i) + 0.5) * scale)
		first := max(0, int(center-support+0.5))
		last := min(in, int(center+support+0.5))
		k := make([]float64, last-first)
		sum := 0.0
		for j := range k {
			k[j] = f.weight(float64((float64(j+first) - center + 0.5) * (1 / stretch)))
			sum += k[j]
		}
		w := window{first, make([]int32, len(k))}
		for j, v := range k {
			if sum != 0 {
				v /= sum
			}
			w.weights[j] = int32(math.Copysign(0.5, v) + float64(v*(1<<resizeBits)))
		}
		all[i] = w
	}
	return all
}

// resize is Pillow's Image.resize of 8-bit channels, to the bit: first across, then down,
// rounded to bytes in between, with weights in fixed point. That is the order of every
// Pillow up to 11 at least, and so of the authors' data; Pillow 13 begins with the height
// where that shrinks by more than twice as much, as of very tall images, and rounds
// otherwise there.
func resize(p picture, h, w int, f filter) picture { return resizePart(p, h, w, 0, 0, h, w, f) }

// resizePart is the part of resize to fullH×fullW that begins at (y0, x0) and has h×w
// pixels. Nothing else is computed: of an image as narrow as a line the rest may be
// enormous.
func resizePart(p picture, fullH, fullW, y0, x0, h, w int, f filter) picture {
	if fullW == p.w {
		p = p.crop(0, x0, p.h, w)
	} else {
		q := newPicture(p.h, w, p.c)
		for x, k := range f.windows(p.w, fullW, x0, w) {
			for y := range p.h {
				for c := range p.c {
					sum := int32(1 << (resizeBits - 1))
					at := (y*p.w+k.first)*p.c + c
					for _, weight := range k.weights {
						sum += int32(p.pix[at]) * weight
						at += p.c
					}
					q.pix[(y*w+x)*p.c+c] = clip(sum >> resizeBits)
				}
			}
		}
		p = q
	}
	if fullH == p.h {
		p = p.crop(y0, 0, h, p.w)
	} else {
		q := newPicture(h, p.w, p.c)
		row := p.w * p.c
		for y, k := range f.windows(p.h, fullH, y0, h) {
			for i := range row {
				sum := int32(1 << (resizeBits - 1))
				at := k.first*row + i
				for _, weight := range k.weights {
					sum += int32(p.pix[at]) * weight
					at += row
				}
				q.pix[y*row+i] = clip(sum >> resizeBits)
			}
		}
		p = q
	}
	return p
}

// crop brings pictures of any size to size×size.
type crop struct {
	name string
	to   func(p picture, size int) picture
}

var (
	// centreCrop is how guided-diffusion, and with it DDPM-IP, reads folders: halved by BOX
	// while the shorter side is at least twice the size, by BICUBIC to the size, and the
	// middle taken (image_datasets.py, center_crop_arr).
	centreCrop = crop{"halved by box, then bicubic, centre", func(p picture, size int) picture {
		for min(p.h, p.w) >= 2*size {
			p = resize(p, p.h/2, p.w/2, box)
		}
		return middle(p, size, bicubic)
	}}
	// lsunCrop is how their export of LSUN shrinks: by BOX at once, and the middle taken
	// (datasets/lsun_bedroom.py).
	lsunCrop = crop{"box, centre", func(p picture, size int) picture { return middle(p, size, box) }}
)

// middle resizes the shorter side to size and takes the middle of the longer one.
func middle(p picture, size int, f filter) picture {
	scale := float64(size) / float64(min(p.h, p.w))
	side := func(n int) int { return int(math.RoundToEven(float64(n) * scale)) }
	h, w := side(p.h), side(p.w)
	return resizePart(p, h, w, (h-size)/2, (w-size)/2, size, size, f)
}
