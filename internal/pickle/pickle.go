// Package pickle reads Python's pickles without executing anything: what a pickle would
// import or call comes out as a description of it. It knows the instructions that Python's
// own pickler, NumPy and PyTorch write, protocols 0 to 5 but for their text forms.
package pickle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
)

// Values of a pickle are nil, bool, int64, *big.Int, float64, string, Bytes, *List, Tuple,
// *Dict, Global, *Call and Persistent.
type (
	// Bytes are Python's bytes, and the strings of Python 2.
	Bytes []byte
	// Tuple is a tuple.
	Tuple []any
	// List is a list.
	List struct{ Items []any }
	// Dict is a dictionary, in its order.
	Dict struct{ Keys, Values []any }
	// Global is a name to import.
	Global struct{ Module, Name string }
	// Call is an object as the pickle would make it: a callable, its arguments, and what it
	// would be given afterwards.
	Call struct {
		Func  any
		Args  Tuple
		State any
		Items *Dict // set by key, as of an OrderedDict
	}
	// Persistent is an object that lies outside the pickle.
	Persistent struct{ ID any }
	// Far is a string that was left where it lies: see ReadFar.
	Far struct {
		Offset, Size int64
		Text         bool // of characters, in UTF-8, not of bytes
	}
)

// Get is the value of a key that is text, as string or Bytes.
func (d *Dict) Get(key string) (any, bool) {
	for i, k := range d.Keys {
		if s, ok := Text(k); ok && s == key {
			return d.Values[i], true
		}
	}
	return nil, false
}

// Text is v as a string, if it is one, of Python 3 or 2.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Bytes:
		return string(v), true
	}
	return "", false
}

// maxDepth bounds the stack, and maxString one string.
const (
	maxStack  = 1 << 20
	maxString = 1 << 30
)

// first is the first of the errors, so that a message has one line.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

type mark struct{}

type machine struct {
	r     *bufio.Reader
	stack []any
	memo  map[uint32]any
	far   *io.SectionReader // what r reads, if long strings are left in it
	near  uint64            // the longest string that is not
}

// ReadFar is Read of the pickle that a file of size bytes begins with, in which strings of
// more than near bytes are left where they lie: a description of an array takes no memory
// for the array.
func ReadFar(file io.ReaderAt, size int64, near int) (any, error) {
	far := io.NewSectionReader(file, 0, size)
	m := &machine{r: bufio.NewReader(far), memo: map[uint32]any{}, far: far, near: uint64(near)}
	return m.read()
}

// Read reads one pickle from r, which it leaves at the byte after it. Memory grows with
// what r delivers.
func Read(r *bufio.Reader) (any, error) {
	m := &machine{r: r, memo: map[uint32]any{}}
	return m.read()
}

func (m *machine) read() (any, error) {
	for {
		code, err := m.r.ReadByte()
		if err == nil && code == '.' {
			return m.pop()
		}
		if err == nil {
			err = m.do(code)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("the pickle is cut short")
		case err != nil:
			return nil, fmt.Errorf("pickle: %w", err)
		}
	}
}

func (m *machine) push(v any) error {
	if len(m.stack) >= maxStack {
		return errors.New("its stack is too deep")
	}
	m.stack = append(m.stack, v)
	return nil
}

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errors.New("its stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errors.New("a mark where a value should be")
	}
	return v, nil
}

// popMark is everything above the last mark.
func (m *machine) popMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("no mark on its stack")
}

func (m *machine) number(n int) (uint64, error) {
	var b [8]byte
	_, err := io.ReadFull(m.r, b[:n])
	return binary.LittleEndian.Uint64(b[:]), err
}

// bytes reads a length of n bytes and what it counts, in pieces: a length that lies costs
// no memory.
func (m *machine) bytes(n int) ([]byte, error) {
	size, err := m.number(n)
	if err != nil {
		return nil, err
	}
	return m.take(size)
}

func (m *machine) take(size uint64) ([]byte, error) {
	if size > maxString {
		return nil, fmt.Errorf("a string of %d bytes", size)
	}
	var out []byte
	for uint64(len(out)) < size {
		piece := make([]byte, min(size-uint64(len(out)), 1<<16))
		if _, err := io.ReadFull(m.r, piece); err != nil {
			return nil, err
		}
		out = append(out, piece...)
	}
	return out, nil
}

// text pushes a string with a length of n bytes, or where it lies.
func (m *machine) text(n int, text bool) error {
	size, err := m.number(n)
	if err != nil {
		return err
	}
	if m.far != nil && size > m.near {
		at, err := m.far.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		at -= int64(m.r.Buffered())
		if size > uint64(m.far.Size()-at) {
			return io.ErrUnexpectedEOF
		}
		if _, err := m.far.Seek(at+int64(size), io.SeekStart); err != nil {
			return err
		}
		m.r.Reset(m.far)
		return m.push(Far{at, int64(size), text})
	}
	b, err := m.take(size)
	if err != nil {
		return err
	}
	if text {
		return m.push(string(b))
	}
	return m.push(Bytes(b))
}

func (m *machine) line() (string, error) {
	s, err := m.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return string(s[:len(s)-1]), nil
}

