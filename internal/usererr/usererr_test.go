package usererr

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorNamesEverything(t *testing.T) {
	err := New("read safetensors", "a.safetensors", "header of %d bytes: %w", 9, io.ErrUnexpectedEOF).Of(Format).At("offset %d", 8).
		Hinted("download it again")
	require.EqualError(t, err, "read safetensors a.safetensors: offset 8: bad format: header of 9 bytes: it ends too soon (download it again)")
	wrapped := fmt.Errorf("load: %w", err)
	require.ErrorIs(t, wrapped, io.ErrUnexpectedEOF)
	require.True(t, Is(wrapped, Format))
	require.False(t, Is(wrapped, Unsupported))
}
