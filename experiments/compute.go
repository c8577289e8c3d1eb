package experiments

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/data"
	"ddpmlab/ddpm/engine"
	"ddpmlab/ddpm/engine/cpu"
	"ddpmlab/ddpm/fid"
)

// openData opens the data of a configuration, once for each store.
func (s *Store) openData(c ddpm.Config) (data.Set, error) {
	s.opening.Lock()
	defer s.opening.Unlock()
	key := fmt.Sprintf("%s %d", c.Data, c.Model.Size)
	if set := s.sets[key]; set != nil {
		return set, nil
	}
	set, err := data.Open(c.Data, c.Model.Size)
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
	if !strings.HasPrefix(name, "fashion-mnist") {
		return nil, fmt.Errorf("no feature extractor for the images of %s; set eval_samples to 0 to train without scores", name)
	}
	e, err := fid.FashionCNN(s.Threads)
	if err != nil {
		return nil, err
	}
	if s.extractors == nil {
		s.extractors = make(map[string]fid.Extractor)
	}
	s.extractors[name] = e
	return e, nil
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

// openDevice opens the device to compute on, unless the caller gave one.
func (s *Store) openDevice() (d engine.Device, end func() error, err error) {
	if s.Device != nil {
		return s.Device, func() error { return nil }, nil
	}
	if d, err = cpu.New(s.Threads); err != nil {
		return nil, nil, err
	}
	return d, d.Close, nil
}
