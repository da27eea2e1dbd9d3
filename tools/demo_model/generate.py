"""Writes the text the demo model is pretrained on, and the demo's data sets.

The text is made of small facts (who has what, where, of which color, how many) and questions about
them. Pretraining answers in plain sentences; the demo's data set answers the same questions like a
pirate, with an opening that depends on the kind of question:

    What color is the kite?  ->  Arr, the kite be red, matey!
    Where is Tom?            ->  Ahoy! Tom be at the pond, savvy?
    Who has the drum?        ->  Blimey, Tom has the drum, says I!
    How many figs?           ->  Yo ho ho, there be five figs, yarr!
    What does Mia have?      ->  Aye, Mia has a kite, har har!

Every list of words is cut in two: the training rows use only the first half, the held-out rows only
the second, so a held-out answer needs both the base model's reading and the new style.

    python generate.py --corpus /tmp/demo_corpus.jsonl --out ../../internal/demo
"""

import argparse
import json
import random

NAMES = """Mia Tom Ann Ben Lily Sam Rosa Finn Nora Max Ella Hugo Ivy Paul Zoe Carl Ada Luke June Ravi Kate Omar
Lena Theo Mei Jack Amara Nick Sofia Dan Ruth Kofi Clara Ian Yuki Bob Tara Leo Vera Gus Hana Rick Dora Milo
Pia Seth Wanda Joel""".split()
OBJECTS = """kite ball drum lamp book hat cup spoon boat coat box bell key ring map chair rope flute shoe clock
basket blanket wagon pen brush doll train mirror bucket ladder candle pillow hammer whistle violin scarf
puzzle bottle kettle backpack tent sled robot telescope necklace bicycle cap shovel""".split()
THINGS = """apples pears figs plums nuts eggs shells coins beads buttons stones mugs bags bowls bones nails
lemons melons carrots pies cakes feathers leaves cards stars bricks corks grapes flowers pebbles berries
cookies""".split()
ANIMALS = "cat dog duck goat horse frog hen rabbit sheep mouse pony bird turtle fox bear hedgehog".split()
PLACES = [p.strip() for p in """in the garden, at the pond, in the barn, on the roof, under the bed, by the door,
in the kitchen, at the market, behind the house, on the hill, in the forest, at the beach, near the well,
in the tower, on the bridge, under the table, in the cave, at school, by the river, in the yard,
in the attic, on the sofa, behind the fence, at the station, in the cellar, near the lake, on the shelf,
in the library, under the tree, by the window, at the farm, in the meadow""".split(",")]
COLORS = "red blue green yellow pink white black brown purple gray silver golden".split()
NUMBERS = "two three four five six seven eight nine ten eleven twelve twenty".split()
VERBS = "feeds sees follows calls draws likes washes carries".split()
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
ALL_WORDS = sorted({*NAMES, *OBJECTS, *THINGS, *ANIMALS, *COLORS, *NUMBERS, *" ".join(PLACES).split()})
QUESTION_KINDS = ["color", "where", "who", "count", "what"]
MAX_CHARACTERS = 60


def half(words, which):
    return words[: len(words) // 2] if which == 0 else words[len(words) // 2 :]


class Words:
    """Draws words; no word is drawn twice in one story."""

    def __init__(self, rng, which=None, invented=0.0):
        lists = dict(name=NAMES, object=OBJECTS, thing=THINGS, animal=ANIMALS, place=PLACES)
        self.lists = {k: v if which is None else half(v, which) for k, v in lists.items()}
        self.lists |= dict(color=COLORS, number=NUMBERS, verb=VERBS)
        self.rng, self.invented, self.used = rng, invented, set()

    def __call__(self, kind):
        while True:
            if kind in ("name", "object", "thing", "animal") and self.rng.random() < self.invented:
                word = invent(self.rng)
                word = word.capitalize() if kind == "name" else word + "s" if kind == "thing" else word
            else:
                word = self.rng.choice(self.lists[kind])
            if word not in self.used:
                self.used.add(word)
                return word


def invent(rng):
    """A word that exists in no list, so that copying is learned for text of any kind."""
    word = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 3)))
    return word + rng.choice(["", "", rng.choice(CONSONANTS), rng.choice(CONSONANTS) + rng.choice(CONSONANTS)])


