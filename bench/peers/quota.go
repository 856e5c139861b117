//go:build linux

package peers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// A tenth of a CPU, given in small portions: with the usual period of 100 ms a
// server would stand still for 90 ms at a time, and no answer could keep a
// deadline of 100 ms whatever the server does.
const (
	quotaPeriod = 10 * time.Millisecond
	quotaTime   = time.Millisecond
)

// quota is a control group of our own that holds processes to a tenth of a CPU.
type quota struct {
	dir     string
	parent  string // where processes go back to
	version int    // of control groups
}

// newQuota makes the group. Nothing but the group itself is changed: where the
// cpu controller is not given to groups already, it fails.
func newQuota() (*quota, error) {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	reasons := []error{errors.New("no cpu controller of control groups that we may use")}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 4 {
			continue
		}
		var q *quota
		switch options := "," + f[3] + ","; {
		case f[2] == "cgroup2":
			q, err = makeGroup(f[1], 2)
		case f[2] == "cgroup" && strings.Contains(options, ",cpu,"):
			q, err = makeGroup(f[1], 1)
		default:
			continue
		}
		if err == nil {
			return q, nil
		}
		reasons = append(reasons, err)
	}
	return nil, errors.Join(reasons...)
}

func makeGroup(parent string, version int) (*quota, error) {
	if version == 2 {
		b, err := os.ReadFile(filepath.Join(parent, "cgroup.subtree_control"))
		if err != nil {
			return nil, err
		}
		if !strings.Contains(" "+strings.TrimSpace(string(b))+" ", " cpu ") {
			return nil, errors.New("the cgroup v2 tree does not give the cpu controller to its groups")
		}
	}
	q := &quota{dir: filepath.Join(parent, "internaldns-bench-"+strconv.Itoa(os.Getpid())), parent: parent, version: version}
	if err := os.Mkdir(q.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if version == 2 {
		err = q.write("cpu.max", fmt.Sprintf("%d %d", quotaTime.Microseconds(), quotaPeriod.Microseconds()))
	} else {
		err = errors.Join(
			q.write("cpu.cfs_period_us", fmt.Sprint(quotaPeriod.Microseconds())),
			q.write("cpu.cfs_quota_us", fmt.Sprint(quotaTime.Microseconds())),
		)
	}
	if err != nil {
		q.remove()
		return nil, err
	}
	return q, nil
}

func (q *quota) write(file, value string) error {
	return os.WriteFile(filepath.Join(q.dir, file), []byte(value), 0o644)
}

// hold puts the processes into the group.
func (q *quota) hold(pids []int) error {
	for _, pid := range pids {
		if err := q.write("cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// remove puts what is left in the group back into its parent, and removes it.
func (q *quota) remove() {
	b, _ := os.ReadFile(filepath.Join(q.dir, "cgroup.procs"))
	for _, pid := range strings.Fields(string(b)) {
		os.WriteFile(filepath.Join(q.parent, "cgroup.procs"), []byte(pid), 0o644)
	}
	os.Remove(q.dir)
}

func (q *quota) String() string {
	return fmt.Sprintf("cgroup v%d: %v in every %v", q.version, quotaTime, quotaPeriod)
}
