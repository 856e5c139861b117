package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget has the kernel drop what it remembers of a file, as far as it is
// written: after a failed sync that can be what never reached the disk.
func forget(f *os.File) {
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // no promise, and none needed
}
