package pretrained

import (
	"bytes"
	"encoding/json/jsontext"
	"slices"
)

// TypeKeys are those of the type of weights.
var TypeKeys = []string{"dtype", "torch_dtype"}

// EditConfig gives config.json with values put in the place of others, and leaves every other byte alone. values are
// JSON by key; of the outermost object nil takes a key away, and a key that it lacks is put first. TypeKeys are
// replaced wherever they are, since parts of a wrapped model have them too, and never added.
func EditConfig(data []byte, values map[string][]byte) ([]byte, error) {
	// As long as before, so that offsets stay.
	masked := replaceConstants(data, func(constant []byte) []byte { return bytes.Repeat([]byte{'9'}, len(constant)) })
	d := jsontext.NewDecoder(bytes.NewReader(masked))
	var out []byte
	done, missing := 0, map[string][]byte{}
	for key, value := range values {
		if value != nil && !slices.Contains(TypeKeys, key) {
			missing[key] = value
		}
	}
	before := int64(0) // where what stands before a member ends
	kept := false      // a member of the outermost object
	for first := true; first || d.StackDepth() > 0; first = false {
		kind, n := d.StackIndex(d.StackDepth())
		isName := kind == jsontext.KindBeginObject && n%2 == 0 && d.PeekKind() == jsontext.KindString
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := token.String()
		value, asked := values[key]
		if !isName || !asked || d.StackDepth() > 1 && !slices.Contains(TypeKeys, key) {
			before = d.InputOffset()
			kept = kept || isName && d.StackDepth() == 1
			continue
		}
		if d.StackDepth() == 1 {
			delete(missing, key)
		}
		colon := d.InputOffset()
		if err := d.SkipValue(); err != nil {
			return nil, err
		}
		end := d.InputOffset()
		if value == nil {
			start := before
			if !kept { // the comma behind it goes, not that before it
				for int(end) < len(data) && bytes.IndexByte([]byte(" \t\r\n"), data[end]) >= 0 {
					end++
				}
				if int(end) < len(data) && data[end] == ',' {
					end++
				}
			}
			out, done = append(out, data[done:start]...), int(end)
			before = end
			continue
		}
		kept = true
		start := colon + int64(bytes.IndexByte(data[colon:], ':')) + 1
		for bytes.IndexByte([]byte(" \t\r\n"), data[start]) >= 0 {
			start++
		}
		out, done = append(append(out, data[done:start]...), value...), int(end)
		before = end
	}
	out = append(out, data[done:]...)
	for key, value := range missing {
		at := bytes.IndexByte(out, '{') + 1
		member := append([]byte("\n  \""+key+"\": "), value...)
		if next := bytes.TrimLeft(out[at:], " \t\r\n"); len(next) > 0 && next[0] != '}' {
			member = append(member, ',')
		}
		out = append(out[:at:at], append(member, out[at:]...)...)
	}
	return out, nil
}

// ConfigType is the type of weights that config.json names (bfloat16, float16, float32); empty: none.
func (m *Model) ConfigType() string {
	var c struct {
		DType      any            `json:"dtype"`
		TorchDType any            `json:"torch_dtype"`
		Text       map[string]any `json:"text_config"`
	}
	if m.config == nil || decodeJSON(m.config, "config.json", &c) != nil {
		return ""
	}
	for _, value := range []any{c.DType, c.TorchDType, c.Text["dtype"], c.Text["torch_dtype"]} {
		if text, ok := value.(string); ok {
			return text
		}
	}
	return ""
}
