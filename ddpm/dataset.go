package ddpm

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ddpmlab/ddpm/data"
	"ddpmlab/internal/render"
)

// OpenData opens the images that a run with this configuration is trained on.
func (c Config) OpenData() (data.Set, error) {
	return data.OpenWith(c.Data, c.Model.Size, data.Options{Broken: c.Broken})
}

// CheckData reports why a run with this configuration cannot be trained on the set.
func (c Config) CheckData(set data.Set) error {
	m := c.Model
	if h, w, n := set.Shape(); h != m.Size || w != m.Size || n != m.InChannels {
		return fmt.Errorf("images of %s are %d×%d×%d; the model takes %d×%d×%d: change model.size or model.in_channels, or the data",
			set.Name(), h, w, n, m.Size, m.Size, m.InChannels)
	}
	if n := set.Len(); c.Batch > n {
		return fieldError("config", "batch", c.Batch, fmt.Sprintf("1 to %d, the images of %s", n, set.Name()))
	}
	return nil
}

// On is the configuration for other data: the images of a name or path that data.Open
// takes. The network gets as many channels as they have, and their size if they are arrays;
// image files are cropped to the size that it has. There are no scores of data that no
// feature extractor is for.
func (c Config) On(path string) (Config, error) {
	c = c.clone()
	c.Data = path
	set, err := c.OpenData()
	if e, ok := errors.AsType[*data.SizeError](err); ok {
		c.Model.Size = e.Size
		set, err = c.OpenData()
	}
	if err != nil {
		return c, err
	}
	_, _, channels := set.Shape()
	c.Model.OutChannels = c.Model.OutChannels / max(1, c.Model.InChannels) * channels
	c.Model.InChannels = channels
	if !strings.HasPrefix(path, "fashion-mnist") {
		c.EvalFirst, c.EvalEvery, c.EvalSamples = 0, 0, 0
	}
	return c, nil
}

// DataCard describes a data set, with some of its images.
type DataCard struct {
	Name                    string
	N                       int
	Height, Width, Channels int
	Counts                  []int // images by class
	SHA256                  string
	Info                    data.Info // of one that was opened from files
	Images                  Images    // from all over it
}

// Describe describes a set, with n images from all over it.
func Describe(set data.Set, n int) (*DataCard, error) {
	d := &DataCard{Name: set.Name(), N: set.Len(), SHA256: set.SHA256()}
	d.Height, d.Width, d.Channels = set.Shape()
	d.Info, _ = data.Describe(set)
	for i := range set.Len() {
		label := set.Label(i)
		if label >= 1<<16 {
			d.Counts = nil
			break
		}
		if label >= len(d.Counts) {
			d.Counts = append(d.Counts, make([]int, label+1-len(d.Counts))...)
		}
		d.Counts[label]++
	}
	n = max(0, min(n, set.Len()))
	d.Images = NewImages(n, d.Height, d.Width, d.Channels)
	for i := range n {
		if err := set.Read(i*set.Len()/n, d.Images.At(i)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// maxCounts is how many classes are listed one by one.
const maxCounts = 20

// table is the card's text.
func (d *DataCard) table() *render.Table {
	t := &render.Table{Columns: render.Left("Data set", d.Name)}
	i := d.Info
	if i.Format != "" {
		t.Add("format", i.Format)
		t.Add("files", fmt.Sprint(i.Files))
	}
	t.Add("images", fmt.Sprint(d.N))
	t.Add("shape", fmt.Sprintf("%d×%d×%d (height, width, channels)", d.Height, d.Width, d.Channels))
	if i.Crop != "" {
		t.Add("stored", fmt.Sprintf("%s × %s pixels; brought to size: %s", span(i.Sizes[0], i.Sizes[1]), span(i.Sizes[2], i.Sizes[3]), i.Crop))
	}
	switch {
	case i.Format != "" && !i.Labels:
		t.Add("classes", "none")
	case len(d.Counts) > maxCounts:
		used := slices.Sorted(slices.Values(d.Counts))
		t.Add("classes", fmt.Sprintf("%d, of %d to %d images", len(d.Counts), used[0], used[len(used)-1]))
	case len(i.Classes) == len(d.Counts) && len(i.Classes) > 0:
		var parts []string
		for k, n := range d.Counts {
			parts = append(parts, fmt.Sprintf("%s %d", i.Classes[k], n))
		}
		t.Add("images by class", strings.Join(parts, ", "))
	default:
		t.Add("images by class", strings.Trim(fmt.Sprint(d.Counts), "[]"))
	}
	for _, f := range i.Left {
		t.Add("not used", f)
	}
	for k, b := range i.Broken {
		if k == 10 {
			t.Add("broken", fmt.Sprintf("and %d more", len(i.Broken)-k))
			break
		}
		t.Add("broken", b)
	}
	t.Add("SHA-256", d.SHA256)
	return t
}

func span(a, b int) string {
	if a == b {
		return fmt.Sprint(a)
	}
	return fmt.Sprintf("%d to %d", a, b)
}

// String is the card as a table of text.
func (d *DataCard) String() string { return d.table().String() }

// Bundle is how a notebook shows the card: the table and the images.
func (d *DataCard) Bundle() render.Bundle {
	b, t := d.Images.Bundle(), d.table()
	b.Set(render.Plain, []byte(t.String()))
	html := t.HTML()
	if grid := b.Data[render.PNG]; len(grid) > 0 {
		html += fmt.Sprintf(`<img alt="%d images" src="data:image/png;base64,%s">`, d.Images.N, base64.StdEncoding.EncodeToString(grid))
	}
	b.Set(render.HTML, []byte(html))
	return b
}
