//go:build !js

package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go/format"
)

// guard looks at an unpacked page before the library decodes it: what its runs and lengths say has to be of the size
// that its header tells, since a run of a billion equal values takes five bytes.
type guard struct {
	leaf       *node
	values     int // as the page's header has it, null among them
	dictionary bool
}

// plainDictionary is what files of old call RLEDictionary in pages of data, and Plain in those of dictionaries.
const plainDictionary format.Encoding = 2

var errRuns = errors.New("the runs of a page are damaged")

func (g guard) count() error {
	if g.values < 0 || g.values > maxValues {
		return fmt.Errorf("a page of %d values: the most is %d", g.values, maxValues)
	}
	return nil
}

// page checks the levels and the values of a page.
func (g guard) page(levels [2][]byte, data []byte, code format.Encoding) error {
	if err := g.count(); err != nil {
		return err
	}
	for i, most := range []int{g.leaf.repeats, g.leaf.definition} {
		if most == 0 {
			continue
		}
		if err := g.runs(levels[i], bits.Len(uint(most))); err != nil {
			return err
		}
	}
	return g.encoded(code, data)
}

// prefixed cuts off what has its length in four bytes in front.
func prefixed(data []byte) (part, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, errRuns
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	if data = data[4:]; n > uint64(len(data)) {
		return nil, nil, errRuns
	}
	return data[:n], data[n:], nil
}

// encoded checks the values of a page.
func (g guard) encoded(encoding format.Encoding, data []byte) error {
	switch encoding {
	case format.Plain, format.ByteStreamSplit:
		return g.plain(0, data)
	case plainDictionary, format.RLEDictionary:
		if !g.dictionary {
			return errors.New("a page of places in a dictionary that is not there")
		}
		if len(data) == 0 {
			return nil
		}
		return g.runs(data[1:], int(data[0]))
	case format.RLE:
		runs, _, err := prefixed(data)
		if err != nil {
			return err
		}
		return g.runs(runs, 1)
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		return g.deltas(data)
	}
	return fmt.Errorf("its values are encoded as %s, which is not read: write the file again without it", encoding)
}

// plain checks values as they are, at least so many, which a dictionary's header tells.
func (g guard) plain(values int, data []byte) error {
	if err := g.count(); err != nil {
		return err
	}
	if t := g.leaf.element.Type.V; t == format.FixedLenByteArray {
		if n := g.leaf.element.TypeLength; !n.Valid || n.V <= 0 || n.V > maxPage {
			return fmt.Errorf("values of %d bytes", n.V)
		}
	}
	const leastOfBytes = 4 // the length of a text
	if g.leaf.element.Type.V == format.ByteArray && values > len(data)/leastOfBytes {
		return fmt.Errorf("%d texts in %d bytes", values, len(data))
	}
	return nil
}

// runs checks a hybrid of runs and packed groups of eight, of values of so many bits.
func (g guard) runs(data []byte, width int) error {
	if width > 32 {
		return errRuns
	}
	most := uint64(g.values)*2 + 4096 // writers pad
	for count := uint64(0); len(data) > 0; {
		head, n := binary.Uvarint(data)
		if n <= 0 {
			return errRuns
		}
		data = data[n:]
		length, size := head>>1, uint64(width+7)/8
		if head&1 != 0 {
			size, length = head>>1*uint64(width), head>>1*8
		}
		if count += length; head>>1 > most || count > most || size > uint64(len(data)) {
			return errRuns
		}
		data = data[size:]
	}
	return nil
}

// deltas checks the beginning of integers of which each is told by its difference from the one before.
func (g guard) deltas(data []byte) error {
	const largest = 1 << 16
	var head [3]uint64 // values of a block, parts of it, and values
	for i := range head {
		n := 0
		if head[i], n = binary.Uvarint(data); n <= 0 {
			return errRuns
		}
		data = data[n:]
	}
	block, parts := head[0], head[1]
	if block == 0 || block > largest || block%128 != 0 || parts == 0 || parts > block || block%parts != 0 || head[2] > uint64(g.values) {
		return errRuns
	}
	return nil
}
