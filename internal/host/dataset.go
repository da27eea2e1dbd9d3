//go:build !js

package host

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/hub"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// openData reads the data set of a path, or where there is none of a name on the hub.
func openData(ctx context.Context, name string, r dataset.Reading, emit func(events.Event)) (train, valid *dataset.Source, err error) {
	if dataset.HasRows(name) && !strings.Contains(name, "://") { // data/train.jsonl may be missing, and is no repository
		return r.Open(name)
	}
	var layout *dataset.Layout
	var repository string
	path, err := find(ctx, name, hub.Datasets, emit, func(h *hub.Hub, n hub.Name) (path string, err error) {
		repository = n.Repo
		path, layout, err = fetchData(ctx, h, n, r)
		if n.Revision != "main" || !errors.Is(err, dataset.ErrNoFiles) {
			return path, err
		}
		n.Revision = converted
		made, its, madeErr := fetchData(ctx, h, n, r)
		if its == nil {
			return path, err
		}
		emit(events.Info{Message: name + " has no files with rows: the Parquet files that the hub made of it are taken."})
		layout = its
		return made, madeErr
	})
	switch {
	case err != nil:
		return nil, nil, err
	case layout == nil:
		return r.Open(path)
	}
	if train, valid, err = r.OpenLayout(layout, path); err == nil {
		train.Repositories = []string{repository}
	}
	return train, valid, err
}

// converted is the branch in which the hub keeps the Parquet files that it makes of data sets.
const converted = "refs/convert/parquet"

// fetchData brings the files of the wanted splits into the cache, those alone, and says which are which; nil: it
// was not learned what there is.
func fetchData(ctx context.Context, h *hub.Hub, n hub.Name, r dataset.Reading) (path string, l *dataset.Layout, err error) {
	path, err = h.Dataset(ctx, n, func(names []string, readme []byte) (chosen []string, err error) {
		l = &dataset.Layout{}
		laid, err := dataset.LayoutOf(n.String(), names, readme, r.Config)
		if err != nil {
			return nil, err
		}
		l = laid
		train, valid, err := l.Choose(r.Split)
		if err != nil {
			return nil, err
		}
		return slices.Concat(l.Splits[train], l.Splits[valid]), nil
	})
	return path, l, err
}

// maxRowTemplate is more than a template may have, so that package jinja says how much that is.
const maxRowTemplate = 2 << 20

// DataColumns is what is learned of rows, with the text of data_template.
func DataColumns(r settings.Reading) (settings.Columns, error) {
	columns, err := r.Columns()
	if err == nil && r.DataTemplate != "" {
		columns.Template, err = readRowTemplate(r, columns)
	}
	return columns, err
}

func readRowTemplate(d settings.Reading, columns settings.Columns) (string, error) {
	if columns.Given() || columns.Format != "" {
		return "", settings.Wrong("data_template", strconv.Quote(d.DataTemplate),
			"without data_columns and data_format: the template says what is learned").
			Hinted("header=yes and a container may stand")
	}
	text, err := files.Read(d.DataTemplate, maxRowTemplate)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = errors.New("the template is empty")
	}
	if err != nil {
		return "", usererr.New("read data template", d.DataTemplate, "%w", err)
	}
	return string(text), nil
}
