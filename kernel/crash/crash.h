#pragma once

// crash_watch starts a thread that waits until something can be read from trigger. Then it
// copies to the descriptor to what is in the pipe, makes file descriptor 2 a copy of to,
// and reads trigger to its end. It returns an errno, 0 if all is well.
int crash_watch(int trigger, int pipe, int to);
