package experiments

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// param is one field of a configuration or variant, with its type.
type param struct {
	name, kind string
	value      any // int64, float64, bool or string, as kind says
}

// flatten lists the fields of a configuration and a variant, both JSON objects, by
// name: "lr", "model.channels", "variant.gamma". Lists, and integers beyond int64, are
// JSON text.
func flatten(config, variant []byte) []param {
	var out []param
	walk("", decode(config), &out)
	walk("variant", decode(variant), &out)
	return out
}

// decode is a JSON text as maps, with numbers as they are written.
func decode(text []byte) any {
	var tree any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		return nil // not of our making: these are results of json.Marshal
	}
	return tree
}

func walk(name string, value any, out *[]param) {
	add := func(kind string, v any) { *out = append(*out, param{name, kind, v}) }
	switch v := value.(type) {
	case nil:
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			field := key
			if name != "" {
				field = name + "." + key
			}
			walk(field, v[key], out)
		}
	case bool:
		add("bool", v)
	case string:
		add("string", v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			add("int", n)
		} else if x, err := v.Float64(); err == nil && !isInteger(v) {
			add("float", x)
		} else {
			add("json", v.String())
		}
	default:
		text, err := json.Marshal(v)
		if err == nil {
			add("json", string(text))
		}
	}
}

func isInteger(n json.Number) bool {
	_, err := strconv.ParseUint(n.String(), 10, 64)
	return err == nil
}
