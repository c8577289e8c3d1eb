package data

import "image"

// Lossy image files keep colour at half resolution. Decoders differ in how they bring it
// back and turn it to RGB; these are the ways of libjpeg-turbo and libwebp, hence Pillow's.

// fromJPEG interpolates colour in triangles (libjpeg's "fancy upsampling", jdsample.c)
// and converts by its tables (jdcolor.c).
func fromJPEG(m *image.YCbCr) picture {
	r := m.Bounds()
	h, w := r.Dy(), r.Dx()
	p := newPicture(h, w, 3)
	var cb, cr []byte // of one row of pixels
	for y := range h {
		switch m.SubsampleRatio {
		case image.YCbCrSubsampleRatio420:
			cb, cr = twiceBoth(cb, m.Cb, m.CStride, y, h, w), twiceBoth(cr, m.Cr, m.CStride, y, h, w)
		case image.YCbCrSubsampleRatio422:
			cb, cr = twiceAcross(cb, m.Cb[y*m.CStride:], w), twiceAcross(cr, m.Cr[y*m.CStride:], w)
		default:
			cb, cr = cb[:0], cr[:0]
			for x := range w {
				at := m.COffset(r.Min.X+x, r.Min.Y+y)
				cb, cr = append(cb, m.Cb[at]), append(cr, m.Cr[at])
			}
		}
		luma := m.Y[y*m.YStride:]
		for x := range w {
			l, b, d := int32(luma[x]), int32(cb[x])-128, int32(cr[x])-128
			out := p.pix[(y*w+x)*3:]
			out[0] = clip(l + (91881*d+1<<15)>>16)
			out[1] = clip(l + (-22554*b-46802*d+1<<15)>>16)
			out[2] = clip(l + (116130*b+1<<15)>>16)
		}
	}
	return p
}

func clip(v int32) byte { return byte(max(0, min(255, v))) }

// twiceAcross is a row of w values from one of half as many (h2v1_fancy_upsample).
func twiceAcross(dst, in []byte, w int) []byte {
	n := (w + 1) / 2
	dst = dst[:0]
	for x := range w {
		i := x / 2
		v := int(in[i])
		switch {
		case x%2 == 0 && i > 0:
			v = (3*v + int(in[i-1]) + 1) >> 2
		case x%2 == 1 && i+1 < n:
			v = (3*v + int(in[i+1]) + 2) >> 2
		}
		dst = append(dst, byte(v))
	}
	return dst
}

// twiceBoth is row y of h×w values from a plane of half the height and width
// (h2v2_fancy_upsample).
func twiceBoth(dst, plane []byte, stride, y, h, w int) []byte {
	n, rows := (w+1)/2, (h+1)/2
	near := y / 2
	far := max(0, min(rows-1, near+2*(y%2)-1))
	a, b := plane[near*stride:], plane[far*stride:]
	sum := func(i int) int { return 3*int(a[i]) + int(b[i]) }
	dst = dst[:0]
	for x := range w {
		i := x / 2
		s := sum(i)
		switch {
		case x%2 == 0 && i == 0:
			s = (4*s + 8) >> 4
		case x%2 == 0:
			s = (3*s + sum(i-1) + 8) >> 4
		case i+1 < n:
			s = (3*s + sum(i+1) + 7) >> 4
		default:
			s = (4*s + 7) >> 4
		}
		dst = append(dst, byte(s))
	}
	return dst
}

// fromWebP interpolates colour with weights 9, 3, 3, 1 (libwebp, upsampling.c) and
// converts from the video range, 16 to 235 (yuv.h). Go's own conversion takes it for
// JPEG's range and so fades the colours.
func fromWebP(m *image.YCbCr) picture {
	r := m.Bounds()
	h, w := r.Dy(), r.Dx()
	p := newPicture(h, w, 3)
	rows := (h + 1) / 2
	for y := range h {
		// Rows 2k+1 and 2k+2 lie between the colour rows k and k+1; each is nearer to one.
		near := y / 2
		far := max(0, min(rows-1, near+2*(y%2)-1))
		luma := m.Y[y*m.YStride:]
		u0, u1 := m.Cb[near*m.CStride:], m.Cb[far*m.CStride:]
		v0, v1 := m.Cr[near*m.CStride:], m.Cr[far*m.CStride:]
		for x := range w {
			l := int32(luma[x])
			u, v := between(u0, u1, x, w), between(v0, v1, x, w)
			out := p.pix[(y*w+x)*3:]
			out[0] = clip6(high(l, 19077) + high(v, 26149) - 14234)
			out[1] = clip6(high(l, 19077) - high(u, 6419) - high(v, 13320) + 8708)
			out[2] = clip6(high(l, 19077) + high(u, 33050) - 17685)
		}
	}
	return p
}

// between is the colour of pixel x of a row of w from the colour rows near and far, with
// the roundings of libwebp.
func between(near, far []byte, x, w int) int32 {
	i := x / 2
	j := i + 2*(x%2) - 1 // the other column
	a, b := int32(near[i]), int32(far[i])
	if j < 0 || j >= (w+1)/2 {
		return (3*a + b + 2) >> 2
	}
	c, d := int32(near[j]), int32(far[j])
	// The far diagonal's mean, then that with the nearest.
	return ((a+b+c+d+8+2*(b+c))>>3 + a) >> 1
}

func high(v, k int32) int32 { return v * k >> 8 }

func clip6(v int32) byte { return byte(max(0, min(255, v>>6))) }
