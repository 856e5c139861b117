package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// dropPageCache has the kernel drop the pages of a file that it has in memory, as
// far as they are not in use. After a failed sync they can differ from the disk.
func dropPageCache(f *os.File) { unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
