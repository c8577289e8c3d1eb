package experiments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ddpmlab/ddpm"
)

// field is a field of the configuration or the variant, by the name that flatten gives it.
type field struct {
	name  string
	index []int // in ddpm.Config, or in ddpm.Variant
	of    reflect.Type
	typ   reflect.Type
	omit  bool // absent where it is zero
}

// fields are all of them, by name, the variant's last.
var fields = sync.OnceValue(func() []field {
	return append(fieldsOf(reflect.TypeFor[ddpm.Config](), ""), fieldsOf(reflect.TypeFor[ddpm.Variant](), "variant.")...)
})

func fieldsOf(of reflect.Type, prefix string) []field {
	var all []field
	var walk func(t reflect.Type, prefix string, index []int)
	walk = func(t reflect.Type, prefix string, index []int) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			at := append(slices.Clone(index), i)
			switch {
			case !f.IsExported() || name == "-":
			case f.Type.Kind() == reflect.Struct:
				walk(f.Type, prefix+name+".", at)
			default:
				all = append(all, field{prefix + name, at, of, f.Type, options == "omitempty"})
			}
		}
	}
	walk(of, prefix, nil)
	slices.SortFunc(all, func(a, b field) int { return strings.Compare(a.name, b.name) })
	return all
}

// value is the run's field.
func (f field) value(r *Run) reflect.Value {
	if f.of == reflect.TypeFor[ddpm.Config]() {
		return reflect.ValueOf(&r.Config).Elem().FieldByIndex(f.index)
	}
	return reflect.ValueOf(&r.Variant).Elem().FieldByIndex(f.index)
}

// same reports whether two runs have the same in the field.
func (f field) same(a, b *Run) bool {
	x, y := f.value(a), f.value(b)
	if x.Comparable() {
		return x.Equal(y)
	}
	return f.text(a) == f.text(b)
}

// text is the run's field as flatten has it, and "" where the run has none.
func (f field) text(r *Run) string {
	v := f.value(r)
	if f.omit && v.IsZero() {
		return ""
	}
	switch v.Kind() {
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10)
	case reflect.Float64:
		if x := v.Float(); x == math.Trunc(x) && math.Abs(x) < 1e15 {
			return strconv.FormatInt(int64(x), 10)
		}
		return fmt.Sprint(v.Float())
	case reflect.Slice:
		if v.Len() == 0 && f.omit || v.IsNil() {
			return ""
		}
		text, err := json.Marshal(v.Interface())
		if err != nil {
			return err.Error() // of numbers: NaN, which Validate refuses
		}
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// kind is how queries compare the field.
func (f field) kind() kind {
	if f.typ.Kind() == reflect.String || f.typ.Kind() == reflect.Slice {
		return kindText
	}
	return kindNumber
}

// parsedConfigs decodes the configurations of many runs. They mostly differ in the seed
// alone, so each is decoded once without it.
type parsedConfigs struct {
	configs  map[string]ddpm.Config
	variants map[string]ddpm.Variant
}

func newParsedConfigs() *parsedConfigs {
	return &parsedConfigs{make(map[string]ddpm.Config), make(map[string]ddpm.Variant)}
}

func (p *parsedConfigs) config(text []byte) (c ddpm.Config, err error) {
	head, seed, tail, ok := cutSeed(text)
	if !ok {
		return c, json.Unmarshal(text, &c)
	}
	key := string(head) + string(tail)
	c, known := p.configs[key]
	if !known {
		if err := json.Unmarshal(text, &c); err != nil {
			return c, err
		}
		p.configs[key] = c
	}
	c.Seed = seed
	return unshared(c), nil
}

func (p *parsedConfigs) variant(text []byte) (v ddpm.Variant, err error) {
	v, known := p.variants[string(text)]
	if !known {
		if err := json.Unmarshal(text, &v); err != nil {
			return v, err
		}
		p.variants[string(text)] = v
	}
	return v, nil
}

// cutSeed takes the seed out of a configuration as JSON.
func cutSeed(text []byte) (head []byte, seed uint64, tail []byte, ok bool) {
	const name = `"seed":`
	i := bytes.LastIndex(text, []byte(name))
	if i < 0 {
		return nil, 0, nil, false
	}
	i += len(name)
	n := bytes.IndexFunc(text[i:], func(r rune) bool { return r < '0' || r > '9' })
	if n < 1 {
		return nil, 0, nil, false
	}
	seed, err := strconv.ParseUint(string(text[i:i+n]), 10, 64)
	return text[:i], seed, text[i+n:], err == nil
}

// unshared is c with lists of its own.
func unshared(c ddpm.Config) ddpm.Config {
	c.Model.Mult = slices.Clone(c.Model.Mult)
	c.Model.Attention = slices.Clone(c.Model.Attention)
	c.ExtraEMA = slices.Clone(c.ExtraEMA)
	return c
}
