//go:build !js

package dataset

import (
	"path"
	"strings"
)

// HasRows tells names of files that may have rows.
func HasRows(name string) bool { return containerOf(name) != "" }

// containers are the kinds of files that have rows, by what their names end in.
var containers = map[string]string{
	".jsonl": "JSON", ".ndjson": "JSON", ".json": "JSON", ".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".parquet": "Parquet",
	".txt": "text", ".md": "text", ".markdown": "text",
}

// containerOf is the kind of a file by its name and how it is packed; empty: it has no rows.
func containerOf(name string) string {
	switch base := strings.ToLower(path.Base(name)); base {
	case "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "readme.txt", "license.txt":
		return ""
	default:
		if strings.HasPrefix(base, ".") || strings.HasPrefix(base, "readme.") || strings.HasPrefix(base, "license.") {
			return ""
		}
	}
	if kind := containers[extensionOf(name)]; kind != "" {
		return strings.TrimSpace(kind + " " + strings.TrimPrefix(strings.ToLower(name), unpackedName(name)))
	}
	return ""
}
