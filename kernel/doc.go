// Package kernel is a Jupyter kernel for Go cells: the five sockets of the messaging
// protocol 5.5 (wire.go, handshake.go, zmtp.go, socket.go), the requests (serve.go,
// execute.go, requests.go, past.go), what cells can ask of the notebook (host.go, input.go,
// comm.go; package kernel/cells is their side of it), commands beside Go (magic.go,
// shell.go), an interpreter behind a small interface (interpreter.go; gomacro.go, hooks.go,
// iface.go, fault.go), what cells print and show (capture.go, sink.go, mime.go), and, as the
// other end, a client that runs a notebook without a browser (client.go, notebook.go,
// run.go, page.go).
//
// It knows nothing of diffusion: computations report to the display sink and stop with
// the context that each cell finds under the name ctx.
package kernel
