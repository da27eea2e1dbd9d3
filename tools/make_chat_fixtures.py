"""Makes the expected renders of internal/chat by transformers' apply_chat_template.

    pip install Jinja2==3.1.6 transformers==5.24.0
    python tools/make_chat_fixtures.py internal/chat ../shared/reference/chat_templates

Writes testdata/renders.json (every *.jinja of the second folder and of testdata/templates, over the conversations below) and
jinja/testdata/language.json (small templates that exercise the language). "text" is null where Jinja2 raises. "marks" are, for templates
that have {% generation %} marks, the bytes of each render that stand within them.
"""

import datetime
import json
import pathlib
import sys

import jinja2
from transformers.utils import chat_template_utils

NOW = datetime.datetime(2024, 12, 3, 9, 5, 7)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


class Clock(datetime.datetime):
    @classmethod
    def now(cls):
        return NOW


chat_template_utils.datetime = Clock


def attempt(source, render):
    try:
        return render()
    except (jinja2.exceptions.TemplateError, TypeError, ValueError, ZeroDivisionError, AttributeError, IndexError, KeyError, OverflowError, SyntaxError) as e:
        print("raises:", source[:70].replace("\n", " "), "|", e)
        return None


def render(source, **variables):
    return attempt(source, lambda: chat_template_utils._compile_jinja_template(source).render(**{"tools": None, "documents": None, **variables}))


def render_chat(source, chat, prompt):
    """The text of a conversation, and the bytes of it that stand within generation marks."""
    rendered = attempt(source, lambda: chat_template_utils.render_jinja_template(
        [chat["messages"]], tools=chat["tools"], chat_template=source, return_assistant_tokens_mask=True, add_generation_prompt=prompt,
        **{**TOKENS, **chat["template_args"]}))
    if rendered is None:
        return None, None
    (text,), (spans,) = rendered
    return text, [[len(text[:at].encode()) for at in span] for span in spans]


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather at a place, \"now\" & <here>.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer", "default": 3}, "scale": {"type": "number", "default": 1.5}},
                   "required": ["place"]}}}


def conversations():
    system = {"role": "system", "content": "Answer in one sentence."}
    user = lambda text: {"role": "user", "content": text}
    assistant = lambda text, **more: {"role": "assistant", "content": text, **more}
    calls = [{"type": "function", "function": {"name": "get_weather", "arguments": {"place": "Zürich", "days": 2, "exact": True, "note": None}}}]
    chats = {
        "single": [user("What is 2+2?")],
        "answered": [user("What is 2+2?"), assistant("4")],
        "system": [system, user("Hi"), assistant("Hello!")],
        "multi_turn": [system, user("One?"), assistant("Two."), user("Three?"), assistant("Four."), user("Five?"), assistant("Six.")],
        "open_multi_turn": [user("One?"), assistant("Two."), user("Three?")],
        "white_space": [user("  lines\n\n  and tabs\t\n"), assistant("\n\n spaces  \n"), user("\u00a0nbsp\u2003"), assistant("\r\ncarriage\r\n")],
        "unicode": [user("川の水が増えました。🌊 naïve e\u0301 'quotes' \"double\" \\ back"), assistant("👩‍🚒 العربية {{ not a tag }} {% nor this %}")],
        "empty": [user(""), assistant("")],
        "special_text": [user("What does <|im_end|> mean?</s>"), assistant("It ends a turn: <|im_end|>\n<|im_start|>user")],
        "thinking": [user("Why?"), assistant("<think>\nbecause\n</think>\n\nSo."), user("And?"), assistant("<think>\nhm\n</think>\n\nThen.")],
        "late_system": [user("a"), assistant("b"), system, user("c"), assistant("d")],
        "two_users": [user("a"), user("b"), assistant("c")],
        "tool_turn": [user("Weather?"), assistant("", tool_calls=calls), {"role": "tool", "content": "{\"sky\": \"grey\"}", "name": "get_weather"}, assistant("Grey.")],
        "tool_turns": [system, user("Weather?"), assistant("I look.", tool_calls=calls), {"role": "tool", "content": "grey"}, {"role": "tool", "content": "wet"}, assistant("Grey."), user("Thanks")],
        "long": [m for i in range(20) for m in (user(f"number {i}"), assistant(f"{i * i}"))],
    }
    chats["reasoning_content"] = [user("Why?"), assistant("So.", reasoning_content="because"), user("And?"), assistant("Then.", reasoning_content="hm\n\nyes")]
    chats["thinking"] = [user("Why?"), assistant("So.", thinking="because"), user("And?"), assistant("Then.", thinking="hm")]
    chats["reasoning"] = [user("Why?"), assistant("So.", reasoning="because")]
    for name, messages in chats.items():
        yield name, messages, None, {}
    for name in ("single", "system", "tool_turn", "tool_turns"):
        yield name, chats[name], [WEATHER, WEATHER], {}
    for name in ("single", "multi_turn", "reasoning_content"):
        yield name, chats[name], None, {"enable_thinking": False, "keep": False}
    yield "single", chats["single"], None, {"enable_thinking": True, "bos_token": "<bos>", "depth": {"most": [1, None]}, "documents": [{"title": "t"}]}


