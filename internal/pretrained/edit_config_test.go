package pretrained

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEditConfigLeavesEveryOtherByteAlone(t *testing.T) {
	gone, half := []byte(nil), []byte(`"float16"`)
	for _, c := range []struct {
		from, to string
		values   map[string][]byte
	}{
		{`{"a":1,"q":{"b":[2,{}]},"c":3}`, `{"a":1,"c":3}`, map[string][]byte{"q": gone}},
		{`{"q":{"b":2},  "c":3}`, `{  "c":3}`, map[string][]byte{"q": gone}},
		{`{ "a" : 1 , "q" : null }`, `{ "a" : 1 }`, map[string][]byte{"q": gone}},
		{`{"q":1}`, `{}`, map[string][]byte{"q": gone}},
		{`{"q":1,"r":2,"s":3}`, `{"s":3}`, map[string][]byte{"q": gone, "r": gone}},
		{`{"a":{"q":1}}`, `{"a":{"q":1}}`, map[string][]byte{"q": gone}},
		{`{"x":"\"q\":","q":5}`, `{"x":"\"q\":","q":{"n":1}}`, map[string][]byte{"q": []byte(`{"n":1}`)}},
		{`{"a":1}`, "{\n  \"q\": 7,\"a\":1}", map[string][]byte{"q": []byte("7")}},
		{`{}`, "{\n  \"q\": 7}", map[string][]byte{"q": []byte("7")}},
		{`{"dtype" : "bfloat16","t":{"torch_dtype":"float32","k":Infinity,"l":[-Infinity,NaN]},"z":1.50}`,
			`{"dtype" : "float16","t":{"torch_dtype":"float16","k":Infinity,"l":[-Infinity,NaN]},"z":1.50}`,
			map[string][]byte{"dtype": half, "torch_dtype": half}},
	} {
		got, err := EditConfig([]byte(c.from), c.values)
		require.NoError(t, err, c.from)
		require.Equal(t, c.to, string(got))
		if !strings.Contains(c.to, "NaN") {
			require.True(t, json.Valid(got), "%s", got)
		}
	}
	for _, damaged := range []string{"", "{", `{"a":}`, `[`, `{"q":1,}`} {
		_, err := EditConfig([]byte(damaged), map[string][]byte{"q": gone})
		require.Error(t, err, damaged)
	}
}
