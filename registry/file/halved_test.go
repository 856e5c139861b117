package file

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/internaldns/internaldns/internal/filewatch"
)

const (
	halves    = "warn: the registry file takes away more than half of a network's machines; it is read again "
	confirmed = "warn: the registry file still says so; the machines are taken away "
)

func TestMoreThanHalfOfANetworkGoesAfterASecondLook(t *testing.T) {
	inRig(t, network18("a", "b", "c"), func(r *rig) {
		r.wantLog(applied)
		r.replace(network18("a"))
		r.pass(secondLook / 2)
		r.wantMachines("a b c")
		r.wantLog(halves + "(fdaa:0:18::/48: 2 of 3)")
		r.pass(secondLook / 2)
		r.wantMachines("a")
		r.wantLog(confirmed+"(fdaa:0:18::/48: 2 of 3)", applied)
		r.wantFailures(0, "")
	})
}

func TestHalfOfANetworkGoesAtOnce(t *testing.T) {
	inRig(t, network18("a", "b", "c", "d"), func(r *rig) {
		r.wantLog(applied)
		r.replace(network18("a", "b"))
		r.wantMachines("a b")
		r.wantLog(applied)
	})
}

func TestFileThatChangesBeforeTheSecondLookIsReadAfresh(t *testing.T) {
	inRig(t, network18("a", "b", "c"), func(r *rig) {
		r.wantLog(applied)
		r.replace(`{"apps": []}`)
		r.wantLog(halves + "(fdaa:0:18::/48: 3 of 3)")
		r.pass(secondLook / 2)
		r.put(network18("a", "b", "d"))
		r.pass(secondLook)
		r.wantMachines("a b d")
		r.wantLog(applied)
		r.wantFailures(0, "")
	})
}

// A file that is replaced all the time never stays the same for a second. Two readings
// in a row that remove more than half confirm each other.
func TestFileThatIsReplacedAllTheTimeMayRemoveMoreThanHalf(t *testing.T) {
	inRig(t, network18("a", "b", "c"), func(r *rig) {
		r.wantLog(applied)
		deadline := time.Now().Add(settle + secondLook + 2*filewatch.Interval)
		for n := 0; time.Now().Before(deadline) && r.machines() != "a"; n++ {
			r.put(network18("a") + strings.Repeat(" ", n%3))
			r.pass(30 * time.Millisecond)
		}
		r.wantMachines("a")
		r.wantLog(halves+"(fdaa:0:18::/48: 2 of 3)", confirmed+"(fdaa:0:18::/48: 2 of 3)", applied)
		r.wantFailures(0, "")
	})
}

// A reading that removes less, or is refused, confirms nothing.
func TestOnlyTwoReadingsInARowConfirmALoss(t *testing.T) {
	for name, between := range map[string]string{"less": network18("a", "b"), "refused": `{"apps": [5]}`} {
		t.Run(name, func(t *testing.T) {
			inRig(t, network18("a", "b", "c"), func(r *rig) {
				r.replace(network18("a"))
				r.pass(secondLook / 2)
				r.put(between)
				r.pass(secondLook)
				r.log.TakeAll()
				was := r.machines()
				r.replace(`{"apps": []}`)
				r.pass(secondLook / 2)
				r.wantMachines(was)
			})
		})
	}
}

func TestFileGoneBeforeTheSecondLookIsMissing(t *testing.T) {
	inRig(t, network18("a", "b", "c"), func(r *rig) {
		r.wantLog(applied)
		r.replace(network18("a"))
		r.pass(secondLook / 2)
		if err := os.Remove(r.path); err != nil {
			t.Fatal(err)
		}
		r.pass(secondLook)
		r.wantMachines("a b c")
		r.wantFailures(1, "no such file or directory")
	})
}

func TestWhatIsLost(t *testing.T) {
	const other = `{"name": "big", "network": "fdaa:0:19::/48", "machines": [` +
		`{"id": "x", "state": "started", "region": "ams", "private_ip": "fdaa:0:19:1::2"}, {"id": "y", "state": "started", "region": "ams", "private_ip": "fdaa:0:19:2::2"},` +
		`{"id": "z", "state": "started", "region": "ams", "private_ip": "fdaa:0:19:3::2"}, {"id": "w", "state": "started", "region": "ams", "private_ip": "fdaa:0:19:4::2"}]}`
	both := func(apps ...string) string { return `{"apps": [` + strings.Join(append(apps, other), ", ") + `]}` }
	destroyed := strings.ReplaceAll(appOf("web", "fdaa:0:18", "a", "b"), "started", "destroyed")
	for _, tt := range []struct {
		name, before, after string
		want                []string // warnings
	}{
		{"each network counts by itself", both(appOf("web", "fdaa:0:18", "a", "b", "c")), both(appOf("web", "fdaa:0:18", "a")),
			[]string{"(fdaa:0:18::/48: 2 of 3)"}},
		{"an app that goes takes its machines along", both(appOf("web", "fdaa:0:18", "a", "b"), appOf("pg", "fdaa:0:18", "c")), both(appOf("pg", "fdaa:0:18", "c")),
			[]string{"(fdaa:0:18::/48: 2 of 3)"}},
		{"all networks are named", both(appOf("web", "fdaa:0:18", "a")), `{"apps": []}`,
			[]string{"(fdaa:0:18::/48: 1 of 1)", "(fdaa:0:19::/48: 4 of 4)"}},
		{"others in their place do not make up for it", both(appOf("web", "fdaa:0:18", "a", "b")), both(appOf("web", "fdaa:0:18", "c", "d", "e", "f")),
			[]string{"(fdaa:0:18::/48: 2 of 2)"}},
		{"machines that move to another app are not lost", both(appOf("web", "fdaa:0:18", "a", "b")), both(appOf("pg", "fdaa:0:18", "a", "b")), nil},
		{"machines that move to another network are", both(appOf("web", "fdaa:0:18", "a", "b")), both(appOf("web", "fdaa:0:1a", "a", "b")),
			[]string{"(fdaa:0:18::/48: 2 of 2)"}},
		{"machines that the file says are gone are not lost", both(appOf("web", "fdaa:0:18", "a", "b")), both(destroyed), nil},
		{"gone machines do not count", both(destroyed, appOf("pg", "fdaa:0:18", "c", "d")), both(appOf("pg", "fdaa:0:18", "c")), nil},
		{"apps without machines do not count", both(appOf("web", "fdaa:0:18"), appOf("pg", "fdaa:0:18")), both(), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inRig(t, tt.before, func(r *rig) {
				r.log.TakeAll()
				r.replace(tt.after)
				r.pass(secondLook)
				var want []string
				for _, message := range []string{halves, confirmed} {
					for _, w := range tt.want {
						want = append(want, message+w)
					}
				}
				r.wantLog(append(want, applied)...)
			})
		})
	}
}
