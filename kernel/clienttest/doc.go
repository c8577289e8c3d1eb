// Package clienttest tests the kernel with the clients people use: JupyterLab in a
// browser, jupyter console, nbconvert and papermill. The tests install what they need
// (Debian's Chromium, pinned Python packages) and are run by `make test-clients`, under
// the build tag clients.
package clienttest