LANGUAGE = [
    # White space.
    "text {{ 1 }}{%- if true %} a {% endif %} b\n", "  {% if true %}\n  x\n  {% endif %}\n y", "  {%+ if true %}  a\n{% endif +%}\nb", "a\n{#- c -#}\n b", "a {# c #}\n b",
    "  {# c #}\nb", "x  {# c #}\nb", "a\n  {{ 1 }}\n  b", "{{ 1 -}}\n\n b", "a \n {{- 1 }}", "a\r\nb\rc\n", "a\n\n", "\n", "{% if 1 %}\n\na{% endif %}", "\t{%- set x = 1 -%}\t{{ x }}",
    "{% raw %} {{ x }} {% if %} {% endraw %} b", "a\n  {% raw -%}\n  {{ x }}\n  {%- endraw %}\nb", "{% if true %}{% endif %}\n{% if true %}x{% endif %}", "{#-#}  x", "{{ {'a': {'b': 1}}['a']['b'] }}",
    " {% set a = 1 %} {% set b = 2 %} x", "a{% for i in [1,2] %}\n{{ i }}\n{% endfor %}\nb", "{{ '\n' }}\n{% if 1 %}\n  {%- endif %}\n\nz", "a\n {%- if 1 +%}\n b{% endif %}",
    # Literals and strings.
    r"{{ 'a\n\t\\\'\"\x41\u00e9\U0001F30A\101\q' }}", "{{ \"it's\" ~ 'a' 'b' }}", "{{ 1_000 + 0 }} {{ 1.5 }} {{ 1e3 }} {{ 2.0e-7 }} {{ 1e16 }} {{ 123456789.125 }} {{ 0.1 + 0.2 }}",
    "{{ [1, 'a', none, true, 2.0, [], {}, ()] }}", "{{ (1,) }} {{ (1, 2) }} {{ 1, 2 }}", "{{ {'a': 1, \"b'c\": [1]} }}", "{{ ['\\n', 'é', '\\x00', '\\u200b', \"'\", '\\'\"'] }}", "{{ true }} {{ None }} {{ none is none }} {{ False }}",
    # Operators.
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 ** 10 }} {{ 2 ** 3 ** 2 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ (-1) ** 5 }}",
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 'a' * 3 }} {{ [1] * 2 + [3] }} {{ 1 ~ (2 + 3) }} {{ 7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ true + 1 }}",
    "{{ 1 < 2 < 3 }} {{ 3 > 2 >= 2 == 2 != 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ [1] == (1,) }} {{ none == none }} {{ 'a' == 1 }}",
    "{{ 'a' in 'abc' }} {{ 'a' not in 'abc' }} {{ 1 in [1] }} {{ 'k' in {'k': 1} }} {{ not 1 in [2] }} {{ 1 in {'k': 1} }} {{ none in [none] }} {{ 'x' in nothing }}",
    "{{ 0 or 'b' }} {{ 1 and 'c' }} {{ not 0 }} {{ '' or none or [] }} {{ not true and false }} {{ 1 or 1 / 0 }}", "{{ 'y' if true else 'n' }} {{ 'y' if false }}| {{ 1 if 0 else 2 if 0 else 3 }}",
    "{{ -1 | abs }} {{ -5 + 3 | abs }} {{ 'a' + ' b ' | trim + 'c' }}", "{{ 1 ~ 2 + 3 }}", "{{ -'x' | length }}", "{{ 1 / 0 }}", "{{ 1 // 0 }}", "{{ 'a' + 1 }}", "{{ 'a' ~ 1 ~ none ~ nothing }}", "{{ 1 < 'a' }}", "{{ 'a' - 'b' }}",
    # Undefined.
    "{{ nothing }}|{{ nothing is defined }}|{{ nothing or 'd' }}|{% for i in nothing %}x{% endfor %}|{{ nothing | length }}|{{ nothing == other }}", "{{ nothing.a }}", "{{ nothing['a'] }}", "{{ nothing() }}", "{{ 'a' + nothing }}", "{{ nothing + 1 }}",
    "{{ {'a': 1}.b }}|{{ {'a': 1}['b'] is defined }}|{{ [1][5] }}|{{ 'abc'[7] }}|{{ 'abc'.nope }}|{{ 5 .x }}", "{{ {}.a.b }}", "{{ [nothing] }}", "{{ nothing | default('d') }} {{ '' | default('d') }} {{ '' | d('d', true) }} {{ none | default('d') }}",
    # Subscripts, slices, methods.
    "{{ [1,2,3][-1] }} {{ [1,2,3][1:] }} {{ [1,2,3][::-1] }} {{ [1,2,3][:-1] }} {{ 'héllo'[1] }} {{ 'héllo'[1:4] }} {{ 'héllo'[::-2] }} {{ [1,2,3,4][5:1:-1] }} {{ [1,2][-9:9] }} {{ [1,2,3][-9::-1] }} {{ [1,2,3][2:-9:-1] }} {{ (1,2,3)[:2] }} {{ [1,2,3][none:2] }}",
    "{{ {'items': 1}.items() | list }} {{ {'items': 1}['items'] }} {{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 2) }} {{ {'a': 1, 'b': 2}.keys() | list }} {{ {'a': 1}.values() | list }}",
    "{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xya'.lstrip('yx') }}|{{ 'a\\n\\n'.rstrip('\\n') }}|{{ 'aBc dE'.upper() }}|{{ 'ABC'.lower() }}|{{ \"they're bill's\".title() }}|{{ 'hELLO wORLD'.capitalize() }}",
    "{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'abc'.split('x') }} {{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ ''.split() }} {{ ''.split(',') }}", "{{ 'a'.split('') }}",
    "{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.replace('b', 'xx') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'aa'.replace('', '-') }} {{ ','.join(['a', 'b']) }} {{ 'hého'.find('o') }} {{ 'a'.find('z') }} {{ 'abab'.rfind('b') }} {{ 'abab'.count('ab') }}",
    "{{ '12'.isdigit() }} {{ 'a1'.isalpha() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'ab'.islower() }} {{ ''.isdigit() }} {{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }}",
    "{{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }}", "{{ [1].append(2) }}", "{{ {'a': 1}.update({'b': 2}) }}", "{{ {'a': 1}.pop('a') }}", "{{ ','.join([1]) }}", "{{ 'a'.__class__ }}",
    # Filters.
    "{{ ' a ' | trim }}|{{ 'xax' | trim('x') }}|{{ 'a b-c (d) eF' | title }}|{{ 'hELLO' | capitalize }}|{{ 'a' | upper | lower }}|{{ 5 | string + 'x' }}|{{ 'héé' | length }}|{{ {'a':1} | count }}",
    "{{ [1,'a',2.5] | join(', ') }} {{ [1,2] | join }} {{ [{'n': 'x'}, {'n': 'y'}] | join('-', attribute='n') }} {{ 'abc' | join('.') }}", "{{ [3,1,2] | sort }} {{ ['b','A','c'] | sort }} {{ ['b','A'] | sort(case_sensitive=true) }} {{ [1,2,3] | sort(reverse=true) }} {{ [{'n':2},{'n':1}] | sort(attribute='n') }}",
    "{{ [1,2] | first }} {{ [1,2] | last }} {{ [] | first }}| {{ 'abc' | last }} {{ [1,2,3] | reverse | list }} {{ 'abc' | reverse }} {{ 'ab' | list }} {{ {'b': 1, 'a': 2} | list }} {{ {'b': 1, 'a': 2} | items | list }} {{ {'b': 1, 'A': 2} | dictsort }}",
    "{{ '12' | int + 1 }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ 3.9 | int }} {{ '2.7' | int }} {{ '1.5' | float }} {{ 'x' | float }} {{ -3 | abs }} {{ 2.5 | round }} {{ 3.14159 | round(2) }} {{ 2.1 | round(0, 'ceil') }} {{ [1,2,3] | sum }} {{ [3,1] | min }} {{ ['b','a'] | max }}",
    "{{ [{'a': 1}, {'a': 2}, {}] | map(attribute='a') | list }} {{ ['a','b'] | map('upper') | list }} {{ [' a '] | map('trim') | join }} {{ [{'a': {'b': 3}}] | map(attribute='a.b') | list }} {{ [{}] | map(attribute='z', default='d') | list }}",
    "{{ [1,2,3,4] | select('even') | list }} {{ [0,1,''] | select | list }} {{ [1,2] | reject('equalto', 1) | list }} {{ [{'r':'u'},{'r':'a'}] | selectattr('r','equalto','u') | list }} {{ [{'r':'u'},{}] | selectattr('r') | list }} {{ [{'r':'u'},{}] | rejectattr('r','defined') | list }} {{ ['a','b'] | select('in', ['b']) | list }}",
    "{{ 'a\\nb\\n\\nc' | indent }}|{{ 'a\\nb' | indent(2, true) }}|{{ 'a\\n\\nb' | indent(1, blank=true) }}|{{ 'a\\nb' | indent('>') }}", "{{ [1,1,'a','A'] | unique | list }} {{ 'aXbX' | replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ 'x' | safe }}",
    "{{ {'a': [1, 2.5, none, true, 'é\"\\\\\\n\\t\\x01\\x7f<&>'], 'b': {}, 'c': []} | tojson }}", "{{ {'b': [1, {'x': 2}], 'a': []} | tojson(indent=2) }}", "{{ {'b': 1, 'a': 'é🌊'} | tojson(ensure_ascii=true, sort_keys=true) }}", "{{ [1, {'a': 2}] | tojson(separators=(',', ':')) }} {{ [1,2] | tojson(indent=1, separators=(', ', ': ')) }}", "{{ nothing | tojson }}", "{{ [1e20, 1.0, 1e-7] | tojson }}",
    # Tests.
    "{{ 1 is odd }} {{ 2 is even }} {{ 6 is divisibleby 3 }} {{ 'a' is string }} {{ 1 is number }} {{ true is number }} {{ 1 is integer }} {{ true is integer }} {{ 1.0 is float }} {{ true is boolean }} {{ true is true }} {{ 1 is true }} {{ false is false }}",
    "{{ {} is mapping }} {{ [] is sequence }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ nothing is iterable }} {{ none is none }} {{ 1 is not none }} {{ range is callable }} {{ 'a' is in ['a'] }} {{ 1 is eq 1 }} {{ 1 is ne(2) }} {{ 2 is gt 1 }} {{ 'AB' is upper }} {{ 'a' is lower }} {{ none is sameas none }} {{ 1 is sameas true }}",
    "{{ x is not defined and true }} {{ 'a' is string and 'b' is string }} {{ not x is defined }} {{ (1 is odd) ~ 'a' }} {{ 'yes' if x is undefined else 'no' }}",
    # Statements.
    "{% if a %}1{% elif b is undefined %}2{% else %}3{% endif %}", "{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
    "{% for i in [] %}x{% else %}empty{% endfor %} {% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %} {% for k, v in {'a': 1}.items() %}{{ k }}={{ v }}{% endfor %} {% for k in {'x': 1} %}{{ k }}{% endfor %}", "{% for (a, b) in [[1]] %}{% endfor %}",
    "{% for i in range(10) if i is odd %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}", "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1,2] %}{% for j in [1,2] %}{{ loop.depth }}{{ i }}{{ j }}{{ loop.cycle('a', 'b') }} {% endfor %}{{ loop.index }}{% endfor %}",
    "{% for i in [1,1,2] %}{{ loop.changed(i) }}{% endfor %}", "{% set x = 1 %}{% for i in [1,2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "{% for i in [1,2] %}{% if i == 1 %}{% set y = 'set' %}{% endif %}{{ y is defined }}{% endfor %}",
    "{% set ns = namespace(a=1, b='x') %}{% for i in [1,2] %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1, 2, 3] %}", "{% set x %}a {{ 1 }}\nb{% endset %}[{{ x }}]", "{% set x | upper | trim %} a {{ 1 }} {% endset %}[{{ x }}]", "{% set d = {'a': 1} %}{% set d.a = 2 %}",
    "{% macro m(a, b='d', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, 2, 3) }} {{ m(c=3, a=1) }} {{ m() }}", "{% macro m(a) %}x{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}x{% endmacro %}{{ m(b=2) }}", "{% set g = 5 %}{% macro m() %}{{ g }}{{ h }}{% endmacro %}{{ m() }}{% set h = 6 %}{{ m() | trim }}{{ m() is string }}",
    "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro a(x) -%}\n  {{ x }}\n{%- endmacro -%}\n[{{ a('q') }}]", "{% for i in [1] %}{% set loop = 2 %}{% endfor %}", "{% break %}",
    "{{ range(3) | list }} {{ range(1, 7, 2) | list }} {{ range(3, 0, -1) | list }} {{ dict(a=1) }} {{ dict({'a': 1}, b=2) }}", "{{ range(1, 2, 0) }}", "{{ strftime_now('%d %b %Y %H:%M:%S %A %a %B %m %y %j %p %I %%') }}", "{{ raise_exception('no') }}",
    "{{ messages | length }}{% for m in messages %}{{ m.role }}{{ m['content'] }}{{ m.get('name', '-') }}{% endfor %}", "{{ messages[0].content is string and messages[0].content is not mapping }}", "{{ messages[-1]['role'] }} {{ messages[1:] | length }} {{ (messages | last).role }}", "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join('|') }}",
    # Calls with lists and mappings, what macros take beside their parameters, call, filter and with blocks.
    "{% macro m(a, b='d', c=none) %}{{ a }}-{{ b }}-{{ c }}{% endmacro %}{{ m(*[1, 2]) }} {{ m(1, *[2, 3]) }} {{ m(**{'a': 1, 'c': 3}) }} {{ m(*[1], **{'b': 2}) }} {{ m(1, c=5, **{'b': 4}) }} {{ m(*'xy') }} {{ m(b=1, *['q']) }}",
    "{% macro m(a) %}x{% endmacro %}{{ m(**{'a': 1}, a=2) }}", "{% macro m(a) %}x{% endmacro %}{{ m(**[1]) }}", "{% macro m(a) %}x{% endmacro %}{{ m(*[1], *[2]) }}", "{% macro m(a) %}x{% endmacro %}{{ m(*5) }}", "{{ range(*[1, 7, 2]) | list }} {{ dict(**{'a': 1, 'b': 2}) }} {{ dict(z=1, a=2, m=3) }} {{ 'a-b'.split(*['-']) }} {{ 'x' | replace(*['x', 'y']) }} {{ [3,1] | sort(**{'reverse': true}) }}",
    "{% macro m(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4, j=5) }} {{ m() }} {{ m(1) }}", "{% macro m() %}{{ kwargs | length }}{% endmacro %}{{ m(1) }}", "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(k=1) }}",
    "{% macro box(title) %}<{{ title }}>{{ caller() }}</{{ title }}>{% endmacro %}{% call box('b') %}in {{ 1 + 1 }}{% endcall %}|{{ box('c') if false else 'none' }}", "{% macro each(list) %}{% for i in list %}{{ caller(i, loop.index) }};{% endfor %}{% endmacro %}{% call(item, at=0) each([7, 8]) %}{{ at }}={{ item }}{% endcall %}", "{% macro plain() %}x{% endmacro %}{% call plain() %}y{% endcall %}", "{% macro opt() %}{{ 'with' if caller is defined else 'without' }}{% if caller %}{{ caller() }}{% endif %}{% endmacro %}{% call opt() %}!{% endcall %} {{ opt() }}",
    "{% macro a() %}[{{ caller() }}]{% endmacro %}{% macro b() %}({% call a() %}{{ caller() }}{% endcall %}){% endmacro %}{% call b() %}z{% endcall %}", "{% call 5 %}{% endcall %}", "{% call nothing() %}{% endcall %}", "{% set x = 1 %}{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}{% set x = 2 %}{{ x }}{% endcall %}{{ x }}", "{% for i in [1] %}{% call range(2) %}{% break %}{% endcall %}{% endfor %}",
    "{% filter upper %}a {{ 'b' }}{% endfilter %}|{% filter trim | replace('x', 'y') %} x {% endfilter %}", "{% filter upper %}{% set q = 1 %}a{% endfilter %}{{ q is defined }}", "{% filter %}a{% endfilter %}", "{% with a = 1, b = 'x' %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% set a = 5 %}{% with %}{% set a = 6 %}{{ a }}{% endwith %}{{ a }}", "{% with a=1 b=2 %}{% endwith %}", "{% for i in [1,2,3] %}{% with j = i %}{% if j == 2 %}{% break %}{% endif %}{{ j }}{% endwith %}{% endfor %}",
    # Formats.
    "{{ '%s, %s!' | format('a', 1) }} {{ '%(x)s-%(y)d' | format(x='q', y=3.9) }} {{ '100%%' | format() }} {{ '%s' | format(none) }} {{ '%s' | format([1, 'a']) }}", "{{ '%5d|%-5d|%05d|%+d|% d|%x|%X|%#x|%o' | format(42, 42, 42, 42, 42, 255, 255, 255, 8) }} {{ '%5s|%-5s|%.2s|%r|%c|%c' | format('ab', 'ab', 'abcd', 'é', 65, 'z') }} {{ '%a' | format('é🌊') }}",
    "{{ '%f|%.2f|%8.3f|%-8.1f|%08.2f|%e|%.3E|%g|%g|%g|%G' | format(1.5, 2.345, 3.14159, 2, -1.5, 12345.678, 0.00012, 1e10, 0.0001, 123456789.0, 1e-10) }} {{ '%*d|%-*d|%.*f' | format(5, 1, 4, 2, 1, 2.25) }} {{ '%.3d|%+.2e|%#o|%i|%ld' | format(7, 0.0, 8, true, 9) }}",
    "{{ '%s %s' | format(1) }}", "{{ '%s' | format(1, 2) }}", "{{ '%d' | format('x') }}", "{{ '%' | format(1) }}", "{{ '%q' | format(1) }}", "{{ '%(a)s' | format(1) }}", "{{ '%(a)s' | format(b=1) }}", "{{ '%s' | format(1, a=2) }}", "{{ '%x' | format(1.5) }}", "{{ '%s-%s' % (1, 'b') }} {{ '%s' % 'x' }} {{ '%(k)s' % {'k': 'v'} }} {{ 'a%%' % () }} {{ '%s' % [1] }} {{ 'abc' % [1] }} {{ '%s' % {'a': 1} }}", "{{ 'abc' % 5 }}", "{{ '%s' % (1, 2) }}",
    "{{ '{} {}'.format(1, 'b') }} {{ '{1}{0}'.format('x', 'y') }} {{ '{a}-{b.c}-{d[0]}-{e[k]}'.format(a=1, b={'c': 2}, d=[3], e={'k': 4}) }} {{ '{{}} {!r} {!s}'.format('é', 'é') }}", "{{ '{:5}|{:<5}|{:>5}|{:^5}|{:*^6}|{:.2}'.format('ab', 'ab', 'ab', 'ab', 'ab', 'abc') }} {{ '{:5}|{:<5}|{:05}|{:+d}|{:,}|{:x}|{:#X}|{:b}|{:#o}|{:=+6}'.format(42, 42, 42, 42, 1234567, 255, 255, 5, 8, 3) }} {{ '{:.2f}|{:8.1f}|{:e}|{:.3g}|{:%}|{:,.1f}|{}|{:10}'.format(3.14159, 2.55, 1234.5, 0.00012345, 0.25, 12345.67, 2.0, 1.5) }}",
    "{{ '{}'.format() }}", "{{ '{'.format(1) }}", "{{ '}'.format(1) }}", "{{ '{x}'.format(1) }}", "{{ '{:d}'.format('a') }}", "{{ '{!z}'.format(1) }}", "{{ '{:5}'.format([1]) }}", "{{ '{} {}'.format(none, true) }}",
    # Further filters, and texts that count as escaped.
    "{{ [1,2,3,4,5] | batch(2) | list }} {{ [1,2,3] | batch(2, '-') | list }} {{ [] | batch(3) | list }} {{ 'abcd' | batch(3) | list }} {% for row in range(5) | batch(2, 0) %}{{ row | join(',') }};{% endfor %}", "{{ [1,2,3,4,5,6,7] | slice(3) | list }} {{ [1,2,3,4,5,6,7] | slice(3, '-') | list }} {{ [1] | slice(3) | list }} {{ [1,2] | slice(2, 'x') | list }}",
    "{{ '<a href=\"x\">\\'&amp;' | e }} {{ 5 | escape }} {{ none | e }} {{ '<' | e | e }} {{ '<' | e | forceescape }} {{ '<' | safe | e }} {{ ('<' | e) ~ '<' }} {{ ('<' | e) + '<' }} {{ '<' + ('<' | safe) }} {{ ('<' | e) * 2 }} {{ ('<' | e) | length }} {{ ('<' | e) == '&lt;' }} {{ ('a<' | e).upper() }} {{ ('<' | e) | upper + '<' }} {{ '&lt;' in ('<' | e) }} {{ {'a': '<' | e} | tojson }}", "{{ [('<' | e)] }} {{ ('<' | e) is string }} {{ ('<' | e)[1:3] }} {{ ('a' | safe)[0] }} {{ ('<' | safe).strip() + '>' }} {{ ' a ' | safe | trim + '<' }} {{ '<' | safe | string }}",
    "{{ [{'r': 'b', 'n': 1}, {'r': 'a', 'n': 2}, {'r': 'B', 'n': 3}] | groupby('r') | map('last') | map('map', attribute='n') | map('list') | list }} {% for key, list in [{'r': 2, 'n': 1}, {'r': 1, 'n': 2}, {'r': 2, 'n': 3}] | groupby('r') %}{{ key }}:{{ list | map(attribute='n') | join(',') }} {% endfor %}{% for g in [{'r': 'x'}, {}] | groupby('r', default='none') %}{{ g[0] }}{{ g[1] | length }} {% endfor %}",
    "[{{ 'ab' | center(6) }}] [{{ 'ab' | center(7) }}] [{{ 'abc' | center(6) }}] [{{ 'abc' | center(2) }}] {{ \"two words, it's four\" | wordcount }} {{ {'a': 1} | attr('items') is defined }} {{ {'a': 1} | attr('a') is defined }} {{ 'x' | attr('upper') is defined }}",
    "{% if false %}{{ 1 | frobnicate }}{{ 1 is frobnicated }}{% endif %}a", "{{ 1 | frobnicate if false else 'b' }} {{ 'c' if true else 1 | frobnicate }}", "{% if true %}{{ 1 | frobnicate }}{% endif %}", "{% for i in [] %}{{ i | frobnicate }}{% endfor %}", "{{ none | selectattr('a') | list }} {{ none | map('upper') | list }} {{ none | select | list }} {{ 0 | rejectattr('b') | list }}", "{{ 'tojson' is filter }} {{ 'frobnicate' is filter }} {{ 'defined' is test }} {{ 'x' is test }}",
    # Keys that are no strings.
    "{% set d = {1: 'a', 2.0: 'b', none: 'c', true: 'd', 'x': 'e'} %}{{ d[1] }}{{ d[2] }}{{ d[none] }}{{ d['x'] }}{{ d.get(1.0) }} {{ d }} {{ 2 in d }} {{ 3 in d }} {% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}{{ d | tojson }} {{ d | length }}", "{{ {3: 1, 1: 2} | dictsort }} {{ {3: 1, 1: 2} | tojson(sort_keys=true) }} {{ {0: 'a', 512: 'b'}.keys() | max }}", "{{ {[1]: 2} }}",
    # Broken templates.
    "{% if %}", "{% if true %}", "{{ }}", "{{ 1 ", "{% endif %}", "{{ 1 + }}", "{{ 'a }}", "{% for i %}{% endfor %}", "{% unknown %}", "{{ a b }}", "{{ [1, }}", "{# open", "{{ x is }}", "{{ 1 | }}", "{% set 1 = 2 %}", "{% macro m() %}", "{% call m() %}", "{% filter upper %}", "{% with a %}{% endwith %}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ f(a=1, 2) }}", "{% raw %} x", "{{ a..b }}", "{{ $ }}",
]


def main():
    out, templates = map(pathlib.Path, sys.argv[1:3])
    chats = [{"name": n, "messages": m, "tools": t, "template_args": a} for n, m, t, a in conversations()]
    renders, marks = {}, {}
    for path in sorted(templates.glob("*.jinja")) + sorted((out / "testdata" / "templates").glob("*.jinja")):
        source = path.read_text()
        rows = [render_chat(source, chat, prompt) for chat in chats for prompt in (False, True)]
        renders[path.stem] = [text for text, _ in rows]
        if "generation %}" in source:
            marks[path.stem] = [spans for _, spans in rows]
    write(out / "testdata" / "renders.json", {"now": NOW.isoformat() + "Z", "tokens": TOKENS, "conversations": chats, "renders": renders, "marks": marks})
    messages = next(m for n, m, *_ in conversations() if n == "multi_turn")
    write(out / "jinja" / "testdata" / "language.json", [{"template": t, "text": render(t, messages=messages, **TOKENS)} for t in LANGUAGE])


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
