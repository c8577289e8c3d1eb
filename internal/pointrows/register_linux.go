package pointrows

// int ddpmlab_register_point_rows(void);
import "C"

import (
	"fmt"
	"sync"
)

// Available reports whether there is the function point_rows.
const Available = true

// Register gives the connections of this process that are opened from then on the aggregate
// function point_rows(step, time, value): its rows as a block, in their order.
var Register = sync.OnceValue(func() error {
	if code := C.ddpmlab_register_point_rows(); code != 0 {
		return fmt.Errorf("register the function point_rows with SQLite: code %d", int(code))
	}
	return nil
})
