// Ddpmlab trains, samples and scores diffusion models, keeps their runs in one database,
// and is the Jupyter kernel of the project's notebooks.
//
// This package holds flags and printing only. Each command is a row of the table in
// commands.go; what it does lies in packages experiments, plots, kernel and ddpm.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], world{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv,
	}))
}
