//go:build !linux && !darwin

package display

import "os"

// terminalWidth is 0 here: plain lines are printed.
func terminalWidth(*os.File) int { return 0 }
