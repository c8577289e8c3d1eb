package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"ddpmlab/ddpm/tensorfile"
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
reads; of an optimizer file the tensors are kept, under dotted names, and not its settings.`,
	examples: []string{"checkpoint convert ema_0.9999_460000.pt cifar10.safetensors"},
	setup: func(*flag.FlagSet) action {
		return func(_ context.Context, args []string, w world) (err error) {
			write := tensorfile.WriteSafetensors
			switch strings.ToLower(filepath.Ext(args[1])) {
			case ".safetensors":
			case ".pt":
				write = tensorfile.WritePT
			default:
				return usagef("TO is %q; want a name that ends in .pt or .safetensors", args[1])
			}
			file, err := tensorfile.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			var b bytes.Buffer
			if err := write(&b, file.Tensors); err != nil {
				return fmt.Errorf("write %s: %w", args[1], err)
			}
			if err := writeFile(args[1], b.Bytes()); err != nil {
				return err
			}
			return printf(w.out, "%s: %d tensors\n", args[1], len(file.Tensors))
		}
	},
}
