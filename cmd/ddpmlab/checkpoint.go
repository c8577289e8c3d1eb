package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm"
	"ddpmlab/ddpm/tensorfile"
	"ddpmlab/experiments"
	"ddpmlab/internal/render"
)

var checkpointInspect = command{
	name:     "checkpoint inspect",
	args:     "FILE",
	synopsis: "List the tensors of a .pt or .safetensors file",
	help: `Nothing in the file is executed. Optimizer files are listed with dotted names.

With --json: an object {format, parameters, tensors}, where tensors is an array of {name, shape, dtype}.`,
	examples: []string{"checkpoint inspect ema_0.9999_460000.pt --json"},
	setup: func(f *flag.FlagSet) action {
		asJSON := jsonFlag(f)
		return func(_ context.Context, args []string, w world) (err error) {
			file, err := tensorfile.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			type tensor struct {
				Name  string `json:"name"`
				Shape []int  `json:"shape"`
				DType string `json:"dtype"`
			}
			out := struct {
				Format     string   `json:"format"`
				Parameters int      `json:"parameters"`
				Tensors    []tensor `json:"tensors"`
			}{Format: file.Format}
			t := &render.Table{Columns: render.Left("Tensor", "Shape", "Type")}
			for _, x := range file.Tensors {
				out.Parameters += x.Len()
				out.Tensors = append(out.Tensors, tensor{x.Name, append([]int{}, x.Shape...), x.DType})
				t.Add(x.Name, fmt.Sprint(x.Shape), x.DType)
			}
			if *asJSON {
				return printJSON(w.out, out)
			}
			return printf(w.out, "%v\n%s: %d tensors, %d parameters\n", t, file.Format, len(out.Tensors), out.Parameters)
		}
	},
}

var checkpointConvert = command{
	name:     "checkpoint convert",
	args:     "FROM TO",
	synopsis: "Convert tensors between .pt and .safetensors",
	help: `The ending of TO says which is written. Numbers keep their type and every bit. A .pt is a state dict that torch.load
reads; of an optimizer file the tensors are kept, under dotted names, and not its settings.

FROM may also be a run or a checkpoint of this program: then TO gets the moving average of its weights as the state dict
of the authors' code.`,
	examples: []string{"checkpoint convert ema_0.9999_460000.pt cifar10.safetensors", "checkpoint convert 01JZ8M ema.pt"},
	setup: func(f *flag.FlagSet) action {
		db := dbFlag(f)
		return func(ctx context.Context, args []string, w world) (err error) {
			write := tensorfile.WriteSafetensors
			switch strings.ToLower(filepath.Ext(args[1])) {
			case ".safetensors":
			case ".pt":
				write = tensorfile.WritePT
			default:
				return usagef("TO is %q; want a name that ends in .pt or .safetensors", args[1])
			}
			if err := checkOut("TO", args[1]); err != nil {
				return err
			}
			tensors, end, err := openTensors(ctx, args[0], *db)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, end()) }()
			if err := createFile(args[1], func(f *os.File) error {
				if err := write(f, tensors); err != nil {
					return fmt.Errorf("write %s: %w", args[1], err)
				}
				return nil
			}); err != nil {
				return err
			}
			return printf(w.out, "%s: %d tensors\n", args[1], len(tensors))
		}
	},
}

// openTensors opens the tensors of a file, or those of a run's or checkpoint's network.
func openTensors(ctx context.Context, from, db string) (tensors []tensorfile.Tensor, end func() error, err error) {
	end = func() error { return nil }
	var c *ddpm.Checkpoint
	if exists(from) {
		needs, err := ddpm.NeedsConfig(from)
		if err != nil {
			return nil, nil, err
		}
		if needs { // no checkpoint of this program
			file, err := tensorfile.Open(from)
			if err != nil {
				return nil, nil, err
			}
			return file.Tensors, file.Close, nil
		}
		if c, err = ddpm.ReadWeights(from, ddpm.Config{}); err != nil {
			return nil, nil, err
		}
	} else {
		if looksLikeFile(from) {
			return nil, nil, fmt.Errorf("%s: no such file", from)
		}
		if err := withExisting(db, 0, func(s *experiments.Store) error {
			r, err := s.Run(ctx, from)
			if err == nil {
				c, err = s.Checkpoint(ctx, r)
			}
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	tensors, err = c.Tensors()
	return tensors, end, err
}

// looksLikeFile reports whether an argument can hardly be a run's id.
func looksLikeFile(arg string) bool {
	return filepath.Ext(arg) != "" || strings.ContainsRune(arg, os.PathSeparator)
}
