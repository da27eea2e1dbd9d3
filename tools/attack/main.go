//go:build unix

// Command attack does to the program what disks, systems and strangers do: it feeds every parser with inputs that a
// fuzzer makes up, lets the n-th file operation of a run fail, kills runs before it and at random moments, and sends
// signals in each phase. A run has to end as documented, with a message, and to go on to the bytes that an undisturbed
// one leaves. docs/reliability.md keeps what came of it; `make test-attack` renews it, TARGET=name a line of it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// target is one line of the table.
type target struct {
	name, what string
	attack     func(*attacker) (often, result string, failures []string)
}

// attacker is what the targets share.
type attacker struct {
	most    int // of each kind of attack, 0: all
	seed    uint64
	dir     string
	subject *subject // made when it is first needed
}

func (a *attacker) ready() (*subject, error) {
	var err error
	if a.subject == nil {
		a.subject, err = newSubject(a.dir)
	}
	return a.subject, err
}

func targets() (list []target) {
	for _, c := range campaigns {
		list = append(list, target{c.name, c.what, func(a *attacker) (string, string, []string) {
			executions := c.executions
			if a.most > 0 {
				executions = a.most
			}
			done, err := c.run(executions)
			if err != nil {
				return grouped(done) + " executions", "an input broke it", []string{err.Error()}
			}
			return grouped(done) + " executions", "held", nil
		}})
	}
	return append(list,
		target{"operations", "the n-th operation on a file of a run (model, data, cache, output) fails", failOperations},
		target{"full-disk", "the disk is full from the n-th operation on that takes room", fillDisks},
		target{"operation-kills", "a run and its parent are killed before the n-th operation on output and cache", killAtOperations},
		target{"kills", "a run and its parent are killed at random moments, again and again", killAtRandom},
		target{"signals", "INT, TERM, HUP, KILL, ABRT, STOP and CONT in each phase of a run", sendSignals},
		target{"answers", "INT, TERM and KILL at random moments of an answer", interruptAnswers},
	)
}

// counted attacks once for each case and counts the outcomes.
func counted(cases int, attack func(i int) (string, error)) (result string, failures []string, done int) {
	outcomes := map[string]int{}
	begin := time.Now()
	for i := range cases {
		outcome, err := attack(i)
		if errors.Is(err, errMissed) {
			continue
		}
		done++
		if err != nil {
			failures = append(failures, err.Error())
			fmt.Fprintf(os.Stderr, "FAILED %d: %v\n\n", i, err)
			outcome = "failed"
		}
		outcomes[outcome]++
		fmt.Fprintf(os.Stderr, "%d of %d, %s: %s\n", i+1, cases, time.Since(begin).Round(time.Second), outcome)
	}
	var parts []string
	for outcome, n := range outcomes {
		parts = append(parts, fmt.Sprintf("%s %s", grouped(n), outcome))
	}
	slices.Sort(parts)
	return strings.Join(parts, "; "), failures, done
}

func failOperations(a *attacker) (string, string, []string) {
	return overOperations(a, func(trial) func(operation) bool { return every }, (*subject).failOperation)
}

func fillDisks(a *attacker) (string, string, []string) {
	return overOperations(a, func(trial) func(operation) bool { return fills }, (*subject).fillDisk)
}

func killAtOperations(a *attacker) (string, string, []string) {
	return overOperations(a, func(t trial) func(operation) bool { return t.written }, (*subject).killAtOperation)
}

func overOperations(
	a *attacker, counts func(trial) func(operation) bool, attack func(*subject, int) (string, error),
) (often, result string, failures []string) {
	s, err := a.ready()
	if err != nil {
		return "", "", []string{err.Error()}
	}
	n, err := s.countOperations(counts)
	if err != nil {
		return "", "", []string{err.Error()}
	}
	list := some(n, a.most)
	result, failures, done := counted(len(list), func(i int) (string, error) { return attack(s, list[i]) })
	return fmt.Sprintf("%s of %s operations", grouped(done), grouped(n)), result, failures
}

func killAtRandom(a *attacker) (often, result string, failures []string) {
	s, err := a.ready()
	if err != nil {
		return "", "", []string{err.Error()}
	}
	runs := 20
	if a.most > 0 {
		runs = a.most
	}
	random, kills := rand.New(rand.NewPCG(a.seed, 1)), 0
	result, failures, _ = counted(runs, func(int) (string, error) {
		n, err := s.killRandomly(random)
		kills += n
		return "runs ended with the undisturbed run's bytes", err
	})
	return fmt.Sprintf("%d kills in %d runs", kills, runs), result, failures
}

func sendSignals(a *attacker) (often, result string, failures []string) {
	s, err := a.ready()
	if err != nil {
		return "", "", []string{err.Error()}
	}
	n := len(phases) * len(shots)
	list := some(n, a.most)
	result, failures, done := counted(len(list), func(i int) (string, error) {
		k := list[i] - 1
		return s.shoot(phases[k%len(phases)], shots[k/len(phases)])
	})
	return fmt.Sprintf("%d of %d (%d signals × %d phases)", done, n, len(shots), len(phases)), result, failures
}

func interruptAnswers(a *attacker) (often, result string, failures []string) {
	s, err := a.ready()
	if err != nil {
		return "", "", []string{err.Error()}
	}
	answers := 60
	if a.most > 0 {
		answers = a.most
	}
	random := rand.New(rand.NewPCG(a.seed, 2))
	result, failures, done := counted(answers, func(int) (string, error) { return s.interruptAnswer(random) })
	return fmt.Sprintf("%d answers", done), result, failures
}

// grouped writes 2000000 as 2,000,000.
func grouped(n int) string {
	text := fmt.Sprint(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func main() {
	becomeWatched()
	letHangupsThrough()
	most := flag.Int("most", 0, "attacks of each kind at most; 0: all")
	seed := flag.Uint64("seed", 1, "of the random moments")
	table := flag.String("table", "", "Markdown file with the table in which the lines of what was attacked are renewed")
	list := flag.Bool("list", false, "name the targets")
	flag.Parse()
	all := targets()
	if *list {
		for _, t := range all {
			fmt.Printf("%-20s %s\n", t.name, t.what)
		}
		return
	}
	for _, name := range flag.Args() {
		if !slices.ContainsFunc(all, func(t target) bool { return strings.HasPrefix(t.name, name) }) {
			fmt.Fprintf(os.Stderr, "there is no target %q: -list names them\n", name)
			os.Exit(2)
		}
	}
	dir, err := os.MkdirTemp("", "attack")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer os.RemoveAll(dir)
	a, failed := &attacker{most: *most, seed: *seed, dir: dir}, false
	for _, t := range all {
		if flag.NArg() > 0 && !slices.ContainsFunc(flag.Args(), func(name string) bool { return strings.HasPrefix(t.name, name) }) {
			continue
		}
		often, result, failures := t.attack(a)
		failed = failed || len(failures) > 0
		line := row(t, often, result, commit(), time.Now())
		fmt.Println(line)
		for _, f := range failures {
			fmt.Printf("\n%s: FAILED: %s\n", t.name, f)
		}
		if *table != "" && often != "" {
			if err := renew(*table, t.name, line); err != nil {
				fmt.Fprintln(os.Stderr, err)
				failed = true
			}
		}
	}
	if failed {
		os.RemoveAll(dir)
		os.Exit(1)
	}
}

// commit is the one that is attacked, with a mark where files differ from it.
func commit() string {
	text, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=7", "--exclude=*").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
