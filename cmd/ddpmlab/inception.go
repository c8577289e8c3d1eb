package main

import "ddpmlab/ddpm/fid"

// openInception opens the weights of Inception that a user has.
func openInception(path string, threads int) (fid.Network, func(), error) {
	e, err := fid.OpenInception(path, fid.InceptionOptions{Threads: threads})
	if err != nil {
		return nil, nil, err
	}
	return e, func() { e.Close() }, nil
}
