//go:build !js

package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"

	"qlora-wgpu/internal/usererr"
)

var (
	// errAway: nothing was heard of the hub.
	errAway    = errors.New("the hub cannot be reached")
	errOffline = errors.New("HF_HUB_OFFLINE is set, the hub is not asked")
)

// isAway tells whether what the cache holds may stand in: the hub said nothing of the repository.
func isAway(err error) bool { return errors.Is(err, errAway) || errors.Is(err, errOffline) }

// explain says an error of a request for a repository in words, with a way out.
func (h *Hub) explain(n Name, err error) error {
	if _, said := errors.AsType[*usererr.Error](err); said || errors.Is(err, context.Canceled) {
		return err
	}
	page := fmt.Sprintf("%s/%s", h.Endpoint, n.Repo)
	if n.Type == Datasets {
		page = fmt.Sprintf("%s/datasets/%s", h.Endpoint, n.Repo)
	}
	e := usererr.New(op, n.String(), "%w", err)
	if errors.Is(err, errAway) {
		return e.Hinted("check the connection and HTTPS_PROXY, or give a folder of this computer; what came so far is kept")
	}
	_, path := errors.AsType[*fs.PathError](err)
	_, link := errors.AsType[*os.LinkError](err)
	no, ok := errors.AsType[*refusal](err)
	switch {
	case path || link:
		return e.Hinted("mend or remove it, or name another folder for the cache by HF_HUB_CACHE; what came so far is kept")
	case !ok:
		return e
	case no.code == "GatedRepo" || no.status == http.StatusForbidden && no.code == "":
		return usererr.New(op, n.String(), "it is gated: the hub gives it only to those who have accepted its terms").
			Hinted("accept them at %s, and give your token by HF_TOKEN", page)
	case no.code == "RevisionNotFound":
		return usererr.New(op, n.String(), "%s has no revision %s", n.Repo, n.Revision).Hinted("%s/tree/main shows what there is", page)
	case no.status == http.StatusUnauthorized || no.status == http.StatusNotFound || no.status == http.StatusForbidden:
		hint := "write it as on its page"
		if near := h.nearest(n); near != "" {
			hint += "; the cache holds " + near
		}
		if h.Token == "" {
			hint += "; for a private one give your token by HF_TOKEN"
		}
		return usererr.New(op, n.String(), "the hub has no such repository, or none that you may read").Hinted("%s", hint)
	}
	return e.Hinted("see %s", page)
}

// reach is the way to a hub that was not heard.
func reach(failure error) string {
	if errors.Is(failure, errOffline) {
		return "fetch it once without HF_HUB_OFFLINE"
	}
	return "check the connection and HTTPS_PROXY"
}

// incomplete says that there is no hub, and why what the cache holds of a repository, which may be a part of it, does
// not do.
func (h *Hub) incomplete(n Name, failure, why error) error {
	e, ok := errors.AsType[*usererr.Error](why)
	if !ok {
		return h.explain(n, why)
	}
	hint := reach(failure)
	if e.Hint != "" {
		hint = e.Hint + "; " + hint
	}
	return usererr.New(op, n.String(), "%w; of the part that the cache holds: %w", failure, e.Err).Of(e.Kind).Hinted("%s", hint)
}

// absent says that there is neither the hub nor what came from it before.
func (h *Hub) absent(n Name, failure error) error {
	e := usererr.New(op, n.String(), "%w, and the cache holds nothing of it", failure)
	hint := reach(failure)
	if near := h.nearest(n); near != "" {
		hint += "; the cache holds " + near
	}
	return e.Hinted("%s", hint)
}
