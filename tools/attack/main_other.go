//go:build !unix

// Command attack needs the signals and process groups of a Unix system.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "attack: this system has no signals to send")
	os.Exit(1)
}
