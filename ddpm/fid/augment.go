package fid

import "ddpmlab/ddpm/philox"

// maxShift is how far, in pixels of the 28×28 image, training moves an image.
const maxShift = 1

// augmentation is stored with the weights.
const augmentation = "flip 1/2, shift ±1 of 28 pixels"

// augmented writes the 14×14 input of one 28×28 training image, half of the time
// mirrored, moved by up to maxShift pixels each way (the border is background,
// -1), then averaged 2×2. The choice depends on seed, epoch and image alone.
func augmented(dst, image []float32, stream philox.Stream, epoch, index int) {
	flip := stream.Below(2, uint64(epoch), uint32(index), 0) == 1
	dy := stream.Below(2*maxShift+1, uint64(epoch), uint32(index), 1) - maxShift
	dx := stream.Below(2*maxShift+1, uint64(epoch), uint32(index), 2) - maxShift
	const size = 2 * inputSize
	at := func(y, x int) float32 {
		y, x = y-dy, x-dx
		if y < 0 || y >= size || x < 0 || x >= size {
			return -1
		}
		if flip {
			x = size - 1 - x
		}
		return image[y*size+x]
	}
	for y := range inputSize {
		for x := range inputSize {
			dst[y*inputSize+x] = (at(2*y, 2*x) + at(2*y, 2*x+1) + at(2*y+1, 2*x) + at(2*y+1, 2*x+1)) / 4
		}
	}
}

// halve writes the 14×14 mean of one 28×28 image.
func halve(dst, image []float32) {
	const size = 2 * inputSize
	for y := range inputSize {
		for x := range inputSize {
			p := image[2*y*size+2*x:]
			dst[y*inputSize+x] = (p[0] + p[1] + p[size] + p[size+1]) / 4
		}
	}
}
