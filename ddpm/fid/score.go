package fid

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/stat"
)

// ScoreSplit is how many images a split of the Inception score has in the authors'
// evaluation.
const ScoreSplit = 5000

// ClassScore gathers the Inception score (Salimans et al., 2016): exp of the mean
// divergence of an image's classes from those of its split, the images taken in order. The
// last split may be smaller.
type ClassScore struct {
	classes, split int
	n              int       // images in the split so far
	sum            []float64 // of their probabilities
	entropy        float64   // sum of p·log p
	scores         []float64 // of the splits that are full
}

// NewClassScore returns an empty one.
func NewClassScore(classes, split int) *ClassScore {
	return &ClassScore{classes: classes, split: split, sum: make([]float64, classes)}
}

// Add takes the logits of some images.
func (s *ClassScore) Add(logits []float32) {
	p := make([]float64, s.classes)
	for ; len(logits) >= s.classes && s.classes > 0; logits = logits[s.classes:] {
		most, total := math.Inf(-1), 0.0
		for _, v := range logits[:s.classes] {
			most = max(most, float64(v))
		}
		for k, v := range logits[:s.classes] {
			p[k] = math.Exp(float64(v) - most)
			total += p[k]
		}
		for k, v := range logits[:s.classes] {
			q := p[k] / total
			s.sum[k] += q
			s.entropy += q * (float64(v) - most - math.Log(total))
		}
		if s.n++; s.n == s.split {
			s.scores = append(s.scores, s.value())
			s.n, s.entropy = 0, 0
			clear(s.sum)
		}
	}
}

// value is the score of the split so far.
func (s *ClassScore) value() float64 {
	kl := s.entropy / float64(s.n)
	for _, v := range s.sum {
		if q := v / float64(s.n); q > 0 {
			kl -= q * math.Log(q)
		}
	}
	return math.Exp(kl)
}

// Score returns mean and deviation (of the splits themselves: divided by their number,
// not one less) over the splits.
func (s *ClassScore) Score() (mean, sd float64, err error) {
	scores := s.scores
	if s.n > 0 {
		scores = append(scores[:len(scores):len(scores)], s.value())
	}
	if len(scores) == 0 {
		return 0, 0, fmt.Errorf("class score of no images")
	}
	mean, variance := stat.PopMeanVariance(scores, nil)
	return mean, math.Sqrt(variance), nil
}
