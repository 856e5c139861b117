package disk

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// lockDir locks a directory against other processes, until the file that it returns
// is closed. The lock is of the directory itself: it needs no further file, and
// works on a file system that cannot be written.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, errInUse(dir)
		case errors.Is(err, unix.EBADF): // NFS locks only what is open for writing
			return nil, fmt.Errorf("%s is on a file system that cannot lock directories, as NFS is; a registry is kept on a local disk", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// unlock releases the lock of an open file, also if its mapping keeps it open.
func unlock(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_UN) }

// errInUse returns the error for a path that another process has locked. It names
// the process if the system tells which it is.
func errInUse(path string) error {
	who := "another process"
	if pid := holder(path); pid != "" {
		who = "process " + pid
	}
	return fmt.Errorf("%s is in use by %s", path, who)
}

// holder returns the id of the process that holds the lock of path, or "".
func holder(path string) string {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return ""
	}
	f, err := os.Open("/proc/locks")
	if err != nil {
		return ""
	}
	defer f.Close()
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for s := bufio.NewScanner(f); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 1234 08:01:5678 0 EOF
		if w := strings.Fields(s.Text()); len(w) > 5 && w[1] == "FLOCK" && w[5] == inode && w[4] != "0" && w[4] != "-1" {
			return w[4]
		}
	}
	return ""
}

// makeDir makes a directory that only its owner can read, and the ones above it,
// unless they are there.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}
