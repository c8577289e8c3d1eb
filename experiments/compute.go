package experiments

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/device"
	"ddpmlab/ddpm/fid"
)

// openData opens the data of a configuration, once for each store.
func (s *Store) openData(c ddpm.Config) (data.Set, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	key := fmt.Sprintf("%s %d %s", c.Data, c.Model.Size, c.Broken)
	if set := s.sets[key]; set != nil {
		return set, nil
	}
	set, err := c.OpenData()
	if err != nil {
		return nil, err
	}
	if s.sets == nil {
		s.sets = make(map[string]data.Set)
	}
	s.sets[key] = set
	return set, nil
}

// openExtractor opens the feature extractor that suits the data, once for each store.
func (s *Store) openExtractor(name string) (fid.Extractor, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if e := s.extractors[name]; e != nil {
		return e, nil
	}
	e, err := s.extractorFor(name)
	if err != nil {
		return nil, err
	}
	if s.extractors == nil {
		s.extractors = make(map[string]fid.Extractor)
	}
	s.extractors[name] = e
	return e, nil
}

// inceptionVariable is the environment variable that names the weights of Inception.
const inceptionVariable = "DDPMLAB_INCEPTION"

// extractorFor is the built-in classifier for Fashion-MNIST, and for other data the
// Inception network, if there are weights.
func (s *Store) extractorFor(name string) (fid.Network, error) {
	if strings.HasPrefix(name, "fashion-mnist") {
		return fid.FashionCNN(s.Threads)
	}
	path := os.Getenv(inceptionVariable)
	if path == "" {
		return nil, fmt.Errorf("no feature extractor for the images of %s: name the weights of Inception by %s, or set eval_samples to 0 to train without scores", name, inceptionVariable)
	}
	return fid.OpenInception(path, fid.InceptionOptions{Threads: s.Threads})
}

func (s *Store) closeExtractors() error {
	s.opening.Lock()
	defer s.opening.Unlock()
	var err error
	for _, e := range s.extractors {
		if c, ok := e.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	s.extractors = nil
	return err
}

// EnvDevice is the environment variable that names the device to compute on: auto (the
// default: a GPU if this program can use one), cpu or cuda.
const EnvDevice = "DDPMLAB_DEVICE"

// openDevice opens the device to compute on, unless the caller gave one.
func (s *Store) openDevice() (d engine.Device, end func() error, err error) {
	if s.Device != nil {
		return s.Device, func() error { return nil }, nil
	}
	if d, err = device.Open(os.Getenv(EnvDevice), s.Threads); err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}
