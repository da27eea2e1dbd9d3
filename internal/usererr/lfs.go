package usererr

import "strings"

// LFSStart is how a file begins that Git LFS leaves in the place of one that it has not fetched.
const LFSStart = "version https://git-lfs.github.com/spec/"

// FetchLFS is the way out of such a file.
const FetchLFS = "fetch the file itself: git lfs pull, or download it by itself"

// LFS is the error of such a file, by its first bytes; nil of any other. Many models come by git clone.
func LFS(op, path string, start []byte) error {
	if !strings.HasPrefix(string(start), LFSStart) {
		return nil
	}
	return New(op, path, "Git LFS has left a pointer here, not the file").Of(Format).Hinted(FetchLFS)
}
