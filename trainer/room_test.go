//go:build !js

package trainer

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// A run that does not fit the room is refused before loading, and every way that is named makes it fit.
func TestRoom(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 5, nil))
	require.NoError(t, err)
	defer source.Close()
	row := `{"messages":[{"role":"user","content":"Where is Ana?"},{"role":"assistant","content":"` + strings.Repeat("Ana is at the farm. ", 20) + `"}]}` + "\n"
	data, err := dataset.Read(strings.NewReader(strings.Repeat(row, 16)), "rows.jsonl")
	require.NoError(t, err)
	c := small(t, "the model", "rows.jsonl")
	c.BatchSize, c.LoraR, c.GradientCheckpointing = 16, 32, CheckpointOff
	preview := func(c Config, room Room) *Preview {
		p, err := PreviewData(c, Inputs{Model: source, Data: data, Room: room})
		require.NoError(t, err)
		return p
	}
	whole := preview(c, Room{})
	require.Nil(t, whole.Shortage)
	require.Nil(t, preview(c, Room{Total: whole.Memory.Peak, Host: 1}).Shortage)

	room := Room{Total: whole.Memory.Peak - 1<<20}
	short := preview(c, room).Shortage
	require.NotNil(t, short)
	require.Equal(t, []int64{whole.Memory.Peak, room.Total}, []int64{short.Needs, short.Has})
	var named []string
	for _, way := range short.Ways {
		changed := c
		to, _ := strconv.Atoi(way.To)
		switch way.Setting {
		case "batch_size":
			changed.BatchSize = to
		case "max_seq_length":
			changed.MaxSeqLength = to
		case "lora_r":
			changed.LoraR = to
		case "gradient_checkpointing":
			changed.GradientCheckpointing = way.To
		}
		require.Nil(t, preview(changed, room).Shortage, "%+v", way)
		named = append(named, way.Setting)
	}
	require.Equal(t, []string{"gradient_checkpointing", "batch_size", "lora_r", "max_seq_length"}, named)
	require.Empty(t, preview(c, Room{Total: 1 << 16}).Shortage.Ways)

	c.Optim = "paged_adamw_32bit"
	require.Equal(t, int64(1), preview(c, Room{Host: 1}).Shortage.Has)

	_, err = Run(t.Context(), c, Inputs{Model: source, Data: data, Room: room, Output: nativeOutput{}}, func(e Event) { require.NotEqual(t, "load", e.Kind()) })
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.ErrorContains(t, err, "the run takes")
	require.ErrorContains(t, err, "change batch_size from 16 to")
}
