//go:build !js

package dataset

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// A Parquet file, whoever wrote it and however it is packed, gives the rows of the same data set in JSON Lines.
func TestParquet(t *testing.T) {
	want := read(t, "testdata/parquet/messages.jsonl")
	require.Len(t, want.rows, 24)
	names, err := filepath.Glob("testdata/parquet/*.parquet")
	require.NoError(t, err)
	require.Len(t, names, 9)
	for _, name := range names {
		got := read(t, name)
		require.Equal(t, "Parquet", got.Container)
		require.Equal(t, want.Format, got.Format)
		require.Equal(t, want.Notes, got.Notes)
		require.Len(t, got.rows, len(want.rows))
		for i := range want.rows {
			row := got.rows[i]
			row.Where = want.rows[i].Where
			require.Equal(t, want.rows[i], row, name)
		}
		require.Equal(t, "row group 0, row 0", got.rows[0].Where)
	}
	pages := read(t, "testdata/parquet/pages.parquet")
	require.Equal(t, "row group 2, row 5", pages.rows[23].Where)
	data, err := os.ReadFile("testdata/parquet/pages.parquet")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(data)), pages.Hash)

	_, _, err = Reading{Columns: settings.Columns{Container: "CSV"}}.Open("testdata/parquet/pages.parquet")
	require.ErrorContains(t, err, "data_format is CSV, and the file is a Parquet file")

	under := filepath.Join(t.TempDir(), "another.name")
	require.NoError(t, os.WriteFile(under, data, 0o666))
	require.Len(t, read(t, under).rows, 24)
	require.NoError(t, os.WriteFile(under, data[:len(data)-30], 0o666))
	_, _, err = Open(under)
	e := &usererr.Error{}
	require.ErrorAs(t, err, &e)
	require.ErrorContains(t, err, "read data set "+under+": bad format: it is cut off: it does not end as a Parquet file does")
}

// A file that has columns alone, as pyarrow writes it of an empty table, says so.
func TestParquetWithoutRows(t *testing.T) {
	_, _, err := Open("testdata/parquet_empty/empty.parquet")
	require.ErrorContains(t, err, "bad format: no rows: it has columns alone")
}
