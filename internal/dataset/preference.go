package dataset

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// preference is a data set of which better and worse answers are learned (DPO, KTO and their like), which is not done
// here.
type preference struct {
	better, worse string // columns of answers; worse is empty where a column says which answer is good
	label         string
	question      string // empty: better holds that too
	turns         bool   // better is a list of turns
}

var preferenceNames = [][2]string{{"chosen", "rejected"}, {"accepted", "rejected"}, {"preferred", "dispreferred"}, {"better", "worse"}}

// preferenceIn recognizes preferences by their columns; a column of whole conversations beside them is what is learned.
func preferenceIn(row fields) *preference {
	columns := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(row)) {
		if row[name].Kind() != jsontext.KindNull {
			columns[strings.ToLower(strings.TrimSpace(name))] = name
		}
	}
	if columns["messages"] != "" {
		return nil
	}
	p := &preference{}
	for _, name := range append(slices.Clone(questionNames), "conversations") {
		if p.question == "" {
			p.question = columns[name]
		}
	}
	for _, pair := range preferenceNames {
		p.better, p.worse = columns[pair[0]], columns[pair[1]]
		if p.better == "" || p.worse == "" {
			continue
		}
		if first := firstOfList(row[p.better]); first != nil && (p.question == "" || !isAnswer(first)) {
			p.question, p.turns = "", true // the question is among the turns
		}
		return p
	}
	p.better, p.label, p.worse = columns["completion"], columns["label"], ""
	if kind := row[p.label].Kind(); p.question != "" && p.better != "" && (kind == jsontext.KindTrue || kind == jsontext.KindFalse) {
		return p
	}
	return nil
}

// firstOfList is the first object of a list, nil for anything else.
func firstOfList(value jsontext.Value) fields {
	var list []fields
	if value.Kind() != jsontext.KindBeginArray || json.Unmarshal(value, &list) != nil || len(list) == 0 {
		return nil
	}
	return list[0]
}

func isAnswer(turn fields) bool {
	for _, key := range []string{"role", "from"} {
		if speaker, err := stringOf(turn[key], key); err == nil && roles[key][speaker] == "assistant" {
			return true
		}
	}
	return false
}

func (p *preference) String() string {
	if p.label != "" {
		return fmt.Sprintf("answers with a verdict, as KTO takes them: column %s says whether each is good, and here all would be learned alike",
			quote(p.label))
	}
	return fmt.Sprintf("preference pairs, as DPO takes them: column %s is the better answer and %s the worse, and here answers are learned, "+
		"not preferences", quote(p.better), quote(p.worse))
}

func (p *preference) wayOut() string {
	switch {
	case p.label != "":
		return fmt.Sprintf("keep the rows whose %s is true, and name the columns: --data-columns 'prompt=%s,completion=%s'", p.label,
			p.question, p.better)
	case p.turns:
		return fmt.Sprintf("to learn the better answers alone: --data-columns 'messages=%s'", p.better)
	case p.question == "":
		return fmt.Sprintf("to learn the better texts alone: --data-columns 'text=%s'", p.better)
	}
	return fmt.Sprintf("to learn the better answers alone: --data-columns 'prompt=%s,completion=%s'", p.question, p.better)
}
