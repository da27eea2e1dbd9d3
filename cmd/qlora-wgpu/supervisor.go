package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/lora"
)

// Training runs in a child process, because a driver that meets an error may abort the whole process. The parent
// watches: when the child dies of anything but a decision of its own, it is started again from the last checkpoint with
// shorter submissions to the device.
//
// A pipe on the child's standard input ties the two together: a byte says that the user wants to end, and the end of
// the pipe that the parent is gone, whatever killed it.

const (
	// set in the child: childOnTerminal or childOnPipe, what the parent's stderr is
	childVariable       = "QLORA_TRAIN_CHILD"
	submitScaleVariable = "QLORA_SUBMIT_SCALE" // read by the engine: factor on the length of a submission
	childOnTerminal     = "terminal"
	childOnPipe         = "pipe"

	// What a child ends with when it knows why it ends. Not 2 for a user's error: that is how Go's runtime ends after an
	// abort in a driver.
	statusEngineFault    = 86 // the device was lost or computed wrongly: worth another try
	statusChildUserError = 87
)

// submitScales shorten the submissions with every death, as far as they go; as many deaths without a new checkpoint
// between them end the run.
var submitScales = []string{"1", "0.5", "0.25"}

// supervisor runs executable with args as a child until it ends well, or fails in a way that trying again cannot help.
type supervisor struct {
	console    *console
	executable string
	args       []string
	outputDir  string
	overwrite  bool   // the run replaces what outputDir held
	resume     string // the run's own resume_from_checkpoint
	patience   patience

	stderr  shared
	saved   bool    // this run has written a checkpoint
	longest float64 // step of all children, in seconds
}

// ending is how a child ended.
type ending struct {
	*os.ProcessState
	last []string // lines of its standard error
	hung bool     // it was ended because it told nothing any more
}

func (s *supervisor) run() error {
	_ = endChildrenWithParent()           // where that is refused, the pipe is left
	s.stderr.out = bare(s.console.stderr) // the child has escaped what it says
	args, scale, deaths, shrunk := s.args, 0, 0, false
	adapter := filepath.Join(s.outputDir, lora.WeightsFile)
	adapterBefore := written(adapter)
	for {
		before := manifests(s.outputDir)
		end, err := s.child(args, submitScales[scale])
		if err != nil {
			return err
		}
		switch code := end.ExitCode(); {
		case code == 0:
			return nil
		case code == statusChildUserError:
			return exitStatus(statusUserError)
		case code == statusFailure || code == statusInterrupted:
			return exitStatus(code)
		case s.console.context.Err() != nil:
			return exitStatus(statusInterrupted)
		}
		s.report("The training process died: %s. The last it said:", end.cause())
		for _, line := range end.last {
			s.report("  | %s", line)
		}
		for name, at := range manifests(s.outputDir) {
			if !before[name].Equal(at) {
				s.saved, deaths, shrunk = true, 0, false
			}
		}
		if at := written(adapter); !s.saved && s.resume != "auto" && !at.IsZero() && !at.Equal(adapterBefore) {
			return fmt.Errorf("the training process died after its last step: the adapter in %s is complete, only its checkpoint is missing",
				s.outputDir)
		}
		free := end.busError() && !shrunk // the next child finds the file shorter, and makes it anew: not the driver's doing
		if shrunk = shrunk || free; !free {
			deaths, scale = deaths+1, min(scale+1, len(submitScales)-1)
		}
		if deaths == len(submitScales) {
			break
		}
		var from string
		args, from = s.again()
		if free {
			s.report("Starting it again from %s; this counts as no try.", from)
			continue
		}
		s.report("Starting it again from %s, with submissions to the device %s times as long as at first (try %d of %d).",
			from, submitScales[scale], deaths+1, len(submitScales))
	}
	return fmt.Errorf("the training process died %d times without a new checkpoint in between; giving up. Checkpoints, if any, are in %s: "+
		"--resume goes on from the last. `qlora-wgpu check` tests the device and its driver, --device chooses another one",
		len(submitScales), s.outputDir)
}

func (e ending) cause() string {
	switch {
	case e.hung:
		return "it hung"
	case e.busError():
		return "a file that it had mapped became shorter, or its disk failed (SIGBUS)"
	case e.ExitCode() == statusEngineFault:
		return "the device failed"
	case strings.Contains(e.String(), "signal: killed"):
		return "it was killed, perhaps because the system ran out of memory"
	}
	return e.String()
}

// busError tells whether the process read where a mapped file had ended.
func (e ending) busError() bool {
	return slices.ContainsFunc(e.last, func(line string) bool { return strings.Contains(line, "SIGBUS") }) ||
		strings.Contains(e.String(), "bus error")
}

// again gives the arguments of the next try and says where it starts. A checkpoint counts if this run saved it; until
// then what the user asked for holds.
func (s *supervisor) again() (args []string, from string) {
	more := func(flags ...string) []string { return append(s.args[:len(s.args):len(s.args)], flags...) }
	switch {
	case s.saved:
		return more("--resume=auto", "--overwrite=false"), "the last checkpoint"
	case s.resume == "auto":
		return s.args, "the last checkpoint"
	case s.resume != "":
		return s.args, s.resume
	case s.overwrite:
		return s.args, "the beginning (there is no checkpoint yet)"
	}
	// The dead try has left files in the folder, which a run that is not resumed would refuse.
	return more("--resume=auto"), "the beginning (there is no checkpoint yet)"
}

// manifests tells the checkpoints in a run's folder, and when each was written.
func manifests(dir string) map[string]time.Time {
	found := map[string]time.Time{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return found // not there yet
	}
	for _, e := range entries {
		if at := written(filepath.Join(dir, e.Name(), "manifest.json")); !at.IsZero() {
			found[e.Name()] = at
		}
	}
	return found
}

// written is when a file was written; zero: there is none.
func written(name string) time.Time {
	info, err := os.Stat(name)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
