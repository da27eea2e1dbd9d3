package pretrained

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
)

// Random is a model of the given shape with random weights and no tokenizer: what is measured with it (memory, speed) does not depend on the values. The same
// tensor is the same on every machine.
func Random(name string, c Config) *Model {
	m, _ := newModel(name)
	m.Config = c
	m.hash = "random " + name
	add := func(name string, rows, cols int) {
		m.index[name] = len(m.weights)
		m.weights = append(m.weights, weight{
			Tensor: Tensor{name, rows, cols}, file: m.path,
			readRows: func(first, rows int, dst []float32) error {
				fillRandom(name, first, cols, dst)
				return nil
			},
		})
	}
	q, kv := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	for layer := range c.NumHiddenLayers {
		prefix := fmt.Sprintf("model.layers.%d.", layer)
		for _, linear := range []struct {
			name       string
			rows, cols int
			bias       bool
		}{
			{"self_attn.q_proj", q, c.HiddenSize, c.AttentionBias}, {"self_attn.k_proj", kv, c.HiddenSize, c.AttentionBias},
			{"self_attn.v_proj", kv, c.HiddenSize, c.AttentionBias}, {"self_attn.o_proj", c.HiddenSize, q, c.AttentionBias},
			{"mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias}, {"mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias},
			{"mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias},
		} {
			add(prefix+linear.name+".weight", linear.rows, linear.cols)
			if linear.bias {
				add(prefix+linear.name+".bias", 1, linear.rows)
			}
		}
		add(prefix+"input_layernorm.weight", 1, c.HiddenSize)
		add(prefix+"post_attention_layernorm.weight", 1, c.HiddenSize)
	}
	add("model.norm.weight", 1, c.HiddenSize)
	add("model.embed_tokens.weight", c.VocabSize, c.HiddenSize)
	if !c.TieWordEmbeddings {
		add("lm_head.weight", c.VocabSize, c.HiddenSize)
	}
	return m
}

// fillRandom gives each row numbers of its own, uniform and scaled so that a product with the matrix keeps the size of its input. A norm's weight is 1.
func fillRandom(name string, first, cols int, dst []float32) {
	if strings.HasSuffix(name, "norm.weight") {
		for i := range dst {
			dst[i] = 1
		}
		return
	}
	h := fnv.New64a()
	h.Write([]byte(name))
	scale := float32(math.Sqrt(3/float64(cols)) / (1 << 31))
	for row := 0; row*cols < len(dst); row++ {
		rng := rand.New(rand.NewPCG(h.Sum64(), uint64(first+row)))
		values := dst[row*cols : (row+1)*cols]
		for i := 0; i < len(values); i += 2 {
			bits := rng.Uint64()
			values[i] = float32(int32(bits)) * scale
			if i+1 < len(values) {
				values[i+1] = float32(int32(bits>>32)) * scale
			}
		}
	}
}