func (m *machine) do(code byte) error {
	switch code {
	case 0x80: // PROTO
		v, err := m.number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("protocol %d; protocols up to 5 are read", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.number(8)
		return err
	case '(':
		return m.push(mark{})
	case '0':
		_, err := m.pop()
		return err
	case 'N':
		return m.push(nil)
	case 0x88, 0x89:
		return m.push(code == 0x88)
	case 'J', 'K', 'M':
		v, err := m.number(map[byte]int{'J': 4, 'K': 1, 'M': 2}[code])
		if code == 'J' {
			return first(err, m.push(int64(int32(v))))
		}
		return first(err, m.push(int64(v)))
	case 0x8a: // LONG1
		b, err := m.bytes(1)
		if err != nil {
			return err
		}
		return m.push(long(b))
	case 'G':
		var b [8]byte
		if _, err := io.ReadFull(m.r, b[:]); err != nil {
			return err
		}
		return m.push(math.Float64frombits(binary.BigEndian.Uint64(b[:])))
	case 'X', 0x8c, 0x8d: // text
		return m.text(map[byte]int{'X': 4, 0x8c: 1, 0x8d: 8}[code], true)
	case 'B', 'C', 0x8e, 0x96, 'T', 'U': // bytes; 0x96: bytes that can be changed
		return m.text(map[byte]int{'B': 4, 'C': 1, 0x8e: 8, 0x96: 8, 'T': 4, 'U': 1}[code], false)
	case ')':
		return m.push(Tuple(nil))
	case ']':
		return m.push(&List{})
	case '}':
		return m.push(&Dict{})
	case 0x85, 0x86, 0x87:
		n := int(code - 0x84)
		t := make(Tuple, n)
		for i := n - 1; i >= 0; i-- {
			var err error
			if t[i], err = m.pop(); err != nil {
				return err
			}
		}
		return m.push(t)
	case 't', 'l', 'd':
		items, err := m.popMark()
		if err != nil {
			return err
		}
		switch code {
		case 't':
			return m.push(Tuple(items))
		case 'l':
			return m.push(&List{items})
		}
		d := &Dict{}
		return first(setItems(d, items), m.push(d))
	case 'a', 'e', 's', 'u':
		return m.add(code)
	case 'q', 'r', 0x94, 'h', 'j':
		return m.remember(code)
	case 'c':
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		return first(err, m.push(Global{module, name}))
	case 0x93: // STACK_GLOBAL
		name, err1 := m.pop()
		module, err2 := m.pop()
		a, ok1 := Text(module)
		b, ok2 := Text(name)
		if err := first(err1, err2); err != nil || !ok1 || !ok2 {
			return first(err, errors.New("a name that is no text"))
		}
		return m.push(Global{a, b})
	case 'R', 0x81: // REDUCE, NEWOBJ
		args, err1 := m.pop()
		f, err2 := m.pop()
		t, ok := args.(Tuple)
		if err := first(err1, err2); err != nil || !ok {
			return first(err, errors.New("a call without arguments"))
		}
		return m.push(&Call{Func: f, Args: t})
	case 'b':
		state, err := m.pop()
		if err != nil {
			return err
		}
		if len(m.stack) == 0 {
			return errors.New("its stack is empty")
		}
		if c, ok := m.stack[len(m.stack)-1].(*Call); ok {
			c.State = state
		}
		return nil
	case 'Q':
		id, err := m.pop()
		return first(err, m.push(Persistent{id}))
	}
	return fmt.Errorf("instruction %#x, which no array or checkpoint needs", code)
}

// add puts what is on the stack into the list or dictionary below it.
func (m *machine) add(code byte) error {
	var items []any
	var err error
	switch code {
	case 'e', 'u':
		items, err = m.popMark()
	default:
		n := map[byte]int{'a': 1, 's': 2}[code]
		items = make([]any, n)
		for i := n - 1; i >= 0 && err == nil; i-- {
			items[i], err = m.pop()
		}
	}
	if err != nil {
		return err
	}
	if len(m.stack) == 0 {
		return errors.New("its stack is empty")
	}
	switch top := m.stack[len(m.stack)-1].(type) {
	case *List:
		if code == 'a' || code == 'e' {
			top.Items = append(top.Items, items...)
			return nil
		}
	case *Dict:
		return setItems(top, items)
	case *Call:
		if top.Items == nil {
			top.Items = &Dict{}
		}
		return setItems(top.Items, items)
	}
	return errors.New("items of something that has none")
}

func setItems(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		d.Keys, d.Values = append(d.Keys, items[i]), append(d.Values, items[i+1])
	}
	return nil
}

// remember stores the top of the stack, or brings back what was stored.
func (m *machine) remember(code byte) error {
	at, err := uint64(len(m.memo)), error(nil)
	if code != 0x94 {
		at, err = m.number(map[byte]int{'q': 1, 'r': 4, 'h': 1, 'j': 4}[code])
	}
	if err != nil {
		return err
	}
	if code == 'h' || code == 'j' {
		v, ok := m.memo[uint32(at)]
		if !ok {
			return fmt.Errorf("it has nothing under number %d", at)
		}
		return m.push(v)
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	m.memo[uint32(at)] = v
	return m.push(v)
}

// long is a little-endian number in two's complement.
func long(b []byte) any {
	if len(b) <= 8 {
		var x int64
		for i, v := range b {
			x |= int64(v) << (8 * i)
		}
		if n := len(b); n > 0 && n < 8 && b[n-1]&0x80 != 0 {
			x -= 1 << (8 * n)
		}
		return x
	}
	be := make([]byte, len(b))
	for i, v := range b {
		be[len(b)-1-i] = v
	}
	x := new(big.Int).SetBytes(be)
	if b[len(b)-1]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return x
}
