//go:build !js

package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

// rowsOf are all rows of a file, by column.
func rowsOf(data []byte) (map[string][]string, error) {
	f, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	err = f.Rows(1<<20, func(r Row) error {
		for i, v := range r.Values {
			all[f.Columns[i]] = append(all[f.Columns[i]], string(v))
		}
		return nil
	})
	return all, err
}

// Every type has the values that pyarrow wrote, null among them.
func TestTypes(t *testing.T) {
	data, err := os.ReadFile("testdata/types.parquet")
	require.NoError(t, err)
	got, err := rowsOf(data)
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/types.json")
	require.NoError(t, err)
	var want map[string][]jsontext.Value
	require.NoError(t, json.Unmarshal(text, &want))
	require.Len(t, got, len(want))
	for name, values := range want {
		require.Len(t, got[name], len(values), name)
		for i, value := range values {
			var decimal struct {
				Decimal string `json:"decimal"`
			}
			if json.Unmarshal(value, &decimal) == nil && decimal.Decimal != "" {
				require.Equal(t, decimal.Decimal, got[name][i], name)
			} else if name == "uint64" || name == "int64" {
				require.Equal(t, string(value), got[name][i], name)
			} else {
				require.JSONEq(t, string(value), got[name][i], name)
			}
		}
	}
}

// edited is a file with another description.
func edited(t *testing.T, name string, edit func(*format.FileMetaData)) []byte {
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	end := len(data) - 8
	footer := end - int(binary.LittleEndian.Uint32(data[end:]))
	var meta format.FileMetaData
	require.NoError(t, thrift.Unmarshal(new(thrift.CompactProtocol), data[footer:end], &meta))
	edit(&meta)
	description, err := thrift.Marshal(new(thrift.CompactProtocol), &meta)
	require.NoError(t, err)
	return closed(data[:footer:footer], description)
}

func closed(pages, description []byte) []byte {
	out := append(pages, description...)
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(description))), Magic...)
}

const nested = "../dataset/testdata/parquet/snappy.parquet"

// What a file says of itself and is not so is said, and where.
func TestFaults(t *testing.T) {
	for want, edit := range map[string]func(*format.FileMetaData){
		"row group 0, row 24: column \"messages.list.element.role\": it has fewer rows": func(m *format.FileMetaData) {
			m.RowGroups[0].NumRows = 25
		},
		"row group 0, row 23: column \"messages.list.element.role\": it has more rows": func(m *format.FileMetaData) {
			m.RowGroups[0].NumRows = 23
		},
		"row group 0: it has 4 columns and 24 rows, the file has 5 columns": func(m *format.FileMetaData) {
			m.RowGroups[0].Columns = m.RowGroups[0].Columns[1:]
		},
		"row group 0, row 0: column \"score\": a page cannot be unpacked (LZO)": func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[4].MetaData.Codec = format.LZO
		},
		"row group 0, row 0: column \"source\": a page cannot be unpacked (GZIP)": func(m *format.FileMetaData) {
			m.RowGroups[0].Columns[3].MetaData.Codec = format.Gzip
		},
		"it is encrypted": func(m *format.FileMetaData) { m.EncryptionAlgorithm.Value = &format.AesGcmV1{} },
		`the column "source" is there twice`: func(m *format.FileMetaData) {
			m.Schema[len(m.Schema)-1].Name = "source"
		},
		"its columns cannot be read: their tree has no end": func(m *format.FileMetaData) { m.Schema[0].NumChildren.V = 1000 },
		"its columns cannot be read: there are more than 10000": func(m *format.FileMetaData) {
			for i := range 10_001 {
				column := m.Schema[len(m.Schema)-1]
				column.Name = fmt.Sprint(i)
				m.Schema = append(m.Schema, column)
			}
			m.Schema[0].NumChildren.V += 10_001
		},
		"its columns cannot be read: they nest more than 64 deep": func(m *format.FileMetaData) {
			last := m.Schema[len(m.Schema)-1]
			group := format.SchemaElement{Name: "g", RepetitionType: last.RepetitionType, NumChildren: m.Schema[0].NumChildren}
			group.NumChildren.V = 1
			m.Schema = append(m.Schema[:len(m.Schema)-1:len(m.Schema)-1], append(slices.Repeat([]format.SchemaElement{group}, 70), last)...)
		},
		"its columns cannot be read: there are none": func(m *format.FileMetaData) { m.Schema = m.Schema[:1] },
	} {
		_, err := rowsOf(edited(t, nested, edit))
		require.ErrorContains(t, err, want)
	}
	data, err := os.ReadFile(nested)
	require.NoError(t, err)
	for want, data := range map[string][]byte{
		"it is cut off: it has 4 bytes":                    data[:4],
		"it is cut off: it does not end":                   data[:len(data)-1],
		"its description is said to have 1347567921 bytes": append(bytes.Clone(data[:len(data)-8]), "1ARPPAR1"...),
		"its description is damaged: it ends too soon":     closed(data[:4:4], []byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0x7f}),
		"it would take too much memory": closed(data[:4:4], append([]byte{0x19, 0xfc, 0x80, 0x80, 0x80, 1},
			make([]byte, 3<<20)...)),
	} {
		_, err := rowsOf(data)
		require.ErrorContains(t, err, want)
	}
}

