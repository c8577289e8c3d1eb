package data

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

const (
	fashionTest  = "fashion-mnist"
	fashionTrain = "fashion-mnist-train"
)

//go:embed fashion
var fashionFiles embed.FS

// published is a file as its authors publish it. The sum is that of its content
// after decompression, because packagers compress it anew: Debian's files and
// the authors' differ in the gzip header alone.
type published struct {
	name   string // with .gz; the same file without it is accepted too
	bytes  int64  // decompressed
	sha256 string
}

// source says what a set is made of.
type source struct {
	name           string
	images, labels published
	embedded       bool
	sizes          []int
}

var sources = map[string]source{
	fashionTest: {
		name:     fashionTest,
		images:   published{"t10k-images-idx3-ubyte.gz", 7840016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"},
		labels:   published{"t10k-labels-idx1-ubyte.gz", 10008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"},
		embedded: true,
		sizes:    []int{14, 28},
	},
	fashionTrain: {
		name:   fashionTrain,
		images: published{"train-images-idx3-ubyte.gz", 47040016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"},
		labels: published{"train-labels-idx1-ubyte.gz", 60008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"},
		sizes:  []int{14, 28},
	},
}

// builtIn are the embedded images and labels, read and checked once: they are
// opened often, and take some 10 MB.
var builtIn = sync.OnceValues(func() ([2]IDX, error) {
	return sources[fashionTest].read(func(f published) (IDX, error) {
		r, err := fashionFiles.Open("fashion/" + f.name)
		if err != nil {
			return IDX{}, err
		}
		defer r.Close()
		return f.read(r, "built-in "+f.name, "build ddpmlab again from a clean checkout")
	})
})

// open returns the set; dir may be empty.
func (s source) open(size int, dir string) (Set, error) {
	var both [2]IDX
	var err error
	if s.embedded {
		both, err = builtIn()
	} else {
		both, err = s.read(func(f published) (IDX, error) { return f.open(dir) })
	}
	if err != nil {
		return nil, err
	}
	return newImages(s.name, both[0], both[1], size, s.images.sha256, s.labels.sha256)
}

// read reads images and labels.
func (s source) read(file func(published) (IDX, error)) (both [2]IDX, err error) {
	if both[0], err = file(s.images); err != nil {
		return both, err
	}
	both[1], err = file(s.labels)
	return both, err
}

// open reads f from dir or one of Folders.
func (f published) open(dir string) (IDX, error) {
	path, err := f.find(dir)
	if err != nil {
		return IDX{}, err
	}
	r, err := os.Open(path)
	if err != nil {
		return IDX{}, err
	}
	defer r.Close()
	return f.read(r, path, "delete it and run `ddpmlab data fetch fashion-mnist-train`")
}

// read checks r against f and decodes it; where and cure go into the error.
func (f published) read(r io.Reader, where, cure string) (IDX, error) {
	content, err := f.content(r)
	if err != nil {
		return IDX{}, fmt.Errorf("%s is damaged: %w; %s", where, err, cure)
	}
	return ReadIDX(bytes.NewReader(content))
}

// content decompresses r if it is compressed, and checks length and sum.
func (f published) content(r io.Reader) ([]byte, error) {
	var magic [2]byte
	n, err := io.ReadFull(r, magic[:])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	r = io.MultiReader(bytes.NewReader(magic[:n]), r)
	if magic == [2]byte{0x1f, 0x8b} {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, err
		}
	}
	buf := bytes.NewBuffer(make([]byte, 0, f.bytes+bytes.MinRead))
	if _, err := io.Copy(buf, io.LimitReader(r, f.bytes+1)); err != nil {
		return nil, err
	}
	if got := int64(buf.Len()); got != f.bytes {
		return nil, fmt.Errorf("it holds %s bytes, want %d", atLeast(got, f.bytes), f.bytes)
	}
	sum := sha256.Sum256(buf.Bytes())
	if got := hex.EncodeToString(sum[:]); got != f.sha256 {
		return nil, fmt.Errorf("the SHA-256 of its content is %s, want %s", got, f.sha256)
	}
	return buf.Bytes(), nil
}

// atLeast writes n; reading stopped one byte after limit.
func atLeast(n, limit int64) string {
	if n > limit {
		return fmt.Sprintf("more than %d", limit)
	}
	return fmt.Sprint(n)
}

// find returns the path of f in dir, or in the first of Folders that has it.
func (f published) find(dir string) (string, error) {
	folders := []string{dir}
	if dir == "" {
		folders = Folders()
	}
	for _, d := range folders {
		for _, sub := range []string{"", fashionTest} { // the folder itself, or one for each set
			for _, name := range []string{f.name, trimGz(f.name)} {
				path := filepath.Join(d, sub, name)
				if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
					return path, nil
				}
			}
		}
	}
	return "", &NotFoundError{File: f.name, Folders: folders, Cure: fashionCure}
}

func trimGz(name string) string { return name[:len(name)-len(".gz")] }
