package fid

import (
	"bytes"
	_ "embed"
	"fmt"

	"ddpmlab/ddpm/engine/cpu"
)

// fashionCNNFile is what this wrote:
//
//	go run ./cmd/ddpmlab data train-extractor --out ddpm/fid/fashion_cnn.bin
//
//go:embed fashion_cnn.bin
var fashionCNNFile []byte

// FashionCNN returns the extractor of Fashion-MNIST on the given number of
// threads, all processors if that is 0: the classifier with the weights that
// are built in. CNN.Training tells its accuracy. Close it after use.
func FashionCNN(threads int) (*CNN, error) {
	w, err := ReadWeights(bytes.NewReader(fashionCNNFile))
	if err != nil {
		return nil, fmt.Errorf("built-in %w; build ddpmlab again from a clean checkout", err)
	}
	dev, err := cpu.New(threads)
	if err != nil {
		return nil, fmt.Errorf("fashion-cnn: %w", err)
	}
	e, err := NewCNN(w, dev)
	if err != nil {
		dev.Close()
		return nil, err
	}
	return e, nil
}
