package dnsload

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/internaldns/internaldns/bench/load"
)

// showProgress says what is going on, in a line of a terminal that is written
// anew each second and gone when the function returned is called. To what is no
// terminal nothing is written.
func showProgress(w io.Writer, o *load.Options) (done func()) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		line := ""
		for start := time.Now(); ; {
			wipe := strings.Repeat(" ", len(line))
			line = progress(o, time.Since(start))
			fmt.Fprintf(w, "\r%s\r%s", wipe, line)
			select {
			case <-tick.C:
			case <-stop:
				fmt.Fprintf(w, "\r%s\r", strings.Repeat(" ", len(line)))
				return
			}
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// progress returns what is going on that long after the start.
func progress(o *load.Options, since time.Duration) string {
	asking := fmt.Sprintf("asking %v over %s: ", o.Server, o.Transport)
	switch whole := o.Warmup + o.Duration; {
	case since < o.Warmup:
		return fmt.Sprintf("%swarming up, %v of %v", asking, since.Truncate(time.Second), o.Warmup)
	case since < whole:
		return fmt.Sprintf("%s%v of %v", asking, (since - o.Warmup).Truncate(time.Second), o.Duration)
	}
	return asking + "waiting for the last responses"
}
