package tokenizer

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

const graphemeJoiner = "\u034F"

// nfc is Unicode's canonical composition. x/text writes a joiner into runs of more than 30 combining marks, which the
// norm of NFC does not ask for and Hugging Face does not do.
func nfc(s string) string {
	out := norm.NFC.String(s)
	if !strings.Contains(s, graphemeJoiner) {
		out = strings.ReplaceAll(out, graphemeJoiner, "")
	}
	return out
}
