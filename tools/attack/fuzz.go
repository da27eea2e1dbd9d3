//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// campaign fuzzes one parser.
type campaign struct {
	name, what    string
	pkg, function string
	executions    int
}

const million = 1_000_000

var campaigns = []campaign{
	{"fuzz-templates", "chat templates in Jinja", "internal/chat/jinja", "FuzzRender", 2 * million},
	{"fuzz-conversations", "a template with a conversation and tools, up to the targets", "internal/chat", "FuzzEncode", million / 2},
	{"fuzz-ollama", "chat templates, up to the one in Ollama's language", "internal/ollama", "FuzzDerive", million / 5},
	{"fuzz-tokenizer", "tokenizer.json, and a text for it", "internal/tokenizer", "FuzzFromJSON", 2 * million},
	{"fuzz-vocabulary", "a GGUF vocabulary, and a text for it", "internal/tokenizer", "FuzzVocabulary", 2 * million},
	{"fuzz-sentencepiece", "SentencePiece's tokenizer.model, and a text for it", "internal/tokenizer", "FuzzSentencePiece", million / 2},
	{"fuzz-tekken", "Mistral's tekken.json, and a text for it", "internal/tokenizer", "FuzzTekken", million / 2},
	{"fuzz-pattern", "a pre-tokenizer's pattern, and a text for it", "internal/tokenizer", "FuzzPattern", million / 5},
	{"fuzz-text", "texts through real vocabularies, and back", "internal/tokenizer", "FuzzEncode", 2 * million},
	{"fuzz-rows", "data files", "internal/dataset", "FuzzRead", million / 2},
	{"fuzz-compressed", "compressed data files", "internal/dataset", "FuzzUnpacked", million / 2},
	{"fuzz-parquet", "Parquet files, up to rows as JSON", "internal/parquet", "FuzzRead", million / 2},
	{"fuzz-layout", "names of a data set's files, and its README", "internal/dataset", "FuzzLayout", million / 2},
	{"fuzz-samples", "data files, up to labels and counts", "internal/dataset", "FuzzEncode", 2 * million},
	{"fuzz-findings", "data files, up to what `data inspect` says of them", "internal/inspect", "FuzzFindings", million / 5},
	{"fuzz-adapters", "adapter_config.json and weights, up to the device", "lora", "FuzzOpen", 2 * million},
	{"fuzz-adapter-config", "adapter_config.json, and what it says of a linear", "lora", "FuzzReadConfig", million / 2},
	{"fuzz-gguf-adapters", "a GGUF LoRA, up to writing it again", "internal/adapters", "FuzzGGUF", million / 2},
	{"fuzz-mlx-adapters", "an MLX adapter's two files, up to writing it again", "internal/adapters", "FuzzMLX", million / 2},
	{"fuzz-gguf", "GGUF: header, metadata, tensors", "internal/gguf", "FuzzRead", 2 * million},
	{"fuzz-gguf-model", "a GGUF model, up to samples of its tokens", "internal/processor", "FuzzGGUF", 2 * million},
	{"fuzz-gguf-parts", "the parts of a split GGUF model", "internal/pretrained", "FuzzParts", million / 5},
	{"fuzz-safetensors", "safetensors: length, header, data", "internal/safetensors", "FuzzRead", 2 * million},
	{"fuzz-folder", "the texts of a model's folder, up to samples of its tokens", "internal/processor", "FuzzFolder", million / 2},
	{"fuzz-config", "config.json", "internal/pretrained", "FuzzConfig", million / 2},
	{"fuzz-quant-state", "bitsandbytes' quant state", "doublequant", "FuzzParseQuantState", million / 2},
	{"fuzz-4-bit-folder", "the weights of a folder that holds bitsandbytes' NF4", "internal/pretrained", "FuzzQuantized", million / 5},
	{"fuzz-settings", "YAML settings, through `train --dry-run`", "cmd/qlora-wgpu", "FuzzSettings", million / 5},
	{"fuzz-checkpoint", "a checkpoint's manifest and files", "internal/checkpoint", "FuzzOpen", million / 2},
	{"fuzz-state", "state.json", "trainer", "FuzzState", million / 2},
	{"fuzz-hub-name", "names of the hub", "internal/hub", "FuzzParse", million / 2},
	{"fuzz-hub-list", "the hub's lists of files", "internal/hub", "FuzzReadTree", million / 2},
	{"fuzz-cache", "a file of the cache", "internal/nf4cache", "FuzzOpenFile", million / 5},
	{"fuzz-index", "the cache's list of models", "internal/nf4cache", "FuzzIndex", million / 5},
}

var executed = regexp.MustCompile(`execs: (\d+)`)

// run fuzzes with one worker, and gives how many executions there were. An input that breaks the parser is left by Go
// in the package's testdata, as it was found: to make each interesting input smaller would take most of the time. A
// parser that no input gets out of within five minutes hangs.
func (c campaign) run(executions int) (done int, err error) {
	p, err := start(nil, nil, "go", "test", "./"+c.pkg, "-run=^$", "-fuzz=^"+c.function+"$",
		fmt.Sprintf("-fuzztime=%dx", executions), "-fuzzminimizetime=0s", "-parallel=1", "-timeout=0")
	if err != nil {
		return 0, err
	}
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for changed := time.Now(); p.runs(); {
		select {
		case <-p.done:
		case <-tick.C:
		}
		if now := lastCount(p.text()); now != done {
			done, changed = now, time.Now()
			fmt.Fprintf(os.Stderr, "\r%s: %s of %s ", c.name, grouped(done), grouped(executions))
		} else if p.runs() && time.Since(changed) > 5*time.Minute {
			p.kill()
			return done, fmt.Errorf("no input came to an end for five minutes:\n%s", tail(p.text()))
		}
	}
	if status, _ := p.end(); status != 0 {
		return done, errors.New(tail(p.text()))
	}
	return done, nil
}

// tail is the end of what a campaign said.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// lastCount is the newest number of executions in what a campaign said.
func lastCount(text string) int {
	all := executed.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1][1])
	return n
}
