package dataset_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
)

// Ctrl-C ends the encoding between rows, and within a conversation between its renderings.
func TestEncodingStops(t *testing.T) {
	folder := demotest.Model(t, 1, nil)
	model, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer model.Close()
	text, err := processor.New(model, folder, processor.Options{Now: time.Now()})
	require.NoError(t, err)
	var rows, turns strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&rows, `{"text":"row %d"}`+"\n", i)
	}
	for i := range 500 {
		fmt.Fprintf(&turns, `,{"role":"user","content":"%d"},{"role":"assistant","content":"%d"}`, i, i)
	}
	conversation := `{"messages":[` + turns.String()[1:] + `]}`
	for name, content := range map[string]string{"rows": rows.String(), "turns": conversation} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			e := text.Encoder(chat.TrainOnAssistant, 64)
			e.Stop = func() error {
				if asked.Add(1) > 10 {
					return context.Canceled
				}
				return nil
			}
			s, err := dataset.Read(strings.NewReader(content), "x.jsonl")
			require.NoError(t, err)
			_, _, err = e.Encode(s)
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, asked.Load(), int64(200), "every chunk of rows asks once more")
		})
	}
}
