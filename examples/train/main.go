// Command train fine-tunes a model through the packages that a Go program would import: go run ./examples/train MODEL
// DATA OUT
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"qlora-wgpu/trainer"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: train MODEL DATA OUT")
	}
	// Ctrl-C finishes the step and saves a checkpoint
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	config := trainer.Defaults()
	config.Model, config.Data, config.OutputDir = os.Args[1], os.Args[2], os.Args[3]
	config.MaxSteps, config.LearningRate = 30, 5e-4

	summary, err := trainer.Train(ctx, config, func(e trainer.Event) {
		switch e := e.(type) {
		case trainer.StepStats:
			fmt.Printf("step %d of %d: loss %.4f, %.0f tokens/s\n", e.Step, e.MaxSteps, e.Loss, e.TokensPerSecond)
		case trainer.Progress: // how far something is, for a moment
		default:
			if said := e.String(); said != "" {
				fmt.Println(said)
			}
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The adapter is in %s, the last loss was %.4f.\n", summary.AdapterDir, summary.Loss)
}