// A run of a billion values, an integer's billion differences and what swells when it is unpacked are refused before
// there is room for them.
func TestBombs(t *testing.T) {
	g := guard{leaf: &node{element: &format.SchemaElement{}}, values: 100, dictionary: true}
	billion := binary.AppendUvarint(nil, 1<<31)
	require.NoError(t, g.runs([]byte{200, 1, 7}, 3))
	require.ErrorIs(t, g.runs(append(billion, 7), 3), errRuns)
	require.ErrorIs(t, g.runs(binary.AppendUvarint(nil, 1<<31|1), 0), errRuns)
	require.ErrorIs(t, g.encoded(format.RLEDictionary, []byte{33, 2}), errRuns)
	require.NoError(t, g.deltas([]byte{0x80, 1, 4, 100, 0}))
	require.ErrorIs(t, g.deltas(append([]byte{0x80, 1, 4}, billion...)), errRuns)
	require.ErrorIs(t, g.deltas([]byte{0x80, 1, 0, 100, 0}), errRuns)
	require.ErrorContains(t, g.encoded(format.DeltaByteArray, nil), "which is not read")
	require.ErrorContains(t, guard{values: maxValues + 1}.count(), "the most is")

	text := bytes.Repeat([]byte("a text that shrinks, "), 1000)
	for codec, packed := range packedBy(t, text) {
		out, err := unpack(codec, packed, len(text))
		require.NoError(t, err, codec)
		require.Equal(t, text, out)
		for _, wrong := range []int{len(text) - 1, len(text) + 1, 0} {
			_, err = unpack(codec, packed, wrong)
			require.ErrorContains(t, err, "a page cannot be unpacked", codec)
		}
		_, err = unpack(codec, packed[:len(packed)/2], len(text))
		require.ErrorContains(t, err, "a page cannot be unpacked", codec)
	}
}

func packedBy(t *testing.T, text []byte) map[format.CompressionCodec][]byte {
	z, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	small := make([]byte, lz4.CompressBlockBound(len(text)))
	n, err := lz4.CompressBlock(text, small, nil)
	require.NoError(t, err)
	all := map[format.CompressionCodec][]byte{
		format.Snappy: snappy.Encode(nil, text), format.Zstd: z.EncodeAll(text, nil), format.Lz4Raw: small[:n], format.Uncompressed: text,
	}
	for codec, writer := range map[format.CompressionCodec]func(io.Writer) io.WriteCloser{
		format.Gzip:   func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		format.Brotli: func(w io.Writer) io.WriteCloser { return brotli.NewWriter(w) },
	} {
		var out bytes.Buffer
		w := writer(&out)
		_, err := w.Write(text)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		all[codec] = out.Bytes()
	}
	return all
}

// FuzzRead attacks a file all the way to its rows.
func FuzzRead(f *testing.F) {
	names, err := filepath.Glob("../dataset/testdata/parquet/*.parquet")
	require.NoError(f, err)
	for _, name := range append(names, "testdata/types.parquet") {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			require.IsType(t, &Fault{}, err)
			return
		}
		n := 0
		err = file.Rows(1<<20, func(r Row) error {
			require.Len(t, r.Values, len(file.Columns))
			for _, v := range r.Values {
				require.True(t, v.IsValid(jsontext.AllowDuplicateNames(true)), string(v))
			}
			if n++; n == 1000 {
				return &Fault{Err: errEnds}
			}
			return nil
		})
		if err != nil {
			require.IsType(t, &Fault{}, err)
		}
	})
}
