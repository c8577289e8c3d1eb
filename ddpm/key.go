package ddpm

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"ddpmlab/ddpm/data"
)

// NumericsVersion counts the changes that give a seeded run other losses. It is
// part of every run key: results of older numerics are not taken for new ones. The
// golden-losses test fails when the losses change and this number does not.
const NumericsVersion = 1

// Key identifies a run by all that decides its numbers: the SHA-256, in hex, of the
// canonical JSON of Config (without the preset's name and where the data lie), Variant,
// the data set's SHA-256 and NumericsVersion.
func Key(c Config, v Variant, dataSHA256 string) string {
	c.Preset = ""
	if !data.Fixed(c.Data) {
		c.Data = "" // a path says where the images are; their sum, which
	}
	c.Broken = ""
	if c.MaxBadSteps == DefaultBadSteps {
		c.MaxBadSteps = 0 // keys from before there was this field
	}
	h := sha256.Sum256(canonical(struct {
		Config     Config  `json:"config"`
		Variant    Variant `json:"variant"`
		DataSHA256 string  `json:"data_sha256"`
		Numerics   int     `json:"numerics"`
	}{c, v.Normal(), dataSHA256, NumericsVersion}))
	return hex.EncodeToString(h[:])
}

// canonical is x as JSON with sorted keys and without spaces, numbers as
// encoding/json writes them; nil for numbers that JSON lacks (Validate refuses
// them), so that a key is always a key.
func canonical(x any) []byte {
	text, err := json.Marshal(x)
	if err != nil {
		return nil
	}
	var tree any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil
	}
	text, err = json.Marshal(tree) // maps come out sorted by key
	if err != nil {
		return nil
	}
	return text
}
