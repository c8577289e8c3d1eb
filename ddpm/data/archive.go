package data

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// archive is the image files of a zip, sorted by name.
type archive struct {
	name  string
	files []*zip.File
}

func (a archive) len() int           { return len(a.files) }
func (a archive) where(i int) string { return a.files[i].Name + " in " + a.name }

func (a archive) blob(i int) ([]byte, error) {
	r, err := a.files[i].Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readBlob(r)
}

// datasetJSON is where EDM keeps classes: {"labels": [["00000/img00000000.png", 6], ...]},
// or null.
const datasetJSON = "dataset.json"

// openZip opens an archive of image files, as EDM's dataset_tool makes them.
func openZip(p *place) (*found, error) {
	if !p.hasPrefix("PK\x03\x04") {
		return nil, nil
	}
	z, err := zip.NewReader(p.file, p.size)
	if err != nil {
		return nil, fmt.Errorf("%s: the archive is damaged or cut short (%w)", p.path, err)
	}
	a := archive{name: p.path}
	var table *zip.File
	for _, f := range z.File {
		switch {
		case f.Name == datasetJSON:
			table = f
		case isImageName(ending(f.Name)) && !strings.HasPrefix(f.Name, "__MACOSX"):
			a.files = append(a.files, f)
		}
	}
	if len(a.files) == 0 {
		return nil, nil
	}
	slices.SortFunc(a.files, func(x, y *zip.File) int { return strings.Compare(x.Name, y.Name) })
	var names []string
	for _, f := range a.files {
		names = append(names, f.Name)
	}
	out := &found{format: "zip of images", blobs: a, crop: centreCrop, files: []string{p.path}}
	if table == nil {
		out.labels, out.classes = classesOf(names)
		return out, nil
	}
	r, err := table.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.path, datasetJSON, err)
	}
	defer r.Close()
	if out.labels, err = readDatasetJSON(r, names); err != nil {
		return nil, fmt.Errorf("%s: %s: %w", p.path, datasetJSON, err)
	}
	out.format = "EDM's zip of images"
	return out, nil
}

// readDatasetJSON is the classes of the images with these names, nil if there are none.
func readDatasetJSON(r io.Reader, names []string) ([]int, error) {
	var table struct {
		Labels [][2]any `json:"labels"`
	}
	if err := json.NewDecoder(io.LimitReader(r, 1<<30)).Decode(&table); err != nil {
		return nil, fmt.Errorf("it is no table of classes: %w", err)
	}
	if len(table.Labels) == 0 {
		return nil, nil
	}
	class := map[string]int{}
	for _, l := range table.Labels {
		name, ok := l[0].(string)
		k, isNumber := l[1].(float64)
		if !ok || !isNumber || k < 0 || k != float64(int32(k)) {
			return nil, nil // classes that are vectors, of which nothing is known here
		}
		class[name] = int(k)
	}
	labels := make([]int, len(names))
	for i, n := range names {
		k, ok := class[n]
		if !ok {
			return nil, fmt.Errorf("it has no class for %s", n)
		}
		labels[i] = k
	}
	return labels, nil
}
