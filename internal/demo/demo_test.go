package demo

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

func TestModelFolderIsSmallAndComplete(t *testing.T) {
	var total int64
	var names []string
	require.NoError(t, fs.WalkDir(ModelFiles(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		total += info.Size()
		names = append(names, path)
		return err
	}))
	require.ElementsMatch(t, ModelNames, names)
	require.LessOrEqual(t, total, int64(4<<20))
}

type config struct {
	Architectures     []string
	HiddenSize        int  `json:"hidden_size"`
	IntermediateSize  int  `json:"intermediate_size"`
	Layers            int  `json:"num_hidden_layers"`
	Heads             int  `json:"num_attention_heads"`
	KVHeads           int  `json:"num_key_value_heads"`
	HeadDim           int  `json:"head_dim"`
	VocabSize         int  `json:"vocab_size"`
	MaxPositions      int  `json:"max_position_embeddings"`
	TieWordEmbeddings bool `json:"tie_word_embeddings"`
	EOS               int  `json:"eos_token_id"`
	Pad               int  `json:"pad_token_id"`
}

func readJSON(t *testing.T, name string, out any) {
	data, err := fs.ReadFile(ModelFiles(), name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, out), name)
}

func TestWeightsHaveTheShapesOfTheConfig(t *testing.T) {
	var c config
	readJSON(t, "config.json", &c)
	require.Equal(t, []string{"LlamaForCausalLM"}, c.Architectures)
	require.True(t, c.TieWordEmbeddings)
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for _, k := range []int{c.HiddenSize, c.IntermediateSize, q} {
		require.Zero(t, k%64, "an NF4 block of 64 would cross rows of %d", k)
	}
	require.Zero(t, c.Heads%c.KVHeads)

	shapes := map[string][]int{
		"model.embed_tokens.weight": {c.VocabSize, c.HiddenSize},
		"model.norm.weight":         {c.HiddenSize},
	}
	for layer := range c.Layers {
		for name, shape := range map[string][]int{
			"input_layernorm":          {c.HiddenSize},
			"post_attention_layernorm": {c.HiddenSize},
			"self_attn.q_proj":         {q, c.HiddenSize},
			"self_attn.k_proj":         {kv, c.HiddenSize},
			"self_attn.v_proj":         {kv, c.HiddenSize},
			"self_attn.o_proj":         {c.HiddenSize, q},
			"mlp.gate_proj":            {c.IntermediateSize, c.HiddenSize},
			"mlp.up_proj":              {c.IntermediateSize, c.HiddenSize},
			"mlp.down_proj":            {c.HiddenSize, c.IntermediateSize},
		} {
			shapes[fmt.Sprintf("model.layers.%d.%s.weight", layer, name)] = shape
		}
	}
	data, err := fs.ReadFile(ModelFiles(), "model.safetensors")
	require.NoError(t, err)
	header := data[8 : 8+binary.LittleEndian.Uint64(data)]
	var tensors map[string]struct {
		DType string
		Shape []int
	}
	require.NoError(t, json.Unmarshal(header, &tensors))
	delete(tensors, "__metadata__")
	require.Len(t, tensors, len(shapes))
	bytes := 8 + len(header)
	for name, shape := range shapes {
		require.Equal(t, shape, tensors[name].Shape, name)
		require.Equal(t, "BF16", tensors[name].DType, name)
		size := 2
		for _, n := range shape {
			size *= n
		}
		bytes += size
	}
	require.Equal(t, bytes, len(data))
}

