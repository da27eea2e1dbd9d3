//go:build linux || darwin || freebsd

package checkpoint

import "golang.org/x/sys/unix"

// Free counts what a user without special rights may still write.
func (Files) Free(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
