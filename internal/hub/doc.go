//go:build !js

// Package hub fetches models, adapters and data sets of the Hugging Face hub by their names into the cache that Hugging
// Face's own libraries use, so that what either side has fetched is there for both. Every file is checked against the
// hash under which the hub keeps it before it gets its name there; what was cut off goes on where it ended.
package hub
