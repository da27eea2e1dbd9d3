package nf4cache

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lock is not needed: Go opens files so that they cannot be removed while they are open.
func lock(*os.File, bool) error { return nil }

// removeUnused removes a file, unless a run has it open.
func removeUnused(name string) error {
	err := os.Remove(name)
	if errors.Is(err, windows.ERROR_SHARING_VIOLATION) {
		return fmt.Errorf("remove %s: %w", name, errInUse)
	}
	return err
}
