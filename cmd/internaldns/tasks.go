package main

import (
	"context"
	"errors"
	"fmt"
)

// tasks are the things that run. The first that fails ends all.
type tasks struct {
	ctx  context.Context // done when something failed, or all shall end
	end  context.CancelCauseFunc
	each []task // in the order they started
}

// A task runs until told to stop.
type task struct {
	stop context.CancelFunc
	done chan struct{} // closed when it has ended
}

// newTasks returns an empty set of tasks, which end when ctx is done.
func newTasks(ctx context.Context) *tasks {
	t := new(tasks)
	t.ctx, t.end = context.WithCancelCause(ctx)
	return t
}

// start runs run on a goroutine of its own until stop. An error of it ends t.ctx,
// so that whoever waits for that may call stop.
func (t *tasks) start(name string, run func(context.Context) error) {
	// Not a child of t.ctx: each is told when its turn has come.
	ctx, stop := context.WithCancel(context.WithoutCancel(t.ctx))
	one := task{stop, make(chan struct{})}
	t.each = append(t.each, one)
	go func() {
		defer close(one.done)
		if err := run(ctx); err != nil {
			t.end(fmt.Errorf("%s: %w", name, err))
		}
	}()
}

// stop tells the tasks to stop, the last started first, and waits for each
// before it tells the next. Once all have ended, it does nothing.
func (t *tasks) stop() {
	for len(t.each) > 0 {
		last := t.each[len(t.each)-1]
		t.each = t.each[:len(t.each)-1]
		last.stop()
		<-last.done
	}
	t.end(nil)
}

// reason returns the error that a task failed with, if one did. Otherwise it
// returns err, but nil if that only says that ctx was done.
func (t *tasks) reason(err error) error {
	if cause := context.Cause(t.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
