"""Turns: what the template shows of them, and which of their tokens are learned. Cases as in chats.py."""

from inputs.chats import BODY, PLAIN, PROMPT, ROW, TWO
from inputs.folder import flagged, template

COLON = ("{% for m in messages %}{{ m.role + ': ' + m.content }}{% if m.role == 'assistant' %}{{ '<|end|>' }}{% else %}{{ '\n' }}"
         "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}")
SHOWS = ("{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.reasoning_content }}{{ m.content }}{% for c in m.tool_calls %}"
         "{{ '(' + c.function.name + ' ' }}"
         "{% if c.function.arguments is string %}{{ c.function.arguments }}{% else %}{{ c.function.arguments | tojson }}{% endif %}"
         "{{ ')' }}{% endfor %}{{ '<|end|>' }}{% endfor %}" + PROMPT)
THOUGHTS = ("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content.split('</think>')[-1].strip() + '<|end|>' }}{% endfor %}" + PROMPT)
ROLE_CONTENT = ("{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.content is defined %}{{ m.content }}{% else %}cup{% endif %}"
                "{{ '<|end|>' }}{% endfor %}")


def call(arguments, **turn):
    function = {"name": "w", "arguments": arguments}
    return {"messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "type": "function", "function": function}], **turn},
        {"role": "tool", "tool_call_id": "c1", "content": "12"}, {"role": "assistant", "content": "It is 12."}]}


def says(*answers):
    """A conversation whose assistant turns are these, as further keys of the turn or as content."""
    turns = []
    for i, answer in enumerate(answers):
        turns.append({"role": "user", "content": f"cup {i}"})
        turns.append({"role": "assistant", **(answer if isinstance(answer, dict) else {"content": answer})})
    return {"messages": turns}


def calls():
    yield "arguments as an object", call({"city": "Rome", "days": 2}), [template(SHOWS)]
    yield "arguments as JSON text", call('{"city":"Rome","days":2}'), [template(SHOWS)]
    escapes = '{"b":1.0,"a":[1e3,-0.5,1234567890123456789,null],"c":"\\u00e9\\n\\"<"}'
    yield "arguments as JSON text, numbers and escapes", call(escapes), [template(SHOWS)]
    yield "arguments as JSON text, empty object", call("{}"), [template(SHOWS)]
    yield "arguments that are no JSON", call("Rome, please"), [template(SHOWS)]
    yield "arguments as JSON text, keys read", call('{"city":"Rome"}'), [template(
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.content }}{% for c in m.tool_calls %}"
        "{% for k, v in c.function.arguments.items() %}{{ k ~ '=' ~ v }}{% endfor %}{% endfor %}{{ '<|end|>' }}{% endfor %}" + PROMPT)]
    yield "a call that the template does not show", call({"city": "Rome"}), [template(PLAIN)]
    yield "a call beside null content", call({"city": "Rome"}, content=None), [template(SHOWS)]
    yield "null content that the template asks for", call({"city": "Rome"}, content=None), [template(ROLE_CONTENT)]
    yield "a name that the template shows", {"messages": [{"role": "user", "name": "Ann", "content": "cup"}, ROW["messages"][1]]}, [
        template("{% for m in messages %}{{ '<|' + m.role + '|>' }}{{ m.name }}{{ m.content }}{{ '<|end|>' }}{% endfor %}" + PROMPT)]


def masks():
    yield "two turns", TWO, []
    yield "a system turn", {"messages": [{"role": "system", "content": "Arr."}, *TWO["messages"]]}, []
    yield "an empty turn", says("", "yes"), []
    yield "a turn of white space", says(" \n", "yes"), []
    yield "a null turn", says({"content": None}, "yes"), [template(SHOWS)]
    legacy = {"content": None, "function_call": {"name": "f", "arguments": "{}"}}
    yield "a turn with a legacy function_call", says(legacy, "yes"), [template(SHOWS)]
    yield "thoughts that the template drops", says("<think>\nhm\n</think>\n\nTwo."), [template(THOUGHTS)]
    yield "nothing but thoughts, which the template drops", says("<think>\nhm\n</think>", "Two."), [template(THOUGHTS)]
    yield "reasoning_content that the template shows", says({"content": "Two.", "reasoning_content": "hm"}), [template(SHOWS)]
    yield "reasoning that the template shows", says({"content": "Two.", "reasoning": "hm"}), [template(SHOWS)]
    yield "thinking that the template shows", says({"content": "Two.", "thinking": "hm"}), [template(SHOWS)]
    texts = [{"type": "text", "text": "One "}, {"type": "text", "text": "cup?"}]
    parts = {"messages": [{"role": "user", "content": texts}, ROW["messages"][1]]}
    yield "content in parts", parts, [template(
        "{% for m in messages %}{{ '<|' + m.role + '|>' }}{% if m.content is string %}{{ m.content }}{% else %}{% for p in m.content %}"
        "{{ p.text }}{% endfor %}{% endif %}{{ '<|end|>' }}{% endfor %}" + PROMPT)]
    for key, values in {"train": (False, True, None), "weight": (0, 1, None), "loss": (False, True, None, 0)}.items():
        for value in values:
            yield f"{key} {value} on a turn", says({"content": "Two.", key: value}, "yes"), []
    nulls = dict.fromkeys(["from", "value", "name", "tool_calls"])
    yield "null columns in turns", {"messages": [{**m, **nulls} for m in ROW["messages"]]}, []
    yield "null columns of turns of the other kind", {"conversations": None, **ROW}, []
    for answer in ("yes", "Arr!", "9", "é", "🙂 yes", " yes", "\nyes", "_yes"):
        yield f"a prompt that ends in a space, answer {answer!r}", says(answer), [template(COLON)]
    yield "a prompt that ends in a letter", says("ring cups"), [template(COLON.replace("'assistant: '", "'assistant: st'").replace(
        "{{ m.role + ': ' + m.content }}", "{{ m.role + ': ' + ('st' if m.role == 'assistant' else '') + m.content }}"))]
    yield "a prompt that ends in line breaks", says("\n\nyes"), [template(COLON.replace(": '", ":\n'"))]
    yield "a prompt whose token takes the space after it", says(" yes", "  no"), [flagged("<|assistant|>", rstrip=True)]
    yield "an end that takes the space before it", says("yes ", "no"), [flagged("<|end|>", lstrip=True)]
    yield "no prompt in the template", TWO, [template(BODY)]
    colon = PROMPT.replace("'<|assistant|>'", "'assistant: '")
    for start, prompt in (("'<|' + m.role + '|>'", PROMPT), ("m.role + ': '", colon)):
        yield f"generation blocks after {start}", says("yes", "é, no", "🙂 9"), [template(
            "{% for m in messages %}{{ " + start + " }}{% if m.role == 'assistant' %}{% generation %}{{ m.content + '<|end|>' }}"
            "{% endgeneration %}{% else %}{{ m.content + '<|end|>' }}{% endif %}{% endfor %}" + prompt)]
    yield "something after the end token", TWO, [template(PLAIN.replace("'<|end|>'", "'<|end|>' + '\n'"))]


def cases():
    yield from calls()
    yield from masks()
