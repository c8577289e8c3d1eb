package fid

import "context"

// Outputs is what a network makes of n images, one image after another.
type Outputs struct {
	Pool    []float32 // n × Extractor.Dim, behind the last pooling: FID, KID, precision and recall
	Spatial []float32 // n × Network.SpatialDim, of a layer that still knows places: sFID; rows, columns, channels
	Logits  []float32 // n × Network.Classes, of the classifier without its bias: the Inception score
}

// Network is an Extractor that is a classifier and tells more than one layer.
type Network interface {
	Extractor
	SpatialDim() int // 0: it has no such layer
	Classes() int
	// Outputs runs the network on n images of h×w×c bytes, NHWC, rows from top to
	// bottom. All images have one size; calls with other sizes may follow. The
	// outputs of an image do not depend on the others. It fails if the network does
	// not take images of that shape, and as soon as ctx is cancelled.
	Outputs(ctx context.Context, images []byte, n, h, w, c int) (Outputs, error)
}
