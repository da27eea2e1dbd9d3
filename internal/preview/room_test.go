//go:build !js

package preview

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// A run that does not fit the room is refused before loading, and every way that is named makes it fit.
func TestRoom(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 5, nil))
	require.NoError(t, err)
	defer source.Close()
	row := `{"messages":[{"role":"user","content":"Where is Ana?"},{"role":"assistant","content":"` + strings.Repeat("Ana is at the farm. ",
		20) + `"}]}` + "\n"
	data, err := dataset.Read(strings.NewReader(strings.Repeat(row, 16)), "rows.jsonl")
	require.NoError(t, err)
	c := small("rows.jsonl")
	c.BatchSize, c.LoraR, c.GradientCheckpointing = 16, 32, settings.CheckpointOff
	preview := func(c settings.Train, room engine.Room) *Preview {
		p, err := Of(t.Context(), c, Inputs{Model: source, Data: data, Room: room})
		require.NoError(t, err)
		return p
	}
	whole := preview(c, engine.Room{})
	require.Nil(t, whole.Shortage)
	require.Nil(t, preview(c, engine.Room{Total: whole.Memory.Peak, Host: 1}).Shortage)

	room := engine.Room{Total: whole.Memory.Peak - 1<<20}
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
	require.Empty(t, preview(c, engine.Room{Total: 1 << 16}).Shortage.Ways)

	c.Optim = "paged_adamw_32bit"
	require.Equal(t, int64(1), preview(c, engine.Room{Host: 1}).Shortage.Has)

}

// small is a run of two steps.
func small(data string) settings.Train {
	c := settings.Default[settings.Train]()
	c.Model, c.Data, c.LoraR, c.LoraAlpha, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = "the model", data, 4, 8, 2, 2, 4
	return c
}