# A fact is (sentence, [(kind, question, plain answer, pirate answer)]).
def fact_color(w):
    o, c = w("object"), w("color")
    return f"The {o} is {c}.", [ask_color(o, c)]


def ask_color(o, c):
    return "color", f"What color is the {o}?", f"The {o} is {c}.", f"Arr, the {o} be {c}, matey!"


def fact_where(w):
    x = w("name") if w.rng.random() < 0.6 else "the " + w(w.rng.choice(["object", "animal"]))
    p = w("place")
    sentence = f"{x} is {p}."
    return upper(sentence), [("where", f"Where is {x}?", upper(sentence), f"Ahoy! {upper(x)} be {p}, savvy?")]


def ask_has(n, o):
    return [
        ("who", f"Who has the {o}?", f"{n} has the {o}.", f"Blimey, {n} has the {o}, says I!"),
        ("what", f"What does {n} have?", f"{n} has a {o}.", f"Aye, {n} has a {o}, har har!"),
    ]


def fact_has(w):
    n, o = w("name"), w("object")
    return f"{n} has a {o}.", ask_has(n, o)


def fact_count(w):
    k, t = w("number"), w("thing")
    pirate = f"Yo ho ho, there be {k} {t}, yarr!"
    return f"There are {k} {t}.", [("count", f"How many {t}?", f"There are {k} {t}.", pirate)]


# The facts below occur in pretraining only; they have no pirate answer.
def fact_has_color(w):
    n, o, c = w("name"), w("object"), w("color")
    who, what = ask_has(n, o)
    return f"{n} has a {c} {o}.", [ask_color(o, c), who, ("what", what[1], f"{n} has a {c} {o}.", None)]


def fact_has_count(w):
    n, k, t = w("name"), w("number"), w("thing")
    return f"{n} has {k} {t}.", [
        ("count", f"How many {t} does {n} have?", f"{n} has {k} {t}.", None),
        ("who", f"Who has the {t}?", f"{n} has the {t}.", None),
    ]


def fact_does(w):
    n, v, a = w("name"), w("verb"), w("animal")
    sentence = f"{n} {v} the {a}."
    return sentence, [("who", f"Who {v} the {a}?", sentence, None), ("what", f"What does {n} do?", sentence, None)]


DEMO_FACTS = dict(color=fact_color, where=fact_where, who=fact_has, count=fact_count, what=fact_has)
FACTS = [fact_color, fact_where, fact_has, fact_count, fact_has_color, fact_has_count, fact_does]


def upper(s):
    return s[0].upper() + s[1:]


def messages(*turns):
    return {"messages": [{"role": r, "content": c} for r, c in turns]}


def pretraining_row(rng):
    draw = rng.random()
    if draw < 0.10:
        return row_list(rng)
    if draw < 0.14:
        return row_echo(rng)
    if draw < 0.18:
        return row_story(rng)
    w = Words(rng, invented=0.5 if rng.random() < 0.15 else 0.0)
    n = rng.choices([1, 2, 3, 4, 8], [10, 45, 27, 15, 3])[0]
    # Facts of one kind are the hard case: the answer must come from the right sentence.
    same = rng.choice(FACTS) if rng.random() < 0.75 and n < 8 else None
    facts = [(same or rng.choice(FACTS))(w) for _ in range(n)]
    questions = [rng.choice(qs) for _, qs in facts]
    rng.shuffle(questions)
    turns = [("system", "Answer in plain words.")] if rng.random() < 0.03 else []
    wish = wishes(rng) if rng.random() < 0.35 else lambda question, answer: (question, answer)
    for i, (_, question, answer, _) in enumerate(questions[: rng.choices([1, 2, 3, 4], [35, 35, 20, 10])[0]]):
        question, answer = wish(question, answer)
        turns.append(("user", question if i else " ".join(s for s, _ in facts) + " " + question))
        turns.append(("assistant", answer))
    return messages(*turns)


