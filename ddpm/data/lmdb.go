package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// lmdbMagic begins both meta pages of a database of LMDB, after the page's header.
const lmdbMagic = 0xBEEFC0DE

// Flags of pages and nodes, and the sizes of headers (LMDB 0.9, mdb.c).
const (
	lmdbBranch, lmdbLeaf, lmdbOverflow = 0x01, 0x02, 0x04
	lmdbBig, lmdbSub, lmdbDup          = 0x01, 0x02, 0x04
	lmdbHeader, lmdbNode               = 16, 8
)

// lmdb is the values of a database of LMDB (mdb.c of OpenLDAP), in the order of the keys:
// LSUN's image files. Only where they lie is kept in memory, 16 bytes each.
type lmdb struct {
	file   io.ReaderAt
	name   string
	size   int64 // of the file
	page   int64
	last   uint64 // page
	seen   int    // pages, so that a tree that bites its tail ends
	values []lmdbValue
}

type lmdbValue struct {
	at   int64
	size uint32
}

func (l *lmdb) len() int           { return len(l.values) }
func (l *lmdb) where(i int) string { return fmt.Sprintf("value %d of %s", i, l.name) }

func (l *lmdb) blob(i int) ([]byte, error) {
	v := l.values[i]
	if v.size > maxBlob {
		return nil, fmt.Errorf("it has %d bytes; no image needs that", v.size)
	}
	b := make([]byte, v.size)
	return b, readAt(l.file, b, v.at)
}

// openLMDB opens the database in the file data.mdb, or in a folder that has one.
func openLMDB(p *place) (*found, error) {
	path := p.path
	if p.folder {
		path = filepath.Join(path, "data.mdb")
	}
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	st, err := file.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, file.Close())
	}
	l := &lmdb{file: file, name: path, size: st.Size()}
	ok, err := l.open()
	if !ok || err != nil {
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return nil, errors.Join(err, file.Close())
	}
	return &found{format: "LMDB of images", blobs: l, crop: lsunCrop, files: []string{path}}, nil
}

// open reads the newer meta page and walks the tree. ok is false if the file is no LMDB.
func (l *lmdb) open() (ok bool, err error) {
	le := binary.LittleEndian
	var root, entries uint64
	newest := int64(-1)
	for at := int64(0); at <= l.page; at += max(1, l.page) {
		var b [lmdbHeader + 136]byte
		if err := readAt(l.file, b[:], at); err != nil || le.Uint32(b[16:]) != lmdbMagic {
			if at == 0 {
				return false, nil
			}
			break // the other one is whole
		}
		if v := le.Uint32(b[20:]); v != 1 {
			return true, fmt.Errorf("LMDB's format %d; 1 is read", v)
		}
		if at == 0 {
			l.page = int64(le.Uint32(b[40:]))
			if l.page < 512 || l.page > 1<<16 || l.page&(l.page-1) != 0 {
				return true, fmt.Errorf("it is damaged: pages of %d bytes", l.page)
			}
		}
		main := b[88:] // the second of the two trees; the first lists free pages
		if txn := int64(le.Uint64(b[144:])); txn > newest {
			newest, entries, root, l.last = txn, le.Uint64(main[32:]), le.Uint64(main[40:]), le.Uint64(b[136:])
		}
	}
	if root == ^uint64(0) || entries == 0 {
		return true, errors.New("the database is empty")
	}
	if int64(entries) < 0 || int64(entries) > l.size/lmdbNode {
		return true, fmt.Errorf("it is damaged: it claims %d entries", entries)
	}
	if err := l.walk(root, 0); err != nil {
		return true, err
	}
	if uint64(len(l.values)) != entries {
		return true, fmt.Errorf("it is damaged: %d values of %d", len(l.values), entries)
	}
	return true, nil
}

// walk lists the values below a page, which lie depth levels below the root.
func (l *lmdb) walk(number uint64, depth int) error {
	le := binary.LittleEndian
	if l.seen++; depth > 32 || int64(l.seen) > l.size/l.page {
		return errors.New("it is damaged: its tree has a circle")
	}
	b := make([]byte, l.page)
	if err := l.readPage(number, b); err != nil {
		return err
	}
	flags, lower := le.Uint16(b[10:]), int64(le.Uint16(b[12:]))
	if lower < lmdbHeader || lower > l.page || flags&(lmdbBranch|lmdbLeaf) == 0 {
		return fmt.Errorf("it is damaged: page %d is none of its tree", number)
	}
	for k := int64(lmdbHeader); k+1 < lower; k += 2 {
		at := int64(le.Uint16(b[k:]))
		if at < lower || at+lmdbNode > l.page {
			return fmt.Errorf("it is damaged: page %d points out of itself", number)
		}
		node := b[at:]
		lo, hi, nodeFlags, key := le.Uint16(node), le.Uint16(node[2:]), le.Uint16(node[4:]), int64(le.Uint16(node[6:]))
		if flags&lmdbBranch != 0 {
			if err := l.walk(uint64(lo)|uint64(hi)<<16|uint64(nodeFlags)<<32, depth+1); err != nil {
				return err
			}
			continue
		}
		if nodeFlags&(lmdbSub|lmdbDup) != 0 {
			return errors.New("it holds databases inside, or several values for a key; want one image for each key, as in LSUN's")
		}
		v := lmdbValue{at: int64(number)*l.page + at + lmdbNode + key, size: uint32(lo) | uint32(hi)<<16}
		if nodeFlags&lmdbBig != 0 {
			if at+lmdbNode+key+8 > l.page {
				return fmt.Errorf("it is damaged: page %d points out of itself", number)
			}
			big := le.Uint64(node[lmdbNode+key:])
			var head [lmdbHeader]byte
			if err := l.readPage(big, head[:]); err != nil {
				return err
			}
			if le.Uint16(head[10:])&lmdbOverflow == 0 || int64(le.Uint32(head[12:]))*l.page < int64(v.size)+lmdbHeader {
				return fmt.Errorf("it is damaged: page %d holds no value of %d bytes", big, v.size)
			}
			v.at = int64(big)*l.page + lmdbHeader
		} else if at+lmdbNode+key+int64(v.size) > l.page {
			return fmt.Errorf("it is damaged: page %d points out of itself", number)
		}
		if v.at+int64(v.size) > l.size {
			return errCut
		}
		l.values = append(l.values, v)
	}
	return nil
}

// readPage reads the beginning of a page, whose header must bear its number.
func (l *lmdb) readPage(number uint64, b []byte) error {
	if number > l.last || number > uint64(l.size/l.page) {
		return fmt.Errorf("it is damaged or cut short: page %d of %d", number, l.size/l.page)
	}
	if err := readAt(l.file, b, int64(number)*l.page); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(b) != number {
		return fmt.Errorf("it is damaged: page %d says it is another", number)
	}
	return nil
}
