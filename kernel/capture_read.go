package kernel

import "os"

// readSeparately reads each stream on a goroutine of its own, until the other end of stop
// is closed. The order between the streams is not kept.
func readSeparately(streams []*stream, stop *os.File) {
	for _, s := range streams {
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := s.r.Read(buf)
				if n > 0 {
					s.take(buf[:n])
				}
				if err != nil {
					return
				}
			}
		}()
	}
	stop.Read(make([]byte, 1)) // returns at its end
}
