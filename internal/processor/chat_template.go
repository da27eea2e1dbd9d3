package processor

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/chat/training"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

const templateOp = "read chat template"

// ChatTemplate is the Jinja source that the setting chat_template means: the one of the model's that has this name, as
// in transformers, else for "training" the template for training of the model's family, else what read gives of a file.
// Empty stands for the model's own. Errors are *usererr.Error.
func ChatTemplate(source *pretrained.Model, name string, read func(path string) (string, error)) (string, error) {
	if name == "" {
		return "", nil
	}
	own := source.Tokenizer().Templates
	if text, found := own[name]; found {
		return text, nil
	}
	if name == settings.TrainingTemplate {
		text, err := training.For(own[pretrained.DefaultTemplate])
		if err != nil {
			return "", usererr.New(templateOp, name, "%w", err).Of(usererr.Unsupported).
				Hinted("without chat_template each answer is learned as the model's own template writes it")
		}
		return text, nil
	}
	text, err := read(name)
	if err == nil {
		return text, nil
	}
	e := usererr.New(templateOp, name, "%w", err)
	if errors.Is(err, fs.ErrNotExist) {
		names := append(slices.Sorted(maps.Keys(own)), settings.TrainingTemplate)
		e = e.Hinted("chat_template is a file, or one of the names %s", strings.Join(names, ", "))
	}
	return "", e
}
