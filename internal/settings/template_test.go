package settings

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTemplateArgs(t *testing.T) {
	for _, text := range []string{"", "  ", "{}", ` {"enable_thinking": false} `, `{"a": {"b": [null, 1.5]}}`} {
		require.NoError(t, Template{TemplateArgs: text}.Check(), text)
	}
	require.Nil(t, Template{TemplateArgs: " "}.Args())
	for _, text := range []string{"[]", "false", "{", `{"a"}`, `{'a': 1}`, `{"a": 1} {}`, `{"a": 1, "a": 2}`, "enable_thinking=false"} {
		require.ErrorContains(t, Template{TemplateArgs: text}.Check(), "settings: template_args is ", text)
	}
	c := valid()
	c.TemplateArgs = "x"
	require.ErrorContains(t, c.Check(), `template_args is x, allowed: a JSON object, such as {"enable_thinking": false}`)
	answering := Default[Inference]()
	answering.Source, answering.Template = c.Source, c.Template
	require.ErrorContains(t, answering.Check(), "template_args", "what answers renders templates too")
}

// What is said in another way is the same.
func TestTemplateArgsAreOfTheIdentity(t *testing.T) {
	plain, one, two := valid(), valid(), valid()
	one.TemplateArgs, two.TemplateArgs = `{"a": 1, "b": [true]}`, ` {"b":[true],"a":1.0}`
	require.NotEqual(t, Identity(plain, ""), Identity(one, ""))
	require.Equal(t, Identity(one, ""), Identity(two, ""))
	require.Empty(t, Differences(one, two))
	require.Equal(t, []string{`template_args was , is {"a":1,"b":[true]}`}, Differences(plain, one))
}
