package engine

import (
	"context"
	"errors"
)

// Looper is what an Exec implements besides that makes whole iterations of training by
// itself: it keeps the images, draws what the program reads, and updates the state.
type Looper interface {
	// Loop prepares iterations, with ErrNoRoom where Feed.Images are too many to keep. The caller
	// closes the Loop before the Exec.
	Loop(Feed) (Loop, error)
}

// ErrNoRoom is that of images that do not fit a device's memory.
var ErrNoRoom = errors.New("there is no room for them")

// Feed says what the iterations of a Loop are made of. Random numbers are those of package
// philox, by the iteration and an image's place in the batch, whatever micro-batch that is in.
//
// The program's output 0 is the loss. The first axis of its inputs is the images of a
// micro-batch, and so is that of its last output, the loss of each.
type Feed struct {
	Sources []Source // of the inputs of the program
	Parts   int      // micro-batches in a batch
	Most    int      // iterations in a Run

	Images int        // how many there is room to keep
	Levels []float32  // the values of pixels, ascending, if there are at most 256: a byte each is kept then
	Flip   *[2]uint32 // key of the stream by whose top bits images are mirrored, left to right; nil: none is

	Index      [2]uint32   // key of the stream that draws an index for each image
	Indices    int         // it is below that
	Importance *Importance // nil: all are equally likely

	Averages [][]float32 // further moving averages of the weights, as they are now
}

// Source is where an input of a program comes from.
type Source struct {
	Kind  SourceKind
	Key   [2]uint32 // of the stream of Normals and Signs
	Table []float32 // of Lookup: a number for each index; of Constant: those of an image
}

// SourceKind says how an input is drawn.
type SourceKind int

const (
	Constant  SourceKind = iota // Table is that of every image
	Images                      // the images, [N,H,W,C]
	Normals                     // standard normal numbers
	Signs                       // -1 and +1
	Lookup                      // Table at each image's index
	Weight                      // 1/(n·p) of each image's index of n, drawn with probability p
	Counters                    // what Dropout is told
	LossScale                   // Guard.Scale
)

// Importance is the state of importance sampling: each index is drawn by the root mean
// square of its last losses (Nichol and Dhariwal, 2021), once all have so many.
type Importance struct {
	Losses  []float32 // Indices × History, the oldest first
	Held    []float32 // Indices: how many there are, up to History
	P       []float64 // Indices: what the next indices are drawn by; nil: uniformly
	History int
	Uniform float64 // share of uniform sampling
}

// Loop is a training in progress on a device.
type Loop interface {
	// Put keeps an image in one of the places that there are.
	Put(place int, image []float32) error
	// Run makes iterations, at most Feed.Most, and returns what came out, valid until the next
	// Run. One that has begun is not cancelled: after ctx ends, those made are returned with
	// ctx.Err().
	Run(ctx context.Context, its []Iteration, g Guard) ([]Outcome, error)
	// Average copies a further moving average.
	Average(i int, dst []float32)
	Close() error
}

// Iteration is what one iteration is told.
type Iteration struct {
	Images []int32   // where the images of the batch are kept
	Update AdamW     // Step is what it were if no iteration of this Run were skipped
	Rates  []float64 // of the further moving averages
}

// Guard says what becomes of iterations with a loss or gradient that is not finite: they
// change no weights.
type Guard struct {
	Step int64 // of the first iteration: what its random numbers are drawn by

	// The loss is multiplied by Scale before it is differentiated, and its gradient divided.
	// Good iterations multiply Scale by Growth. One with a gradient that is not finite halves it,
	// down to Floor.
	Scale, Growth, Floor float64

	// Others are bad, and after MostBad of them in a row no iteration of the Run changes anything.
	Bad, MostBad int64 // Bad: how many there were just before
}

// Outcome is what came out of an iteration.
type Outcome struct {
	Outputs []float32 // of each micro-batch, one after another
	Index   []float32 // of each image of the batch
	Norm    float64   // L2, of the gradient
}
