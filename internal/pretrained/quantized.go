package pretrained

import (
	"cmp"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// takeOriginal is the way out that every quantized model has.
const takeOriginal = "take the original model, its weights are quantized to NF4 on loading"

// dequantized is how transformers makes 16-bit weights of those that it can: by quantization method, the code behind
// AutoModelForCausalLM.
var dequantized = map[string]string{
	bitsandbytes: ".from_pretrained(FOLDER).dequantize()",
	"mxfp4":      ".from_pretrained(FOLDER, quantization_config=Mxfp4Config(dequantize=True))",
	"fp8":        ".from_pretrained(FOLDER, quantization_config=FineGrainedFP8Config(dequantize=True))",
}

const bitsandbytes = "bitsandbytes"

// readQuantization reads quantization_config: true where it is bitsandbytes' NF4, the one form that is taken as it is.
// Every other one is an error with its name and a way out. Which linears are quantized, in what blocks and with what
// absmax, the weights say themselves.
func readQuantization(k *spec.Keys) (bool, error) {
	const key = "quantization_config"
	value := k.Values[key]
	if value == nil {
		return false, nil
	}
	fail := func(kind usererr.Kind, hint, format string, args ...any) (bool, error) {
		err := usererr.New(op, k.Path, format, args...).Of(kind).Hinted("%s", hint)
		err.Where = k.Place(key)
		return false, err
	}
	c, ok := value.(map[string]any)
	if !ok {
		return fail(usererr.Format, takeOriginal, "%s is no object", key)
	}
	is := func(name string) bool { return c[name] == true || c["_"+name] == true }
	method, _ := c["quant_method"].(string)
	if method == "" && (is("load_in_4bit") || is("load_in_8bit")) {
		method = bitsandbytes // files of 2023 do not name it
	}
	kind := method
	if method == bitsandbytes {
		switch codes, _ := c["bnb_4bit_quant_type"].(string); {
		case is("load_in_8bit"):
			kind = "bitsandbytes int8 (load_in_8bit)"
		case !is("load_in_4bit"):
			return fail(usererr.Format, takeOriginal, "%s has neither load_in_4bit nor load_in_8bit", key)
		case codes == "nf4":
			return true, nil
		default: // which is bitsandbytes' own default
			kind = "bitsandbytes " + cmp.Or(codes, "fp4") + " (bnb_4bit_quant_type)"
		}
	}
	hint := takeOriginal
	if code, ok := dequantized[method]; ok {
		hint += ", or make 16-bit weights of these: AutoModelForCausalLM" + code + ".save_pretrained(OTHER)"
	}
	return fail(usererr.Unsupported, hint, "the weights are quantized already, in a form that is not read: %s", cmp.Or(kind, "an unknown one"))
}
