// Package pointrows lets SQLite hand over the rows of points many at a time. A row that
// crosses from C into Go by itself takes twice as long as in such a block.
package pointrows

import (
	"encoding/binary"
	"math"

	_ "github.com/mattn/go-sqlite3" // whose SQLite it is
)

// size of a row in a block: step, time and value, 8 bytes each in the machine's order.
const size = 24

// Count is the number of rows in a block.
func Count(block []byte) int { return len(block) / size }

// At is row i of a block, from 0. The value of a NULL is NaN.
func At(block []byte, i int) (step, time int64, value float64) {
	b := block[i*size:]
	return int64(binary.NativeEndian.Uint64(b)), int64(binary.NativeEndian.Uint64(b[8:])), math.Float64frombits(binary.NativeEndian.Uint64(b[16:]))
}
