//go:build !js

package ollama

// turn is a role with the texts before and behind its messages.
type turn [3]string

// turns writes a template of turns: every message of a role between these two texts.
func turns(first string, roles ...turn) string {
	out := first + "{% for m in messages %}"
	for _, r := range roles {
		out += "{% if m.role == '" + r[0] + "' %}{{ '" + r[1] + "' + m.content + '" + r[2] + "' }}{% endif %}"
	}
	return out + "{% endfor %}"
}

const asks = "{% if add_generation_prompt %}{{ '"

// inFirst puts a system message into the first user's turn.
const inFirst = `{{ bos_token }}{% if messages[0].role == 'system' %}{% set s = messages[0].content %}` +
	`{% set messages = messages[1:] %}{% endif %}`

// known are templates in the formats of published models, with what they make of a system message S, a user's U, an
// answer A and a user's V, and of U alone where that has more than the conversation's beginning.
var known = []struct{ name, source, want, alone string }{
	{"ChatML", chatML, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n" +
		"<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"},
	{"ChatML with a default system message, as of Qwen2.5 and SmolLM2",
		"{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe kind: \"yes\".<|im_end|>\\n' }}{% endif %}" + chatML,
		"<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n" +
			"<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n",
		"<|im_start|>system\nBe kind: \"yes\".<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"},
	{"Qwen3", qwen3, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n" +
		"<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"},
	{"Llama 2", inFirst + `{% for m in messages %}{% if m.role == 'user' %}{{ (bos_token if not loop.first) ~ '[INST] ' }}` +
		`{% if loop.first and s %}{{ '<<SYS>>\n' + s + '\n<</SYS>>\n\n' }}{% endif %}{{ m.content + ' [/INST]' }}` +
		`{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}`,
		"[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A </s><BOS>[INST] V [/INST]", "[INST] U [/INST]"},
	{"Llama 3", "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '" +
		"<|end_header_id|>\\n\\n' + m.content|trim + '<|eot_id|>' }}" +
		"{% endfor %}" + asks + "<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
		"<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>" +
			"<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>" +
			"<|start_header_id|>assistant<|end_header_id|>\n\n", ""},
	{"Llama 3.2, with the date", inFirst + `{{ '<|sys|>Cut: 2023\nToday: ' + strftime_now('%d %b %Y') + '\n\n' + (s or '') + '` +
		`<|eot|>' }}` +
		turns("", turn{"user", "<|usr|>", "<|eot|>"},
			turn{"assistant", "<|ast|>", "<|eot|>"}) + asks + "<|ast|>' }}" +
		"{% endif %}",
		"<|sys|>Cut: 2023\nToday: 05 Mar 2026\n\nS<|eot|><|usr|>U<|eot|><|ast|>A<|eot|><|usr|>V<|eot|><|ast|>",
		"<|sys|>Cut: 2023\nToday: 05 Mar 2026\n\n<|eot|><|usr|>U<|eot|><|ast|>"},
	{"Gemma 2, which takes no system message", `{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no') }}` +
		`{% endif %}` +
		turns("", turn{"user", `<start_of_turn>user\n`, `<end_of_turn>\n`},
			turn{"assistant", `<start_of_turn>model\n`, `<end_of_turn>\n`}) +
		asks + `<start_of_turn>model\n' }}{% endif %}`,
		"<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n" +
			"<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n", ""},
	{"Gemma 3", inFirst + `{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' }}` +
		`{% if loop.first and s %}{{ s + '\n\n' }}{% endif %}{{ m.content|trim + '<end_of_turn>\n' }}{% endfor %}` +
		asks + `<start_of_turn>model\n' }}{% endif %}`,
		"<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n" +
			"<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n", ""},
	{"Mistral v3, the system message in the last turn", inFirst + `{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' }}` +
		`{% if loop.last and s %}{{ s + '\n\n' }}{% endif %}{{ m.content + '[/INST]' }}{% else %}` +
		`{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}`,
		"[INST] U[/INST] A</s>[INST] S\n\nV[/INST]", "[INST] U[/INST]"},
	{"Mistral v7",
		"{{ bos_token }}" + turns("", turn{"system", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"}, turn{"user", "[INST]", "[/INST]"},
			turn{"assistant", "", "</s>"}), "[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]U[/INST]A</s>[INST]V[/INST]", ""},
	{"Phi-3 and Zephyr", "{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content + '<|end|>\\n' }}" +
		"{% endfor %}" + asks + "<|assistant|>\\n' }}{% endif %}",
		"<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n", ""},
	{"Phi-4", "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}" + asks +
		"<|im_start|>assistant<|im_sep|>' }}{% endif %}", "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>U<|im_end|>" +
		"<|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>user<|im_sep|>V<|im_end|><|im_start|>assistant<|im_sep|>", ""},
	{"Granite 3, dated before the system message that nobody gave", "{% if messages[0].role != 'system' %}" +
		"{{ '<|role|>system<|end|>Today is ' + strftime_now('%B %d, %Y') + '.<|eot|>\\n' }}{% endif %}" +
		"{% for m in messages %}{{ '<|role|>' + m.role + '<|end|>' + m.content + '<|eot|>\\n' }}" +
		"{% endfor %}" + asks + "<|role|>assistant<|end|>' }}{% endif %}",
		"<|role|>system<|end|>S<|eot|>\n<|role|>user<|end|>U<|eot|>\n<|role|>assistant<|end|>A<|eot|>\n<|role|>user<|end|>V" +
			"<|eot|>\n<|role|>assistant<|end|>",
		"<|role|>system<|end|>Today is March 05, 2026.<|eot|>\n<|role|>user<|end|>U<|eot|>\n<|role|>assistant<|end|>"},
	{"OLMo 2, whose last answer ends otherwise", "{{ bos_token }}{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content }}" +
		"{{ (eos_token + ('\\n' if not loop.last else '')) if m.role == 'assistant' else '\\n' }}" +
		"{% endfor %}" + asks + "<|assistant|>\\n' }}{% endif %}",
		"<|system|>\nS\n<|user|>\nU\n<|assistant|>\nA</s>\n<|user|>\nV\n<|assistant|>\n", ""},
	{"Vicuna", turns("{{ bos_token }}", turn{"system", "", `\n\n`}, turn{"user", "USER: ", `\n`},
		turn{"assistant", "ASSISTANT: ", `</s>\n`}) +
		asks + "ASSISTANT:' }}{% endif %}", "S\n\nUSER: U\nASSISTANT: A</s>\nUSER: V\nASSISTANT:", ""},
	{"Alpaca", turns("", turn{"system", "", `\n\n`}, turn{"user", `### Instruction:\n`, `\n\n`},
		turn{"assistant", `### Response:\n`, `\n\n`}) +
		asks + `### Response:\n' }}{% endif %}`,
		"S\n\n### Instruction:\nU\n\n### Response:\nA\n\n### Instruction:\nV\n\n### Response:\n", ""},
	{"marks that Go's templates and Modelfiles have a meaning for",
		turns("", turn{"system", `{{"""\u00a0`, `{`},
			turn{"user", "{{{ .X }}", `"""`},
			turn{"assistant", "{% raw -%} ", "\\r\\n"}) + asks + "}}{' }}{% endif %}",
		"{{\"\"\"\u00a0S{{{{ .X }}U\"\"\"{% raw -%} A\r\n{{{ .X }}V\"\"\"}}{", ""},
}

const (
	chatML = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}` +
		asks + `<|im_start|>assistant\n' }}{% endif %}`
	qwen3 = `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' and loop.last %}` +
		`{{ '<think>\n' + (m.reasoning_content or '') + '\n</think>\n\n' }}{% endif %}{{ m.content + '<|im_end|>\n' }}{% endfor %}` +
		asks + `<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}` +
		`{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}`
)
