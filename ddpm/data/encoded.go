package data

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// blobs are image files, wherever they lie.
type blobs interface {
	len() int
	// blob returns the bytes of image file i, at most maxBlob.
	blob(i int) ([]byte, error)
	where(i int) string
}

// maxBlob bounds one image file.
const maxBlob = 256 << 20

// encoded is a reader of image files: those of blobs with the numbers in use.
type encoded struct {
	blobs
	use []int32
}

func (e *encoded) len() int           { return len(e.use) }
func (e *encoded) where(i int) string { return e.blobs.where(int(e.use[i])) }

func (e *encoded) read(i int) (picture, error) {
	b, err := e.blob(int(e.use[i]))
	if err != nil {
		return picture{}, err
	}
	return decodePicture(b)
}

// scan is what a pass over all image files finds.
type scan struct {
	SHA256 string           `json:"sha256"` // of those that are not broken
	Grey   bool             `json:"grey"`   // all of them are
	Sizes  [4]int           `json:"sizes"`  // least and largest height, least and largest width
	Broken map[int32]string `json:"broken"` // what is wrong, by number
}

// scanBlobs reads all image files on all processors; deep decodes them too, which finds
// damage that does not show in the files' structure.
func scanBlobs(b blobs, deep bool) (scan, error) {
	type result struct {
		sum  [sha256.Size]byte
		h, w int
		grey bool
		bad  error
	}
	out := scan{Grey: true, Broken: map[int32]string{}}
	total := sha256.New()
	const block = 1 << 12
	found := make([]result, block)
	for first := 0; first < b.len(); first += block {
		n := min(block, b.len()-first)
		next := make(chan int)
		var workers sync.WaitGroup
		for range runtime.GOMAXPROCS(0) {
			workers.Go(func() {
				for i := range next {
					r := result{}
					var body []byte
					if body, r.bad = b.blob(first + i); r.bad == nil {
						r.sum = sha256.Sum256(body)
						r.h, r.w, r.grey, r.bad = checkPicture(body, deep)
					}
					found[i] = r
				}
			})
		}
		for i := range n {
			next <- i
		}
		close(next)
		workers.Wait()
		for i, r := range found[:n] {
			if r.bad != nil {
				out.Broken[int32(first+i)] = r.bad.Error()
				continue
			}
			total.Write(r.sum[:])
			out.Grey = out.Grey && r.grey
			s := &out.Sizes
			if s[0] == 0 {
				*s = [4]int{r.h, r.h, r.w, r.w}
			}
			*s = [4]int{min(s[0], r.h), max(s[1], r.h), min(s[2], r.w), max(s[3], r.w)}
		}
	}
	out.SHA256 = fmt.Sprintf("%x", total.Sum(nil))
	return out, nil
}

// folder is image files below a folder, by their paths from there.
type folder struct {
	root  string
	paths []string
}

func (f folder) len() int           { return len(f.paths) }
func (f folder) where(i int) string { return filepath.Join(f.root, f.paths[i]) }

func (f folder) blob(i int) ([]byte, error) {
	file, err := os.Open(f.where(i))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBlob(file)
}

// readBlob reads an image file, up to the bound.
func readBlob(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBlob+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxBlob {
		return nil, fmt.Errorf("the file has more than %d MB; no image needs that", maxBlob>>20)
	}
	return b, nil
}
