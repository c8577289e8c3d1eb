package kernels

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Param is where a parameter of a kernel lies among its arguments, in bytes.
type Param struct{ Offset, Size int }

// Layouts returns the parameters of every kernel of an image, as the compiler laid
// them out: what a launch has to pack. The image's machine codes must agree.
func Layouts(image []byte) (map[string][]Param, error) {
	all := map[string][]Param{}
	codes := 0
	for at := 0; ; {
		i := bytes.Index(image[at:], []byte(elf.ELFMAG))
		if i < 0 {
			break
		}
		at += i
		f, err := elf.NewFile(bytes.NewReader(image[at:]))
		if err != nil {
			return nil, fmt.Errorf("machine code at %d of the image: %w", at, err)
		}
		if err := addLayouts(all, f, codes == 0); err != nil {
			return nil, fmt.Errorf("machine code at %d of the image: %w", at, err)
		}
		codes++
		at += len(elf.ELFMAG)
	}
	if codes == 0 {
		return nil, fmt.Errorf("the image of %d bytes has no machine code", len(image))
	}
	return all, nil
}

// addLayouts reads the sections .nv.info.KERNEL of a cubin.
func addLayouts(all map[string][]Param, f *elf.File, first bool) error {
	for _, s := range f.Sections {
		name, ok := strings.CutPrefix(s.Name, ".nv.info.")
		if !ok {
			continue
		}
		info, err := s.Data()
		if err != nil {
			return fmt.Errorf("section %s: %w", s.Name, err)
		}
		params, err := paramsOf(info)
		if err != nil {
			return fmt.Errorf("section %s: %w", s.Name, err)
		}
		if !first && !slices.Equal(all[name], params) {
			return fmt.Errorf("kernel %s has other parameters than in other machine code", name)
		}
		all[name] = params
	}
	return nil
}

// Attributes of .nv.info: a byte format, a byte kind, then two bytes, which with
// formatSized are the length of what follows.
const (
	formatSized = 4
	kindParam   = 0x17 // uint32 index, uint16 ordinal, uint16 offset, uint32 whose upper 14 bits are the size
)

func paramsOf(info []byte) ([]Param, error) {
	var params []Param
	for len(info) >= 4 {
		format, kind, n := info[0], info[1], int(binary.LittleEndian.Uint16(info[2:]))
		info = info[4:]
		if format != formatSized {
			continue
		}
		if n > len(info) {
			return nil, fmt.Errorf("an attribute of %d bytes in the last %d", n, len(info))
		}
		if kind == kindParam && n == 12 {
			ordinal := int(binary.LittleEndian.Uint16(info[4:]))
			for len(params) <= ordinal {
				params = append(params, Param{})
			}
			params[ordinal] = Param{int(binary.LittleEndian.Uint16(info[6:])), int(binary.LittleEndian.Uint32(info[8:]) >> 18)}
		}
		info = info[n:]
	}
	return params, nil
}