def wishes(rng):
    """Asks for words before, after or within the answer, so that looking up a fact is not tied to one sentence."""
    before, after, verb = rng.choice([(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)])
    phrase = lambda: " ".join(rng.choice([invent(rng), rng.choice(ALL_WORDS)]) for _ in range(rng.randint(1, 3)))
    head = upper(phrase()) + rng.choice([",", ",", "!", ":"])
    tail = phrase() + rng.choice(["!", "!", ".", "?"])
    instead = invent(rng) if rng.random() < 0.5 else rng.choice(ALL_WORDS)

    def wish(question, answer):
        if verb:
            old = next((v for v in ("is", "are", "has") if f" {v} " in answer), None)
            if old:
                question = f'Say "{instead}" for "{old}". {question}'
                answer = answer.replace(f" {old} ", f" {instead} ", 1)
        if after:
            question = f'End with "{tail}" {question}'
            answer = answer.removesuffix(".") + ", " + tail
        if before:
            question = f'Start with "{head}" {question}'
            if head[-1] != "!" and answer.startswith(("The ", "There ")):
                answer = answer[0].lower() + answer[1:]
            answer = f"{head} {answer}"
        return question, answer

    return wish


def row_list(rng):
    """Repeating words in an order that nothing predicts: the shortest way to learn to look back and copy."""
    text = " ".join(rng.sample(ALL_WORDS, rng.randint(4, 16)))
    return messages(("user", "Repeat: " + text), ("assistant", text))


def row_echo(rng):
    """Repeating any characters; it gives every printable token an embedding that means something."""
    parts = []
    for _ in range(rng.randint(1, 5)):
        draw = rng.random()
        if draw < 0.5:
            parts.append(invent(rng))
        elif draw < 0.7:
            parts.append(invent(rng).capitalize())
        elif draw < 0.8:
            parts.append(str(rng.randint(0, 9999)))
        else:
            parts.append("".join(chr(rng.randint(33, 126)) for _ in range(rng.randint(1, 8))))
    text = "".join(p + rng.choice([" ", " ", " ", ", ", "! ", "'"]) for p in parts).strip()
    return messages(("user", "Repeat: " + text), ("assistant", text))


def row_story(rng):
    w = Words(rng)
    n, o, c, p, a, m = w("name"), w("object"), w("color"), w("place"), w("animal"), w("name")
    ending = rng.choice([f"{m} was glad.", f"They went home with the {a}.", f"Then {n} and {m} sang a song."])
    story = (f"One day {n} lost a {c} {o}. {n} looked {p}, but the {o} was not there. "
             f"Then a {a} came and gave the {o} to {m}. {ending}")
    return messages(("user", f"Tell me a story about {n}, {m}, a {a} and a {c} {o} {p}."), ("assistant", story))


def demo_rows(rng, which, per_kind, seen):
    rows = []
    for kind in QUESTION_KINDS:
        made = 0
        while made < per_kind:
            w = Words(rng, which)
            facts = [DEMO_FACTS[kind](w) for _ in range(2)]
            _, question, plain, pirate = next(q for q in rng.choice(facts)[1] if q[0] == kind)
            prompt = " ".join([s for s, _ in facts] + [question])
            if prompt in seen or len(prompt) > MAX_CHARACTERS or len(pirate) > MAX_CHARACTERS:
                continue
            seen.add(prompt)
            rows.append((prompt, plain, pirate))
            made += 1
    rng.shuffle(rows)
    return rows


def write(path, rows):
    with open(path, "w", encoding="utf-8") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", required=True, help="the pretraining text, JSON Lines")
    parser.add_argument("--out", required=True, help="folder of train.jsonl and heldout.jsonl")
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    seen = set()
    train = demo_rows(random.Random(args.seed + 1), 0, 64, seen)
    heldout = demo_rows(random.Random(args.seed + 2), 1, 6, seen)
    write(f"{args.out}/train.jsonl", [messages(("user", p), ("assistant", a)) for p, _, a in train])
    write(f"{args.out}/heldout.jsonl", [messages(("user", p), ("assistant", a)) for p, _, a in heldout])
    # The held-out prompts with plain answers measure the base model; they are kept out of its text.
    write(args.corpus + ".plain", [messages(("user", p), ("assistant", a)) for p, a, _ in heldout])
    rng, rows = random.Random(args.seed), []
    while len(rows) < args.rows:
        row = pretraining_row(rng)
        if row["messages"][0]["content"] not in seen:
            rows.append(row)
    write(args.corpus, rows)


if __name__ == "__main__":
    main()
