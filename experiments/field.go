package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/internal/suggest"
)

// variantPrefix begins the names of the variant's fields; it may be left out.
const variantPrefix = "variant."

// FieldNames lists the fields of configuration and variant by their names in JSON, as
// SetField takes them: those of the network as "model.NAME", those of the variant as
// they are, as "gamma".
func FieldNames() []string {
	names := namesIn("", reflect.TypeFor[ddpm.Config]())
	names = append(names, namesIn("", reflect.TypeFor[ddpm.Variant]())...)
	slices.Sort(names)
	return names
}

func namesIn(prefix string, t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Type.Kind() == reflect.Struct {
			names = append(names, namesIn(prefix+name+".", f.Type)...)
		} else {
			names = append(names, prefix+name)
		}
	}
	return names
}

// SetField sets one field of the configuration or the variant from a text, as "0.1",
// "true", "cosine" or "[1, 2]". That the whole can be trained is for Validate to say.
func SetField(c *ddpm.Config, v *ddpm.Variant, name, value string) error {
	f := fieldOf(c, v, name)
	if !f.IsValid() {
		names := FieldNames()
		if near := suggest.Nearest(strings.TrimPrefix(name, variantPrefix), names); near != "" {
			return fmt.Errorf("unknown field %s: did you mean %s?", name, near)
		}
		return fmt.Errorf("unknown field %s: there are %s", name, strings.Join(names, ", "))
	}
	if err := setValue(f, strings.TrimSpace(value)); err != nil {
		return fmt.Errorf("%s is %q; want %w", name, value, err)
	}
	return nil
}

// fieldOf is the field of that name, to be set; invalid where there is none.
func fieldOf(c *ddpm.Config, v *ddpm.Variant, name string) reflect.Value {
	if short, ok := strings.CutPrefix(name, variantPrefix); ok {
		return walkTo(reflect.ValueOf(v).Elem(), short)
	}
	if f := walkTo(reflect.ValueOf(c).Elem(), name); f.IsValid() {
		return f
	}
	return walkTo(reflect.ValueOf(v).Elem(), name)
}

func walkTo(s reflect.Value, name string) reflect.Value {
	first, rest, nested := strings.Cut(name, ".")
	for i := range s.NumField() {
		tag, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		switch isStruct := s.Field(i).Kind() == reflect.Struct; {
		case tag != first || isStruct != nested:
		case nested:
			return walkTo(s.Field(i), rest)
		default:
			return s.Field(i)
		}
	}
	return reflect.Value{}
}

// setValue sets f from a text. Its error is what is wanted instead.
func setValue(f reflect.Value, text string) error {
	switch f.Kind() {
	case reflect.String:
		if unquoted, err := strconv.Unquote(text); err == nil {
			text = unquoted
		}
		f.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return errors.New("true or false")
		}
		f.SetBool(b)
	case reflect.Int, reflect.Int64:
		n, err := wholeNumber(text)
		if err != nil {
			return errors.New("a whole number")
		}
		f.SetInt(n)
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return errors.New("a whole number, 0 or more")
		}
		f.SetUint(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return errors.New("a number, as 0.1 or 1e-6")
		}
		f.SetFloat(x)
	default: // lists
		fresh := reflect.New(f.Type())
		if err := json.Unmarshal([]byte(text), fresh.Interface()); err != nil {
			return errors.New("a list of numbers, as [1, 2, 4]")
		}
		f.Set(fresh.Elem())
	}
	return nil
}

// wholeNumber also takes 1e4, as people write iterations.
func wholeNumber(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || x != float64(int64(x)) || x > 1<<53 || x < -1<<53 {
		return 0, errors.New("no whole number")
	}
	return int64(x), nil
}
