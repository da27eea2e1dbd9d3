// Command train fine-tunes a model through the packages that a Go program would import: go run ./examples/train MODEL DATA OUT
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // Ctrl-C finishes the step and saves a checkpoint
	defer stop()

	config := trainer.Defaults()
	config.Model, config.Data, config.OutputDir = os.Args[1], os.Args[2], os.Args[3]
	config.MaxSteps, config.LearningRate = 30, 5e-4

	summary, err := trainer.Train(ctx, config, func(e trainer.Event) {
		if e.Step != nil {
			fmt.Printf("step %d of %d: loss %.4f, %.0f tokens/s\n", e.Step.Step, e.Step.MaxSteps, e.Step.Loss, e.Step.TokensPerSecond)
		} else if e.Message != "" {
			fmt.Println(e.Message)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("The adapter is in %s, the last loss was %.4f.\n", summary.AdapterDir, summary.Loss)
}
