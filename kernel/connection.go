package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// connection is a Jupyter connection file: where the five sockets listen, and the key
// that signs messages.
type connection struct {
	Transport string `json:"transport"` // tcp or ipc
	IP        string `json:"ip"`        // for ipc the path's beginning
	Shell     int    `json:"shell_port"`
	Control   int    `json:"control_port"`
	Stdin     int    `json:"stdin_port"`
	IOPub     int    `json:"iopub_port"`
	Heartbeat int    `json:"hb_port"`
	Key       string `json:"key"`
	Scheme    string `json:"signature_scheme"`
	Kernel    string `json:"kernel_name,omitempty"`
}

// readConnection reads a connection file.
func readConnection(path string) (connection, error) {
	var c connection
	b, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("connection file: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("connection file %s: %w", path, err)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("connection file %s: %w", path, err)
	}
	return c, nil
}

func (c connection) validate() error {
	if c.Transport != "tcp" && c.Transport != "ipc" {
		return fmt.Errorf("transport is %q; this kernel has tcp and ipc", c.Transport)
	}
	if c.IP == "" {
		return errors.New("ip is empty")
	}
	if c.Key != "" && c.Scheme != "hmac-sha256" {
		return fmt.Errorf("signature_scheme is %q; this kernel has hmac-sha256", c.Scheme)
	}
	for _, p := range c.ports() {
		if p.port <= 0 || p.port > 65535 {
			return fmt.Errorf("%s is %d; want 1 to 65535", p.name, p.port)
		}
	}
	return nil
}

type namedPort struct {
	name string
	port int
}

func (c connection) ports() []namedPort {
	return []namedPort{
		{"shell_port", c.Shell},
		{"control_port", c.Control},
		{"stdin_port", c.Stdin},
		{"iopub_port", c.IOPub},
		{"hb_port", c.Heartbeat},
	}
}

// address is the network and address of a port, as package net takes them.
func (c connection) address(port int) (network, address string) {
	if c.Transport == "ipc" {
		return "unix", c.IP + "-" + strconv.Itoa(port)
	}
	return "tcp", net.JoinHostPort(c.IP, strconv.Itoa(port))
}

// write writes the connection file, readable by the user only: it holds the key.
func (c connection) write(path string) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o600)
}

// newConnection picks five free ports of this machine and a key.
func newConnection() (connection, error) {
	c := connection{Transport: "tcp", IP: "127.0.0.1", Key: newID(), Scheme: "hmac-sha256", Kernel: "ddpmlab"}
	for _, port := range []*int{&c.Shell, &c.Control, &c.Stdin, &c.IOPub, &c.Heartbeat} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return c, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // held until all five are known, so that they differ
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return c, nil
}
