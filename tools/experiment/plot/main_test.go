package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const measured = `{"errors": [
	{"weights": "all-MiniLM-L6-v2", "type": "NF4", "block": 64, "double": true, "relative_rms": 0.09},
	{"weights": "all-MiniLM-L6-v2", "type": "NF4", "block": 128, "double": true, "relative_rms": 0.1},
	{"weights": "all-MiniLM-L6-v2", "type": "Int4", "block": 64, "relative_rms": 0.11}],
"losses": [{"model": "SmolLM2-135M", "type": "16-bit", "loss": 2, "above_16_bit": 0},
	{"model": "SmolLM2-135M", "type": "FP4", "block": 64, "double": true, "above_16_bit": 0.3}],
"training": [{"model": "embedded model", "base": "16-bit", "seed": 0, "held_back_after": 0.2},
	{"model": "embedded model", "base": "NF4, blocks of 64, double quantization", "seed": 1, "held_back_after": 0.3}]}`

// What was measured is in the pictures, what was not is not, and the same results give the same bytes.
func TestPictures(t *testing.T) {
	drawn := func() map[string][]byte {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "qlora.json"), []byte(measured), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := pictures(folder); err != nil {
			t.Fatal(err)
		}
		made := map[string][]byte{}
		for _, name := range []string{"errors", "losses", "training"} {
			data, err := os.ReadFile(filepath.Join(folder, "qlora-"+name+".svg"))
			if err != nil {
				t.Fatal(err)
			}
			made[name] = data
		}
		return made
	}
	first, second := drawn(), drawn()
	for name, texts := range map[string][]string{
		"errors": {"NF4, double quantization", "Int4, absmax in float32"}, "losses": {"FP4, double quantization"}, "training": {"16-bit", "NF4"},
	} {
		for _, text := range texts {
			if !strings.Contains(string(first[name]), text) {
				t.Errorf("the picture of %s lacks %q", name, text)
			}
		}
		if strings.Contains(string(first[name]), "E3M0") {
			t.Errorf("the picture of %s has what was not measured", name)
		}
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("the picture of %s differs the second time", name)
		}
	}
}

func TestNothingMeasured(t *testing.T) {
	folder := t.TempDir()
	if err := pictures(folder); err == nil {
		t.Error("drawn without results")
	}
	if err := os.WriteFile(filepath.Join(folder, "qlora.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := pictures(folder); err == nil || !strings.Contains(err.Error(), "nothing was") {
		t.Errorf("%v", err)
	}
}
