// Package export_test compares what export writes with an unmodified llama.cpp and with the gguf package, which read
// it. make test-export sets up both; without them the tests are skipped.
package export_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tools are the other programs: a Python with numpy and gguf, llama.cpp's libraries, and ours.
func tools(t *testing.T) (python, libraries, program string) {
	python, libraries, program = os.Getenv("QLORA_GGUF_PYTHON"), os.Getenv("QLORA_LLAMA"), os.Getenv("QLORA_PROGRAM")
	if python == "" || libraries == "" || program == "" {
		t.Skip("make test-export sets up llama.cpp")
	}
	return python, libraries, program
}

// output runs a program; what it says on standard error comes too.
func output(t *testing.T, input []byte, name string, args ...string) (out []byte, said string, failed error) {
	t.Helper()
	command := exec.Command(name, args...)
	var stderr bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(input), &stderr
	out, failed = command.Output()
	return out, stderr.String(), failed
}

// exported writes a model as export does, and gives the file and what was said.
func exported(t *testing.T, model, kind string, args ...string) (file, said string) {
	t.Helper()
	_, _, program := tools(t)
	file = filepath.Join(t.TempDir(), kind+".gguf")
	_, said, failed := output(t, nil, program, append([]string{"export", "--model", model, "--output", file, "--type", kind}, args...)...)
	require.NoError(t, failed, said)
	return file, said
}

// asked is what llama.cpp answers.
type asked struct {
	Tokens [][]int32
	Logits []float64
}

// ask asks llama.cpp for the tokens of texts, and for the logits of ids.
func ask(t *testing.T, texts []string, ids []uint32, files ...string) (out asked) {
	t.Helper()
	python, libraries, _ := tools(t)
	request, err := json.Marshal(map[string]any{"texts": texts, "ids": ids})
	require.NoError(t, err)
	data, said, failed := output(t, request, python, append([]string{"llama.py", libraries}, files...)...)
	require.NoError(t, failed, said)
	var answer struct {
		Tokens [][]int32 `json:"tokens"`
		Logits string    `json:"logits"`
	}
	require.NoError(t, json.Unmarshal(data, &answer))
	raw, err := base64.StdEncoding.DecodeString(answer.Logits)
	require.NoError(t, err)
	out.Tokens = answer.Tokens
	for ; len(raw) > 0; raw = raw[4:] {
		out.Logits = append(out.Logits, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
	}
	return out
}

// tokenized is what our own tokenizer makes of texts, special tokens in them among them.
func tokenized(t *testing.T, model string, texts []string) (all [][]int32) {
	t.Helper()
	_, _, program := tools(t)
	var lines bytes.Buffer
	for _, text := range texts {
		line, err := json.Marshal(map[string]string{"text": text})
		require.NoError(t, err)
		lines.Write(append(line, '\n'))
	}
	data, said, failed := output(t, lines.Bytes(), program, "tokenize", "--model", model)
	require.NoError(t, failed, said)
	for line := range strings.Lines(string(data)) {
		var row struct {
			IDs []int32 `json:"ids"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &row))
		all = append(all, row.IDs)
	}
	require.Len(t, all, len(texts))
	return all
}
