package experiments

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"time"
)

// A pack is up to packPoints points of a series, by step, in columns that follow one
// another, all integers as varints:
//
//	version, number of points
//	steps    the first, then runs of equal differences: how many, which
//	times    microseconds: the first, then differences
//	values   of each the bits that differ from the value's before (exclusive or; of the
//	         first, from 0): a byte with the number of zero bytes at the low end, times 16,
//	         and that of the bytes that follow, lowest first
//	a checksum of all this, CRC-32C, 4 bytes
//
// Steps of a training are one run; times cost two to three bytes, and values, of which
// nine bits in ten are noise, six to nine. Decoding is a pass over bytes: a general
// compressor saves a tenth more of such values and takes five times as long.
const (
	packVersion = 1
	packPoints  = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodePack packs points, which are in order of their steps.
func encodePack(points []Point) []byte {
	b := make([]byte, 0, 16+12*len(points))
	b = append(b, packVersion)
	b = binary.AppendUvarint(b, uint64(len(points)))
	if len(points) == 0 {
		return sealed(b[1:])
	}
	b = binary.AppendVarint(b, points[0].Step)
	for i := 1; i < len(points); {
		difference, from := points[i].Step-points[i-1].Step, i
		for i < len(points) && points[i].Step-points[i-1].Step == difference {
			i++
		}
		b = binary.AppendUvarint(b, uint64(i-from))
		b = binary.AppendVarint(b, difference)
	}
	before := int64(0)
	for _, p := range points {
		t := p.Time.UnixMicro()
		b = binary.AppendVarint(b, t-before)
		before = t
	}
	last := uint64(0)
	for _, p := range points {
		v := math.Float64bits(p.Value)
		x := v ^ last
		last = v
		if x == 0 {
			b = append(b, 0)
			continue
		}
		low := bits.TrailingZeros64(x) / 8
		x >>= 8 * low
		n := (bits.Len64(x) + 7) / 8
		b = append(b, byte(low<<4|n))
		for range n {
			b = append(b, byte(x))
			x >>= 8
		}
	}
	return sealed(b[1:])
}

// sealed is a pack of that content: version, content, checksum.
func sealed(content []byte) []byte {
	b := append([]byte{packVersion}, content...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errPack = errors.New("a pack of points is damaged")

// decodePack appends the points of a pack to points.
func decodePack(points []Point, pack []byte) ([]Point, error) {
	if len(pack) < 6 || pack[0] != packVersion {
		return points, errPack
	}
	b := pack[:len(pack)-4]
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(pack[len(b):]) {
		return points, errPack
	}
	d := decoder{b: b[1:]}
	count := d.uvarint()
	if d.bad || count > uint64(len(b)) { // a point takes two bytes and more
		return points, errPack
	}
	from := len(points)
	points = slices.Grow(points, int(count))[:from+int(count)]
	fresh := points[from:]
	if err := d.columns(fresh); err != nil {
		return points[:from], err
	}
	return points, nil
}

// decoder reads the columns of a pack. What does not fit makes it bad.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, n = true, 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	if len(d.b) > 0 && d.b[0] < 0x80 { // most differences of times are short
		v := d.b[0]
		d.b = d.b[1:]
		return int64(v>>1) ^ -int64(v&1)
	}
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) columns(points []Point) error {
	if len(points) == 0 {
		return nil
	}
	step := d.varint()
	points[0].Step = step
	for i := 1; i < len(points); {
		n, difference := d.uvarint(), d.varint()
		if d.bad || n == 0 || n > uint64(len(points)-i) {
			return errPack
		}
		for range n {
			step += difference
			points[i].Step = step
			i++
		}
	}
	micros := int64(0)
	for i := range points {
		micros += d.varint()
		points[i].Time = time.UnixMicro(micros)
	}
	if d.bad {
		return errPack
	}
	b, last := d.b, uint64(0)
	for i := range points {
		if len(b) == 0 {
			return errPack
		}
		low, n := uint(b[0]>>4), int(b[0]&15)
		if len(b) <= n || int(low)+n > 8 {
			return errPack
		}
		var x uint64
		if len(b) >= 9 { // the usual case, without a loop
			x = binary.LittleEndian.Uint64(b[1:]) & (1<<(8*uint(n)) - 1)
		} else {
			for j := n; j > 0; j-- {
				x = x<<8 | uint64(b[j])
			}
		}
		b = b[1+n:]
		last ^= x << (8 * low)
		points[i].Value = math.Float64frombits(last)
	}
	if len(b) != 0 {
		return errPack
	}
	return nil
}

// unpack is the SQL function of that name: the points of a pack as JSON,
// [[step, time, value], ...], with null for NaN.
func unpack(pack []byte) (string, error) {
	points, err := decodePack(nil, pack)
	if err != nil {
		return "", err
	}
	b := make([]byte, 0, 2+48*len(points))
	b = append(b, '[')
	for i, p := range points {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '['), p.Step, 10)
		b = strconv.AppendInt(append(b, ','), p.Time.UnixMicro(), 10)
		b = append(b, ',')
		switch v := p.Value; {
		case math.IsNaN(v):
			b = append(b, "null"...)
		case math.IsInf(v, 1):
			b = append(b, "9e999"...)
		case math.IsInf(v, -1):
			b = append(b, "-9e999"...)
		default:
			b = strconv.AppendFloat(b, v, 'e', -1, 64)
		}
		b = append(b, ']')
	}
	return string(append(b, ']')), nil
}