func TestTokenizerCoversEveryByteAndFitsTheModel(t *testing.T) {
	var c config
	readJSON(t, "config.json", &c)
	var tokenizer struct {
		AddedTokens []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
		PreTokenizer struct {
			Type           string
			AddPrefixSpace bool `json:"add_prefix_space"`
			UseRegex       bool `json:"use_regex"`
		} `json:"pre_tokenizer"`
		Decoder struct{ Type string }
		Model   struct {
			Type  string
			Vocab map[string]int
		}
	}
	readJSON(t, "tokenizer.json", &tokenizer)
	require.Equal(t, "BPE", tokenizer.Model.Type)
	require.Equal(t, "ByteLevel", tokenizer.PreTokenizer.Type)
	require.False(t, tokenizer.PreTokenizer.AddPrefixSpace)
	require.True(t, tokenizer.PreTokenizer.UseRegex)
	require.Equal(t, "ByteLevel", tokenizer.Decoder.Type)

	ids := map[int]string{}
	single := 0
	for token, id := range tokenizer.Model.Vocab {
		require.Less(t, id, c.VocabSize, token)
		ids[id] = token
		if len([]rune(token)) == 1 {
			single++
		}
	}
	require.Equal(t, 256, single, "every byte is a token")
	require.Len(t, ids, c.VocabSize)

	special := map[string]int{}
	for _, token := range tokenizer.AddedTokens {
		require.True(t, token.Special)
		special[token.Content] = token.ID
	}
	require.Equal(t, c.EOS, special["<|end|>"])
	require.Equal(t, c.Pad, special["<|pad|>"])
	require.NotEqual(t, c.EOS, c.Pad)
	var chat struct {
		EOS      string `json:"eos_token"`
		Template string `json:"chat_template"`
	}
	readJSON(t, "tokenizer_config.json", &chat)
	require.Equal(t, "<|end|>", chat.EOS)
	for _, role := range []string{"<|system|>", "<|user|>", "<|assistant|>"} {
		require.Contains(t, special, role)
	}
	require.Contains(t, chat.Template, "<|assistant|>")
}

// words are the lower-case words of all prompts.
func words(rows []Example) map[string]bool {
	seen := map[string]bool{}
	for _, row := range rows {
		for _, word := range strings.FieldsFunc(row.Prompt, func(r rune) bool { return !unicode.IsLetter(r) }) {
			seen[strings.ToLower(word)] = true
		}
	}
	return seen
}

// sharedWords may stand in training and held-out prompts: the frame of facts and questions, colors and numbers.
const sharedWords = `the is are there in at on by near under behind a has have what who where how many color does
red blue green yellow pink white black brown purple gray silver golden
two three four five six seven eight nine ten eleven twelve twenty`

func TestHeldoutSpeaksOfWordsThatTrainingNeverMentions(t *testing.T) {
	train, heldout := Examples("train.jsonl", Train()), Heldout()
	require.GreaterOrEqual(t, len(train), 200)
	require.GreaterOrEqual(t, len(heldout), 24)
	prompts := map[string]bool{}
	for _, row := range train {
		prompts[row.Prompt] = true
	}
	require.Len(t, prompts, len(train), "a training prompt occurs twice")
	for _, row := range heldout {
		require.False(t, prompts[row.Prompt], row.Prompt)
		prompts[row.Prompt] = true
	}
	require.Len(t, prompts, len(train)+len(heldout), "a held-out prompt occurs twice")

	shared := map[string]bool{}
	for _, word := range strings.Fields(sharedWords) {
		shared[word] = true
	}
	trained := words(train)
	for word := range words(heldout) {
		require.False(t, trained[word] && !shared[word], "%q is in the training prompts", word)
	}
}

func TestEveryRowFitsALineAndTheRecipe(t *testing.T) {
	for _, row := range append(Examples("train.jsonl", Train()), Heldout()...) {
		require.NotEmpty(t, row.Answer)
		require.LessOrEqual(t, len(row.Prompt), 60, row.Prompt)
		require.LessOrEqual(t, len(row.Answer), 60, row.Answer)
	}
	var c config
	readJSON(t, "config.json", &c)
	require.LessOrEqual(t, Recipe.MaxSeqLength, c.MaxPositions)
	// The openings mix from the first rows on, which a short look at the held-out prompts relies on.
	openings := map[string]bool{}
	for _, row := range Heldout()[:10] {
		openings[strings.Fields(row.Answer)[0]] = true
	}
	require.GreaterOrEqual(t, len(openings), 4)
}
