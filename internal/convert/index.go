package convert

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
)

// indexOf is model.safetensors.index.json: which file holds each tensor, and the bytes of all.
func indexOf(total int64, files map[string]string) ([]byte, error) {
	var index struct {
		Metadata struct {
			Total int64 `json:"total_size"`
		} `json:"metadata"`
		Files map[string]string `json:"weight_map"`
	}
	index.Metadata.Total, index.Files = total, files
	return json.Marshal(index, json.Deterministic(true), jsontext.WithIndent("  "))
}
